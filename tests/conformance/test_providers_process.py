"""What is special to local commands: which run, what they find, and that none is left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.gateway.ports import Call, Operation, Target
from caio.providers import Processes, ProcessLimits
from tests.support.chat_services import CUT, HOLD, LIMIT, Process, ProcessStage, line, stage, target_for

BODY = {"messages": [{"role": "user", "content": "payload-marker"}]}
SAID = Process()
BOUNDS = ProcessLimits(line_bytes=LIMIT, at_once=2, pause_seconds=30)


@pytest.fixture
async def sut(tmp_path: Path) -> AsyncIterator[ProcessStage]:
    async with stage("process", tmp_path, BOUNDS) as played:
        assert isinstance(played, ProcessStage)
        yield played


def call(*, stream: bool = False, timeout: float = 5.0, operation: Operation = Operation.CHAT) -> Call:
    return Call(operation, BODY, stream, timeout)


async def fault_of(sut: ProcessStage, asked: Call) -> UpstreamFailed:
    with pytest.raises(UpstreamFailed) as caught:
        await sut.provider.call(sut.target, asked)
    return caught.value


async def test_only_named_commands_run(sut: ProcessStage) -> None:
    await sut.play(SAID.answer("x"))
    for command in (None, "", "other", "classify; true", sys.executable):
        error = await fault_of(retargeted(sut, command=command), call())
        assert error.fault is UpstreamFault.BLOCKED
        assert "CAIO_PROCESS_COMMANDS" in error.message
    assert sut.asked == []


async def test_a_secret_is_not_given_to_a_command(sut: ProcessStage) -> None:
    await sut.play(SAID.answer("x"))
    error = await fault_of(retargeted(sut, auth_scheme="bearer"), call())
    assert error.fault is UpstreamFault.BLOCKED
    assert sut.asked == []


def retargeted(sut: ProcessStage, **more: Any) -> ProcessStage:
    sut.target = replace(sut.target, **more)
    return sut


async def test_what_a_command_is_asked(sut: ProcessStage) -> None:
    await sut.play(SAID.answer("x"))
    await sut.provider.call(sut.target, call())
    await sut.provider.call(replace(sut.target, model=None), call(operation=Operation.JSON))
    assert sut.asked == [
        {"id": 1, "operation": "chat", "stream": False, "body": {**BODY, "model": "m.one-v1:0"}},
        {"id": 2, "operation": "json", "stream": False, "body": BODY},
    ]


async def test_a_document_of_any_kind_answers_json(sut: ProcessStage) -> None:
    await sut.play(line(answer=[1, "two"]))
    answer = await sut.provider.call(sut.target, call(operation=Operation.JSON))
    assert (answer.body, answer.usage) == ([1, "two"], None)


async def test_a_command_finds_nothing_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAIO_SECRET", "inherited")
    script = tmp_path / "environment.py"
    script.write_text(
        "import json, os, sys\n"
        "for line in sys.stdin:\n"
        "    found = [dict(os.environ), os.getcwd(), os.listdir('/proc/self/fd')]\n"
        "    print(json.dumps({'id': json.loads(line)['id'], 'answer': found}), flush=True)\n"
    )
    processes = Processes({"sut": [sys.executable, "-I", str(script)]})
    try:
        with (tmp_path / "open").open("w"):
            answer = await processes.call(target_of("sut"), call(operation=Operation.JSON))
    finally:
        await processes.close()
    environment, folder, files = answer.body
    assert {name: environment[name] for name in ("PATH", "LANG")} == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }
    assert set(environment) <= {"PATH", "LANG", "LC_CTYPE"}
    assert folder == "/"
    assert len(files) <= 4  # its three, and the directory it reads


def target_of(command: str) -> Target:
    return target_for("process", "", auth_scheme="none", secret_ref=None, command=command, model=None)


async def test_a_call_cut_short_leaves_no_process(sut: ProcessStage) -> None:
    """Nor the children that the command has made; the next call gets a new process."""
    await sut.play(SAID.begin(), SAID.token("one"), HOLD)
    async with aclosing(sut.provider.stream(sut.target, call(stream=True))) as chunks:  # type: ignore[type-var]
        async for at_once in chunks:
            if at_once[-1].has_content:
                break
    await sut.until_left()
    await sut.play(SAID.answer("again"))
    answer = await sut.provider.call(sut.target, call())
    assert answer.body["choices"][0]["message"]["content"] == "again"


async def test_a_child_that_left_the_group_holds_nobody_up(tmp_path: Path) -> None:
    script = tmp_path / "leaving.py"
    script.write_text(
        "import os, sys, time\n"
        "for line in sys.stdin:\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        f"        open({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid()))\n"
        "        time.sleep(8)\n"
        "        os._exit(0)\n"
        "    time.sleep(60)\n"
    )
    processes = Processes({"sut": [sys.executable, "-I", "-S", str(script)]})
    async with asyncio.timeout(5):
        with pytest.raises(UpstreamFailed):
            await processes.call(target_of("sut"), call(timeout=0.7))
        await processes.close()
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


async def test_closing_leaves_no_process(sut: ProcessStage, wait_for_async: Any) -> None:
    await sut.play(HOLD)
    task = asyncio.create_task(sut.provider.call(sut.target, call()))
    await wait_for_async(lambda: sut.asked)
    assert isinstance(sut.provider, Processes)
    await sut.provider.close()
    with pytest.raises(UpstreamFailed):
        await task
    await sut.until_left()
    assert (await fault_of(sut, call())).fault is UpstreamFault.BLOCKED


async def test_a_process_serves_one_call_at_a_time(sut: ProcessStage) -> None:
    await sut.play(SAID.answer("x"))
    await asyncio.gather(*(sut.provider.call(sut.target, call(timeout=20)) for _ in range(6)))
    assert len(sut.asked) == 6
    assert sorted({each["id"] for each in sut.asked}) == list(range(1, max(each["id"] for each in sut.asked) + 1))
    assert max(each["id"] for each in sut.asked) >= 3  # two processes shared the six


async def test_a_full_command_is_overloaded(sut: ProcessStage, wait_for_async: Any) -> None:
    await sut.play(HOLD)
    busy = [asyncio.create_task(sut.provider.call(sut.target, call())) for _ in range(2)]
    await wait_for_async(lambda: len(sut.asked) == 2)
    assert (await fault_of(sut, call(timeout=0.1))).fault is UpstreamFault.OVERLOADED
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)


async def test_a_command_that_dies_is_not_hammered(sut: ProcessStage) -> None:
    await sut.play(CUT)
    assert (await fault_of(sut, call())).fault is UpstreamFault.UPSTREAM
    error = await fault_of(sut, call())
    assert error.fault is UpstreamFault.UNREACHABLE
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 30
    assert len(sut.asked) == 1


async def test_a_command_that_died_is_started_again(tmp_path: Path) -> None:
    bounds = ProcessLimits(line_bytes=LIMIT, pause_seconds=0)
    async with stage("process", tmp_path, bounds) as sut:
        assert isinstance(sut, ProcessStage)
        await sut.play(CUT)
        await fault_of(sut, call())
        await sut.play(SAID.answer("x"))
        await sut.provider.call(sut.target, call())
        assert [each["id"] for each in sut.asked] == [1, 1]


async def test_a_program_that_is_not_there() -> None:
    processes = Processes({"sut": ["/nowhere/at/all"]})
    for _ in range(2):
        with pytest.raises(UpstreamFailed) as caught:
            await processes.call(target_of("sut"), call())
        assert caught.value.fault is UpstreamFault.UNREACHABLE
    await processes.close()


async def test_standard_error_is_not_logged(sut: ProcessStage) -> None:
    """It is counted; the script repeats there what it was asked."""
    await sut.play(SAID.answer("x"))
    with capture_logs() as logs:
        await sut.provider.call(sut.target, call())
        assert isinstance(sut.provider, Processes)
        await sut.provider.close()
    assert "payload-marker" not in str(logs)
    (ended,) = [each for each in logs if each["event"] == "process_ended"]
    assert ended["standard_error_bytes"] > len("payload-marker")


async def test_a_command_that_floods_standard_error_is_not_held_up(tmp_path: Path) -> None:
    script = tmp_path / "loud.py"
    script.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    sys.stderr.write('x' * (1 << 20))\n"
        "    print(json.dumps({'id': json.loads(line)['id'], 'answer': 1}), flush=True)\n"
    )
    processes = Processes({"sut": [sys.executable, "-I", "-S", str(script)]})
    try:
        answer = await processes.call(target_of("sut"), call(operation=Operation.JSON))
    finally:
        await processes.close()
    assert answer.body == 1


async def test_the_end_of_its_input_is_a_commands_sign_to_go(tmp_path: Path) -> None:
    """What happens where this process is killed: its end of the pipe closes."""
    async with stage("process", tmp_path, BOUNDS) as sut:
        assert isinstance(sut, ProcessStage)
        process = await asyncio.create_subprocess_exec(*sut.argv, stdin=asyncio.subprocess.PIPE, env=dict(os.environ))
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 20) == 0
