"""Options that several commands share, and the settings of every command group."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
Url = Annotated[str, typer.Option("--url", envvar="CAIO_URL", help="The server to ask.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="CAIO_API_KEY",
        show_default=False,
        help="The key to ask with; prefer the variable, since other users can see command lines.",
    ),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="The data directory (CAIO_DATA_DIR).", show_default=".caio")
]
File = Annotated[str, typer.Argument(metavar="FILE", help="A file, or - for standard input.")]
Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, or - for standard input.")]
IfMatch = Annotated[
    str | None, typer.Option("--if-match", metavar="REVISION", help="The revision to replace; asked for when absent.")
]

DEFAULT_URL = "http://127.0.0.1:8080"


def group(purpose: str) -> typer.Typer:
    """A command group in the house's form: plain help, no completion installer, no decorated tracebacks."""
    return typer.Typer(
        help=purpose,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
