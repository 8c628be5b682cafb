"""``caio signing-key``: the key that receipts are signed with."""

from __future__ import annotations

from caio.cli import output
from caio.cli.data_directory import settings_of
from caio.cli.parameters import DEFAULT_URL, DataDir, Json, group

app = group("Rotate the key that receipts are signed with.")


@app.callback()
def signing_key() -> None:
    """Rotate the key that receipts are signed with."""


@app.command("rotate")
def rotate(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Retire the key and make a new one. Receipts signed before stay verifiable."""
    from caio.audit.key_files import rotate as rotate_key
    from caio.audit.signing import key_id_of

    keyring = rotate_key(settings_of(data_dir).data_dir / "keys" / "signing")
    retired = [key_id_of(key) for key in keyring.retired]
    if as_json:
        output.print_json({"active": keyring.active.key_id, "retired": retired})
        return
    output.say(f"new signing key {keyring.active.key_id}")
    output.facts({"retired": ", ".join(retired)})
    output.say("A running server signs with the old key until it is started again.")
    output.next_step(f"caio trust add {DEFAULT_URL} (for everyone who verifies receipts)")
