"""``caio schemas``: the published schemas, generated from the code, so they cannot say something else."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from caio.cli import exits, output
from caio.cli.files import write_file
from caio.cli.parameters import Json

if TYPE_CHECKING:
    from caio.api.platform import Platform


def schemas(
    check: Annotated[bool, typer.Option("--check", help="Say which files fell behind; change nothing.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write them.")] = False,
    directory: Annotated[Path, typer.Option(help="Where the files are.")] = Path("schemas"),
    as_json: Json = False,
) -> None:
    """Check or write the published schemas."""
    if check == write:
        raise typer.BadParameter("say either --check or --write")
    behind = [name for name, content in generated().items() if not _is(directory / name, content)]
    if write:
        for name in behind:
            write_file(directory / name, generated()[name])
    if as_json:
        output.print_json({"written" if write else "behind": behind})
    elif write:
        output.say(f"written: {', '.join(behind)}" if behind else "nothing to write")
    elif behind:
        output.say(f"behind the code: {', '.join(behind)}")
        output.next_step("caio schemas --write")
    else:
        output.say("the schemas are those of the code")
    if check and behind:
        raise typer.Exit(exits.ExitCode.FAILED)


@cache
def generated() -> dict[str, bytes]:
    """Every generated file by its name."""
    from caio.api import openapi
    from caio.api.control_plane import control_plane
    from caio.audit.shapes import receipt_schema
    from caio.contracts.schema import published

    # The document describes the routes, which ask for their platform only when they are called.
    api = openapi.document(control_plane(cast("Platform", None)))
    documents = {"openapi.json": api, "receipt.schema.json": receipt_schema()}
    return {
        **published(),
        **{
            name: f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode()
            for name, document in documents.items()
        },
    }


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
