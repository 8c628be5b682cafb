"""The image's health check against real listeners: what is ready, and everything that is not."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.support.infra_tools import CONTAINER, ROOT

SCRIPT = ROOT / "container" / "healthcheck.py"


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of 127.0.0.1 on which `answer` is given every connection, after its request was read."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    with suppress(OSError):  # whoever asked may have gone
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(20)


def check(port: int | str, *arguments: str) -> tuple[int, str, float]:
    """Exit code, standard error and seconds of the script, run as the image runs it: isolated, without packages."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-ISB", SCRIPT, *arguments],
        env={"CAIO_OPS_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr, time.monotonic() - started


def says(status: str, *headers: str) -> Callable[[socket.socket], None]:
    text = "\r\n".join([f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "", ""])
    return lambda connection: connection.sendall(text.encode())


def test_healthy_is_200_alone():
    with listener(says("200 OK")) as port:
        assert check(port)[:2] == (0, "")
    for status in ("204 No Content", "404 Not Found", "500 Internal Server Error", "503 Service Unavailable"):
        with listener(says(status)) as port:
            code, error, _ = check(port)
            assert (code, error) == (1, f"unhealthy: 127.0.0.1:{port}/health/ready answered {status[:3]}\n")


def test_a_redirect_to_something_healthy_is_not_followed():
    with (
        listener(says("200 OK")) as healthy,
        listener(says("307 Temporary Redirect", f"Location: http://127.0.0.1:{healthy}/")) as port,
    ):
        assert check(port)[0] == 1


def test_an_answer_is_due_in_five_seconds():
    def never(connection: socket.socket) -> None:
        connection.settimeout(15)
        connection.recv(1)

    def dripping(connection: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
            connection.sendall(bytes([byte]))
            time.sleep(0.5)

    for answer in (never, dripping):
        with listener(answer) as port:
            code, error, seconds = check(port)
        assert code == 1
        assert "no whole answer within 5 s" in error or "timed out" in error
        assert 4 < seconds < 9


@pytest.mark.parametrize("answer", [lambda connection: None, lambda connection: connection.sendall(b"hello\r\n\r\n")])
def test_no_answer_is_unhealthy(answer):
    with listener(answer) as port:
        assert check(port)[0] == 1


def test_nothing_that_listens_and_no_port_are_unhealthy():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert "ConnectionRefused" in check(bound.getsockname()[1])[1]
    code, error, _ = check("ninety")
    assert code == 1
    assert "ValueError" in error


def test_it_asks_for_readiness_unless_told_otherwise():
    asked = []

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            for _ in range(2):
                connection, _address = server.accept()
                with connection:
                    asked.append(connection.recv(4096).split(b"\r\n")[0])
                    says("200 OK")(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        check(port)
        check(port, "/health/live")
        thread.join(10)
    assert asked == [b"GET /health/ready HTTP/1.1", b"GET /health/live HTTP/1.1"]


def test_its_port_is_the_contracts_when_none_is_set():
    assert "operations: 9090" in CONTAINER.read_text()
    done = subprocess.run(
        [sys.executable, "-ISB", SCRIPT, "/health/live"], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "127.0.0.1:9090/health/live" in done.stderr
