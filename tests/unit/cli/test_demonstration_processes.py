"""The demonstration's children: ready, killed, stopped, and honest about what did not start."""

import asyncio
import os
import socket
import sys

import psutil
import pytest

from caio.cli.demonstration.processes import Children, DidNotStart
from caio.cli.demonstration.stage import environment, free_port

READY = "import json, sys, time; print(json.dumps({'url': 'http://127.0.0.1:1'}), flush=True); "


@pytest.fixture
async def children(tmp_path):
    children = Children(tmp_path, os.environ)
    yield children
    await children.stop()


def python(code):
    return [sys.executable, "-S", "-c", code]


async def test_a_child_is_ready_when_it_says_so_and_gone_when_killed(children):
    child = await children.start("one", python(READY + "time.sleep(60)"))
    assert child.url == "http://127.0.0.1:1"
    assert await children.kill("one") == -9
    assert not psutil.pid_exists(child.process.pid)


async def test_stop_ends_children_and_what_they_started(children):
    spawning = "import subprocess; subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)']); "
    child = await children.start("parent", python("import sys; " + spawning + READY + "time.sleep(60)"))
    family = [psutil.Process(child.process.pid), *psutil.Process(child.process.pid).children()]
    assert len(family) == 2
    await children.stop()
    assert psutil.wait_procs(family, timeout=5)[1] == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('the port is taken')", "the port is taken"),
        ("print('hello', flush=True); import time; time.sleep(60)", "broken.log"),
        ("print('{}', flush=True); import time; time.sleep(60)", "instead of where it listens"),
    ],
)
async def test_what_does_not_start_says_why_and_where_its_log_is(children, tmp_path, code, said):
    with pytest.raises(DidNotStart, match=said) as failed:
        await children.start("broken", python(code))
    assert str(tmp_path / "broken.log") in str(failed.value)


async def test_a_talkative_child_is_not_held_up(children, tmp_path):
    done = tmp_path / "done"
    talking = f"print('x' * 1_000_000, flush=True); open({str(done)!r}, 'w').close(); time.sleep(60)"
    await children.start("talkative", python(READY + talking))
    for _ in range(500):
        if done.exists():
            break
        await asyncio.sleep(0.01)
    assert done.exists()


def test_children_see_neither_caio_settings_nor_provider_keys(monkeypatch):
    monkeypatch.setenv("CAIO_DATABASE_URL", "postgresql://elsewhere")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    seen = environment(("OPENAI_API_KEY",))
    assert "CAIO_DATABASE_URL" not in seen
    assert "OPENAI_API_KEY" not in seen
    assert seen["PATH"] == os.environ["PATH"]


def test_a_taken_port_gives_way_to_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port
