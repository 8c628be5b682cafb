"""Nothing opens a connection but the rooms that may: what a tenant or a token names is called by one guarded client.

Read from the source, by what it imports and calls; not seen is what a library does inside a call. Webhooks, the keys of
identity providers, witnesses and every provider of services are in ``providers``, where only ``dialling`` connects.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "caio"

#: Modules that open connections, or could.
CONNECTING = {"socket", "ssl", "http.client", "urllib.request", "aiohttp", "httpx", "httpx2", "requests", "websockets"}
CONNECTING |= {
    "smtplib",
    "ftplib",
    "telnetlib",
    "xmlrpc",
    "socketserver",
    "urllib3",
    "botocore",
    "aiobotocore",
    "boto3",
}
CONNECTING |= {"redis", "asyncpg"}

#: Ways of opening one, or of starting a program that could.
CALLS = {"open_connection", "open_unix_connection", "create_connection", "create_unix_connection", "sock_connect"}
CALLS |= {"create_datagram_endpoint", "create_subprocess_exec", "create_subprocess_shell", "urlopen", "Popen", "system"}

#: Who may, and why: where each of these connects to is said by the operator, or by whoever types the command.
ALLOWED = {
    "providers/dialling.py": "the guarded client's own connections",
    "providers/resolving.py": "looks up names; connects to nothing",
    "providers/outbound.py": "names TLS settings and errors; connects through dialling",
    "providers/process.py": "commands that the operator has named, without a shell",
    "storage/": "the operator's databases and Redis",
    "aws/": "the operator's own account",
    "client/": "the caller's side: the server that it was given",
    "cli/": "the server that the command was given, and the demonstration's own services",
    "bootstrap/clock.py": "this machine's name",
}


#: A file without any of these words opens nothing, and is not worth parsing.
WORTH_PARSING = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in sorted(CONNECTING | CALLS)))


def openings(path: Path) -> Iterator[str]:
    """What in a file opens connections, or could."""
    text = path.read_text()
    if not WORTH_PARSING.search(text):
        return
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if is_connecting(each.name))
            case ast.ImportFrom(module=str(module), level=0) if is_connecting(module):
                yield module
            case ast.ImportFrom(module="asyncio" | "subprocess" | "os" | "urllib.request", names=names):
                yield from (each.name for each in names if each.name in CALLS)
            case ast.Attribute(attr=name) if name in CALLS:
                yield name


def is_connecting(module: str) -> bool:
    return any(module == each or module.startswith(each + ".") for each in CONNECTING)


@cache
def found(source: Path) -> dict[str, list[str]]:
    files = {path.relative_to(source).as_posix(): sorted(set(openings(path))) for path in source.rglob("*.py")}
    return {name: opened for name, opened in files.items() if opened}


def test_only_the_rooms_that_may_open_connections() -> None:
    strangers = {name: opened for name, opened in found(SOURCE).items() if not name.startswith(tuple(ALLOWED))}
    assert strangers == {}


def test_every_exception_is_needed() -> None:
    names = found(SOURCE)
    assert {room for room in ALLOWED if not any(name.startswith(room) for name in names)} == set()


@pytest.mark.parametrize(
    "line",
    [
        "import socket",
        "from aiohttp import web",
        "import urllib.request as u",
        "asyncio.open_connection()",
        "os.system(x)",
    ],
)
def test_a_stray_connection_is_noticed(tmp_path: Path, line: str) -> None:
    (tmp_path / "stray.py").write_text(line)
    assert found(tmp_path)
