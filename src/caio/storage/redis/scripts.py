"""The steps that Redis runs, each one script and one round trip.

Steps on a tenant's account begin with ``prelude.lua``; their keys all carry the tenant's name in braces, and
besides they read ``caio:server:…``, ``caio:joined:…`` and ``caio:processes:…``. That needs one server, or one
primary with replicas: cluster mode is refused (``client``).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files

_FOLDER = files("caio.storage.redis") / "lua"


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the digest that a server knows it by."""

    name: str
    text: str
    digest: str


def _load(name: str, *, prelude: bool = True) -> Script:
    names = ("prelude", name) if prelude else (name,)
    text = "\n".join((_FOLDER / f"{each}.lua").read_text(encoding="utf-8") for each in names)
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


ADMIT = _load("admit")
MOVE = _load("move")
SETTLE = _load("settle")
CLAIM = _load("claim")
INSTALL = _load("install")
ADD_WINDOWS = _load("add_windows")
LOSE = _load("lose")
ORPHANS = _load("orphans")
HELD = _load("held")
BEAT = _load("beat", prelude=False)
FORGET = _load("forget", prelude=False)
TELL_HEALTH = _load("tell_health", prelude=False)
TOLD_HEALTH = _load("told_health", prelude=False)


def account_keys(tenant_id: str) -> tuple[str, str, str]:
    """The keys of a tenant's account: its books, its running calls, and how many run of each subject."""
    stem = f"{{caio:{tenant_id}}}:"
    return stem + "account", stem + "grants", stem + "slots"
