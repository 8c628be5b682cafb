"""The function that runs the migration for CloudFormation tells it the truth, whatever happens, and always tells it.

ECS is a stand-in, since no emulator ends a task with an exit code; CloudFormation's address is a real server's.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.support.infra_tools import CDK

ASKED = {"Cluster": "c", "Task": "t:1", "Subnets": ["s-1"], "SecurityGroup": "sg-1", "Logs": "/ecs/caio-production"}


class Ecs:
    """What ECS would answer: whether the task starts, and how it ends."""

    def __init__(self, exit_code: int | None = 0, failures: tuple[str, ...] = (), broken: bool = False) -> None:
        self._exit_code, self._failures, self._broken = exit_code, failures, broken
        self.started: list[dict[str, Any]] = []
        self._asked = 0

    def run_task(self, **asked: Any) -> dict[str, Any]:
        if self._broken:
            raise ConnectionError("ECS does not answer")
        self.started.append(asked)
        return {"tasks": [{"taskArn": "arn:task"}], "failures": [{"reason": each} for each in self._failures]}

    def describe_tasks(self, **_asked: Any) -> dict[str, Any]:
        self._asked += 1
        if self._asked == 1:
            return {"tasks": []}  # not known yet
        ended = {"exitCode": self._exit_code} if self._exit_code is not None else {}
        return {"tasks": [{"lastStatus": "STOPPED", "stoppedReason": "it ended", "containers": [ended]}]}


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and what was put there."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, told: tuple[str, list[dict[str, Any]]]
) -> Callable[[Ecs, str], dict[str, Any]]:
    address, received = told

    def run(ecs: Ecs, request: str = "Create") -> dict[str, Any]:
        monkeypatch.setitem(sys.modules, "boto3", types.SimpleNamespace(client=lambda _service: ecs))
        spec = importlib.util.spec_from_file_location("migrate_function", CDK / "caio_cdk" / "migrate_function.py")
        assert spec is not None
        assert spec.loader is not None
        function = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(function)
        names = {"StackId": "stack", "RequestId": "request", "LogicalResourceId": "Migration"}
        monkeypatch.setattr(function.time, "sleep", lambda _seconds: None)
        function.handler({"RequestType": request, "ResponseURL": address, "ResourceProperties": ASKED} | names, None)
        [answer] = received
        assert {name: answer[name] for name in names} == names
        return answer

    return run


def test_a_migration_that_ended_well_is_told_so(call: Callable[..., dict[str, Any]]):
    ecs = Ecs()
    assert call(ecs)["Status"] == "SUCCESS"
    [started] = ecs.started
    assert (started["cluster"], started["taskDefinition"], started["launchType"]) == ("c", "t:1", "FARGATE")
    assert started["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["s-1"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }


@pytest.mark.parametrize(
    ("ecs", "said"),
    [
        (Ecs(exit_code=1), "ended with 1: it ended. See /ecs/caio-production"),
        (Ecs(exit_code=None), "ended with None: it ended"),
        (Ecs(failures=("no capacity",)), "not started: no capacity"),
        (Ecs(broken=True), "could not be run: ECS does not answer"),
    ],
)
def test_whatever_else_happened_fails_the_deployment_with_the_reason(
    ecs: Ecs, said: str, call: Callable[..., dict[str, Any]]
):
    answer = call(ecs)
    assert answer["Status"] == "FAILED"
    assert said in answer["Reason"]


def test_deleting_the_stack_migrates_nothing(call: Callable[..., dict[str, Any]]):
    ecs = Ecs(broken=True)
    assert call(ecs, "Delete")["Status"] == "SUCCESS"


def test_an_update_keeps_the_resource(call: Callable[..., dict[str, Any]]):
    assert call(Ecs(), "Update")["PhysicalResourceId"] == "caio-migration"
