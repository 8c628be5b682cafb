"""The pure rooms do no I/O, read no clock and draw no randomness: an allow-list over their syntax.

An import graph misses ``open()`` and ``datetime.now()``; this reads the source instead. A pure module
may import only the names below, may not use the built-ins that reach outside or run text as code, may
not read a clock or the environment through an allowed module, and may not change a name of its module
after import. Not seen: what an allowed library does inside a call, and names reached by ``getattr``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "caio"
PURE = (
    "foundation",
    "contracts",
    "routing",
    "audit/anchoring.py",
    "audit/checkpoint.py",
    "audit/export.py",
    "audit/lag.py",
    "audit/log_erasures.py",
    "audit/log_monitor.py",
    "audit/log_records.py",
    "audit/log_tree.py",
    "audit/log_verify.py",
    "audit/merkle.py",
    "audit/notes.py",
    "audit/ports.py",
    "audit/receipt.py",
    "audit/record.py",
    "audit/sealing.py",
    "audit/shapes.py",
    "audit/signing.py",
    "audit/tiles.py",
    "audit/verify.py",
    "gateway/health.py",
    "audit/witnessing.py",
    "events/envelope.py",
    "events/schedule.py",
    "events/signing.py",
    "metering/alerts.py",
    "metering/ledger.py",
    "metering/usage.py",
    "tenancy/addresses.py",
    "tenancy/rate_limit.py",
    "tenancy/throttle.py",
    "slo/burn.py",
    "aws/signing.py",
    "providers/addresses.py",
    "providers/event_stream.py",
    "providers/sse.py",
    "providers/translation/chat_request.py",
    "providers/translation/conversation.py",
)
# Rooms and modules of ours that a pure module may import: the pure ones.
PURE_OWN = tuple("caio." + room.removesuffix(".py").replace("/", ".") for room in PURE)

STANDARD = {
    "__future__",
    "abc",
    "array",
    "base64",
    "bisect",
    "binascii",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "json",
    "keyword",
    "math",
    "numbers",
    "operator",
    "re",
    "string",
    "struct",
    "textwrap",
    "types",
    "typing",
    "typing_extensions",
    "unicodedata",
    "urllib.parse",
    "zlib",
}
THIRD_PARTY = {"annotated_types", "jsonschema_rs", "msgspec", "numpy", "pydantic", "pydantic_core", "yaml"}
# A solver computes only; it is an extra, imported where it is used.
SOLVERS = {"routing/plans/milp.py": "highspy"}
# Signing, checking and sealing compute only: keys, nonces and salts are arguments.
CRYPTOGRAPHY = {"audit/sealing.py", "audit/signing.py", "audit/verify.py"}

FORBIDDEN_BUILTINS = {
    "open",
    "print",
    "input",
    "eval",
    "exec",
    "compile",
    "breakpoint",
    "__import__",
    "globals",
    "vars",
    "exit",
    "quit",
}
# Attributes that reach the world through an allowed module, whatever the object is called.
FORBIDDEN_ATTRIBUTES = {
    "now": {"datetime"},
    "utcnow": {"datetime"},
    "today": {"datetime", "date"},
    "random": {"numpy", "np"},
    "load": {"numpy", "np"},
    "save": {"numpy", "np"},
    "fromfile": {"numpy", "np"},
    "memmap": {"numpy", "np"},
    "loadtxt": {"numpy", "np"},
    "savetxt": {"numpy", "np"},
    "file_digest": {"hashlib"},
    "unsafe_load": {"yaml"},
    "full_load": {"yaml"},
}
MUTATORS = {
    "add",
    "append",
    "appendleft",
    "clear",
    "discard",
    "extend",
    "insert",
    "pop",
    "popitem",
    "popleft",
    "remove",
    "setdefault",
    "sort",
    "update",
}


def allowed_import(module: str, file: str) -> bool:
    top = module.partition(".")[0]
    if top == "caio":
        return any(module == own or module.startswith(own + ".") for own in PURE_OWN)
    if module in STANDARD or top in THIRD_PARTY or (top == "cryptography" and file in CRYPTOGRAPHY):
        return True
    if top == SOLVERS.get(file):
        return True
    return top in STANDARD and top != "urllib"


def _imports(tree: ast.AST, file: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            modules = [base] if allowed_import(base, file) else [f"{base}.{alias.name}" for alias in node.names]
            for alias in node.names:
                if base.partition(".")[0] in FORBIDDEN_ATTRIBUTES.get(alias.name, ()):
                    yield node.lineno, f"imports {base}.{alias.name}"
        else:
            continue
        for module in modules:
            if not allowed_import(module, file):
                yield node.lineno, f"imports {module}"


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in FORBIDDEN_BUILTINS:
            yield node.lineno, f"uses {node.id}"
        elif isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if owner in FORBIDDEN_ATTRIBUTES.get(node.attr, ()):
                yield node.lineno, f"uses {owner}.{node.attr}"
        elif isinstance(node, ast.Global):
            yield node.lineno, f"changes the module's {', '.join(node.names)}"


def _module_names(tree: ast.Module) -> set[str]:
    """Names the module binds at its top by assignment: state, if anything changes them later."""
    targets: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _bound_in(function: ast.AST) -> set[str]:
    """Names that a function binds itself, which hide the module's."""
    bound = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    return bound | {
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _state_changes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Module-level containers changed from inside a function."""
    state = _module_names(tree)
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        visible = state - _bound_in(function)
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in MUTATORS:
                    pass
                case (
                    ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
                    | ast.Attribute(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
                ):
                    pass
                case _:
                    continue
            if name in visible:
                yield node.lineno, f"changes the module's {name}"


def impurities(source: str, file: str = "routing/sample.py") -> list[str]:
    """What in this module's source is not pure, as ``line: what``."""
    tree = ast.parse(source)
    found = [*_imports(tree, file), *_names(tree), *_state_changes(tree)]
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def pure_files() -> list[Path]:
    files: list[Path] = []
    for room in PURE:
        path = SOURCE / room
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
    return files


def test_the_pure_rooms_are_pure():
    files = pure_files()
    assert {path.relative_to(SOURCE).parts[0] for path in files} >= {"foundation", "routing"}
    names = {path: path.relative_to(SOURCE).as_posix() for path in files}
    report = {name: found for path, name in names.items() if (found := impurities(path.read_text(), name))}
    assert report == {}


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import os", "imports os"),
        ("import os.path", "imports os.path"),
        ("from os import environ", "imports os.environ"),
        ("import time", "imports time"),
        ("import random", "imports random"),
        ("import secrets", "imports secrets"),
        ("from uuid import uuid4", "imports uuid.uuid4"),
        ("import logging", "imports logging"),
        ("import structlog", "imports structlog"),
        ("import asyncio", "imports asyncio"),
        ("from pathlib import Path", "imports pathlib.Path"),
        ("import urllib.request", "imports urllib.request"),
        ("from urllib import request", "imports urllib.request"),
        ("import sqlalchemy", "imports sqlalchemy"),
        ("import cryptography", "imports cryptography"),
        ("def late():\n    import socket", "imports socket"),
        ("from caio.storage import sql", "imports caio.storage.sql"),
        ("from caio import storage", "imports caio.storage"),
        ("from caio.audit import journal", "imports caio.audit.journal"),
        ("open('x')", "uses open"),
        ("read = open", "uses open"),
        ("print(1)", "uses print"),
        ("input()", "uses input"),
        ("eval('1')", "uses eval"),
        ("exec('1')", "uses exec"),
        ("compile('1', '', 'eval')", "uses compile"),
        ("__import__('os')", "uses __import__"),
        ("datetime.now()", "uses datetime.now"),
        ("datetime.datetime.utcnow()", "uses datetime.utcnow"),
        ("clock = datetime.now", "uses datetime.now"),
        ("date.today()", "uses date.today"),
        ("np.random.default_rng()", "uses np.random"),
        ("from numpy import random", "imports numpy.random"),
        ("np.load('x')", "uses np.load"),
        ("hashlib.file_digest(f, 'sha256')", "uses hashlib.file_digest"),
        ("yaml.unsafe_load('x')", "uses yaml.unsafe_load"),
        ("n = 0\ndef count():\n    global n\n    n += 1", "changes the module's n"),
        ("SEEN = {}\ndef see(x):\n    SEEN[x] = 1", "changes the module's SEEN"),
        ("SEEN: list[int] = []\ndef see(x):\n    SEEN.append(x)", "changes the module's SEEN"),
        ("SEEN = {}\nclass A:\n    def f(self):\n        del SEEN[1]", "changes the module's SEEN"),
    ],
)
def test_an_impurity_is_noticed(source, what):
    assert any(found.endswith(": " + what) for found in impurities(source))


@pytest.mark.parametrize(
    "source",
    [
        "from urllib.parse import urlsplit",
        "from collections.abc import Mapping",
        "import re\nPATTERN = re.compile('x')",
        "import numpy as np\nnp.zeros(3)",
        "def f(now):\n    return now + 1",
        "from caio.foundation.errors import CaioError",
        "from caio.audit import shapes",
        "def f(rows):\n    seen = []\n    seen.append(rows)\n    return seen",
        "WORDS = {}\ndef f(WORDS):\n    WORDS[1] = 2",
        "def outer():\n    n = 0\n    def inner():\n        nonlocal n\n        n += 1\n    return inner",
        "from datetime import datetime\ndatetime.fromisoformat('2026-01-01')",
    ],
)
def test_computing_is_not_an_impurity(source):
    assert impurities(source) == []


def test_cryptography_is_for_signing_sealing_and_verifying_only():
    source = "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey"
    assert impurities(source, "audit/verify.py") == []
    assert impurities(source, "audit/merkle.py") != []


def test_the_solver_is_known_to_one_module():
    assert impurities("def solve():\n    import highspy", "routing/plans/milp.py") == []
    assert impurities("import highspy", "routing/plans/search.py") != []
