"""``caio trust``: the keys that this person believes receipts by.

The store is one key set document. A key gets in only when a person says so after seeing its id;
``caio verify`` never takes one from what it verifies.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from caio.cli import output
from caio.cli.files import InvalidFile, about, read_file, read_json, replace_json
from caio.cli.parameters import Json, group
from caio.cli.server import Server
from caio.foundation.errors import InvalidInput, NotFound

app = group("Pin the keys that receipts are verified with.")

PUBLISHED_AT = "/.well-known/caio-keys.json"


def store_path() -> Path:
    """Where the pinned keys are: CAIO_TRUST_STORE, or in the person's own configuration."""
    stated = os.environ.get("CAIO_TRUST_STORE")
    return Path(stated) if stated else Path.home() / ".config" / "caio" / "trusted-keys.json"


def pinned() -> dict[str, bytes]:
    """The pinned keys by id; none when there is no store yet."""
    path = store_path()
    return read_keys(str(path)) if path.exists() else {}


def read_keys(path: str) -> dict[str, bytes]:
    """The keys of a key set file; an empty set is a store from which every key was removed."""
    document = read_json(path)
    return {} if document == {"keys": []} else _keys_of(document, path)


@app.command("add")
def add(
    source: Annotated[str, typer.Argument(metavar="FILE|URL", help="A key set, or a server that publishes one.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Pin keys, after showing their ids."""
    found = _keys_of(_document(source), source)
    known = pinned()
    new = {key_id: key for key_id, key in found.items() if key_id not in known}
    if not as_json:
        output.table(["key", "state"], [(key_id, "new" if key_id in new else "pinned already") for key_id in found])
    if new and not yes:
        _ask(f"Trust receipts signed by {'this key' if len(new) == 1 else 'these keys'}?")
    _store({**known, **new})
    if as_json:
        output.print_json({"added": sorted(new), "trusted": sorted({*known, *new}), "store": str(store_path())})
    else:
        output.say(f"{len(new)} of {len(found)} added; {len(known) + len(new)} trusted in {store_path()}")
        output.next_step("caio verify receipt.json")


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List the pinned keys."""
    found = sorted(pinned())
    if as_json:
        output.print_json({"trusted": found, "store": str(store_path())})
    elif found:
        output.table(["key", "algorithm"], [(key_id, "Ed25519") for key_id in found])
    else:
        output.say("no key is trusted yet")
        output.next_step("caio trust add URL")


@app.command("remove")
def remove(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `caio trust list` shows it.")], as_json: Json = False
) -> None:
    """Stop trusting a key."""
    known = pinned()
    if key_id not in known:
        raise NotFound(f"no trusted key has the id {key_id}; see them with: caio trust list")
    _store({name: key for name, key in known.items() if name != key_id})
    if as_json:
        output.print_json({"removed": key_id, "trusted": sorted(set(known) - {key_id})})
    else:
        output.say(f"key {key_id} is no longer trusted")


def _document(source: str) -> Any:
    if not source.startswith(("http://", "https://")):
        raw = read_file(source)
        try:
            return json.loads(raw)
        except ValueError as error:
            raise InvalidFile(source, f"{source} is not a key set", code="invalid_json") from error
    parts = urlsplit(source)
    base, path = source, PUBLISHED_AT
    if parts.path.strip("/"):
        base, path = f"{parts.scheme}://{parts.netloc}", parts.path
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        output.note("warning: fetched without TLS; compare the ids with those the publisher tells you another way")
    return Server(base).get(path).document


def _keys_of(document: Any, source: str) -> dict[str, bytes]:
    from caio.audit.signing import read_key_set

    with about(source, b""):
        return read_key_set(document)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("there is nobody to ask; add --yes if these ids are the ones you expect")
    if not typer.confirm(question):
        raise typer.Abort


def _store(keys: Mapping[str, bytes]) -> None:
    """Replace the store as a whole."""
    entries = [
        {"key_id": key_id, "algorithm": "Ed25519", "public_key": base64.b64encode(key).decode()}
        for key_id, key in sorted(keys.items())
    ]
    replace_json(store_path(), {"keys": entries})
