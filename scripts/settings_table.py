"""Write ``docs/reference/settings.md`` from the settings themselves.

    python -m scripts.settings_table

A test compares the page with what this would write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from caio.config import NamedDatabase, OidcIssuer, Settings, WitnessAddress

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"

#: A field's bounds, and the words for them.
_BOUNDS = {"ge": "at least", "le": "at most"}

#: What lists are called that are not of networks.
_LISTS = {WitnessAddress: "witnesses", NamedDatabase: "databases", OidcIssuer: "JSON list", str: "comma-separated"}

_BEFORE = """\
# Settings

`caio serve` and the commands that open a data directory read these variables of the environment, and nothing else: no
file, no default secret. What is marked as a secret is in no log line, error or answer. An option of the command line
wins over its variable. An unusable value stops the start with one sentence that names the variable. The library reads
them too, except that it always keeps its data in SQLite.

This page is written by `python -m scripts.settings_table` from `caio.config.Settings`.

| variable | values | default | meaning |
|---|---|---|---|
"""

_AFTER = """
## Beside them

| variable | read by | meaning |
|---|---|---|
| `CAIO_URL`, `CAIO_API_KEY` | commands that ask a server | the server, and the key or access token to ask it with |
| `CAIO_TENANT` | commands that ask a server | which tenant, for a token that proves several |
| `CAIO_TRUST_STORE` | `caio verify`, `caio trust` | the file of pinned keys [`~/.config/caio/trusted-keys.json`] |
| `AWS_…` | everything that speaks to AWS | region, credentials and endpoint, as in AWS's own tools |
| `CAIO_DEBUG` | every command | `1` shows tracebacks |
| `NO_COLOR` | every command | any value: no colour |

Without `CAIO_AUTH_SECRET_KEY` and `CAIO_SIGNING_SECRET` the first start makes keys, as files in the data directory:
`keys/master.key` opens what is stored, `keys/signing/` signs receipts.
[Back up and restore](../how-to/back-up-and-restore.md) says how to keep them.
"""


def page() -> str:
    """The page as it should stand."""
    rows = (_row(name, field) for name, field in Settings.model_fields.items())
    return _BEFORE + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _AFTER


def _row(name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    variable = f"{Settings.model_config.get('env_prefix', '')}{name}".upper()
    default = "unset" if field.default in (None, ()) else f"`{_written(field.default)}`"
    # What is kept out of representations may hold a password.
    values = [*_values(field), *(() if field.repr else ("**may hold a secret**",))]
    return f"`{variable}`", ", ".join(values), default, field.description or ""


def _written(default: object) -> str:
    """A default as it would stand in the environment."""
    return str(default).lower() if isinstance(default, bool) else str(default)


def _values(field: FieldInfo) -> Iterator[str]:
    """What the variable may hold: its words, or its kind with its bounds."""
    annotation: Any = field.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(each for each in get_args(annotation) if each is not NoneType)
    if get_origin(annotation) is Literal:
        yield from (f"`{each}`" for each in get_args(annotation))
    elif annotation is bool:
        yield "`true` or `false`"
    elif annotation is int:
        yield "whole number"
    elif annotation is float:
        yield "number"
    elif annotation is Path:
        yield "directory"
    elif annotation is SecretStr:
        yield "**secret**"
    elif get_origin(annotation) is tuple:
        held = get_args(annotation)[0]
        yield _LISTS.get(get_args(held)[0] if get_origin(held) is Annotated else held, "networks")
    else:
        yield "text"
    for bound, words in _BOUNDS.items():
        yield from (f"{words} {getattr(each, bound)}" for each in field.metadata if hasattr(each, bound))
    yield from (f"`{each.pattern}`" for each in field.metadata if getattr(each, "pattern", None))


if __name__ == "__main__":
    PAGE.write_text(page())
