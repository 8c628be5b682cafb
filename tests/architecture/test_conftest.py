"""The tests' own ground: the network guard guards, and the PostgreSQL is real, private and no superuser's."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.fixture
def run_pytest(tmp_path):
    """A function that runs pytest in another process on one test file, on this ground."""

    def run(source: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
        (tmp_path / "test_sample.py").write_text(source)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:schemathesis",
            "--rootdir",
            tmp_path,
            tmp_path,
        ]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("address", [("192.0.2.1", 9), ("10.0.0.1", 9), ("8.8.8.8", 53)])
def test_a_connection_beyond_the_machine_is_refused(address, refused_connections):
    with socket.socket() as stranger, pytest.raises(ConnectionRefusedError, match="stay on this machine"):
        stranger.connect(address)
    with socket.socket() as stranger, pytest.raises(ConnectionRefusedError):
        stranger.connect_ex(address)
    assert len(refused_connections) == 2
    refused_connections.clear()


def test_a_datagram_or_a_look_up_beyond_the_machine_is_refused(refused_connections):
    with socket.socket(type=socket.SOCK_DGRAM) as stranger, pytest.raises(ConnectionRefusedError):
        stranger.sendto(b"x", ("192.0.2.1", 9))
    with pytest.raises(ConnectionRefusedError):
        socket.getaddrinfo("example.org", 80)
    assert len(refused_connections) == 2
    refused_connections.clear()


def test_a_swallowed_refusal_fails_the_test_all_the_same(run_pytest):
    result = run_pytest(
        "import socket\n"
        "def test_quiet():\n"
        "    try: socket.create_connection(('192.0.2.1', 9), 1)\n"
        "    except OSError: pass\n"
    )
    assert result.returncode == 1
    assert "reached beyond this machine" in result.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.5"])
def test_this_machine_is_reached(host, free_port, refused_connections):
    with socket.socket() as server:
        server.bind((host, free_port()))
        server.listen()
        socket.create_connection(server.getsockname(), 1).close()
    assert refused_connections == []


async def test_postgres_is_real_and_row_security_binds_its_user(postgres_url):
    connection = await asyncpg.connect(postgres_url)
    try:
        assert "PostgreSQL" in await connection.fetchval("select version()")
        assert await connection.fetchval("select usesuper or usebypassrls from pg_user where usename = user") is False
        await connection.execute("create table kept (n int)")
    finally:
        await connection.close()


async def test_postgres_is_empty_for_every_test(postgres_url):
    connection = await asyncpg.connect(postgres_url)
    try:
        assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
    finally:
        await connection.close()


def test_waiting_ends(wait_for):
    turns = iter([None, None, 7])
    assert wait_for(lambda: next(turns), every=0) == 7
    with pytest.raises(AssertionError, match="not so after"):
        wait_for(lambda: False, seconds=0)
