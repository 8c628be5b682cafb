"""``caio signing-key``: the key that receipts are signed with."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from caio.cli import output
from caio.cli.data_directory import settings_of
from caio.cli.parameters import DEFAULT_URL, DataDir, Json, group
from caio.foundation.errors import Misconfigured

if TYPE_CHECKING:
    from caio.audit.signing import Keyring

app = group("Show and rotate the key that receipts are signed with.")


@app.callback()
def signing_key() -> None:
    """Show and rotate the key that receipts are signed with."""


@app.command("show")
def show(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Print the public half of the key that this environment signs with, in base64."""
    from caio.bootstrap import keyring_of

    keyring = keyring_of(settings_of(data_dir))
    if as_json:
        output.print_json({"active": keyring.active.key_id, "public_key": _public(keyring)})
        return
    output.say(_public(keyring))
    output.note(f"key {keyring.active.key_id}")


@app.command("rotate")
def rotate(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Retire the key and make a new one. Receipts signed before stay verifiable."""
    from caio.audit.key_files import rotate as rotate_key
    from caio.audit.signing import key_id_of
    from caio.bootstrap import keyring_of

    settings = settings_of(data_dir)
    if settings.signing_secret is not None:
        raise Misconfigured(_OF_THE_ENVIRONMENT.format(public=_public(keyring_of(settings))))
    keyring = rotate_key(settings.data_dir / "keys" / "signing")
    retired = [key_id_of(key) for key in keyring.retired]
    if as_json:
        output.print_json({"active": keyring.active.key_id, "retired": retired})
        return
    output.say(f"new signing key {keyring.active.key_id}")
    output.facts({"retired": ", ".join(retired)})
    output.say("A running server signs with the old key until it is started again.")
    output.next_step(f"caio trust add {DEFAULT_URL} (for everyone who verifies receipts)")


def _public(keyring: Keyring) -> str:
    return base64.b64encode(keyring.active.public_key).decode()


_OF_THE_ENVIRONMENT = """\
the signing key is made of CAIO_SIGNING_SECRET, so it is replaced where that secret is kept:
  1. make the new secret, and have its public key said: CAIO_SIGNING_SECRET=… caio signing-key show
  2. add that to CAIO_RETIRED_SIGNING_KEYS, and start every server and worker again
  3. put the new secret in place, add {public} (the present key) too, and start them again"""
