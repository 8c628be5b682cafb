"""``caio workflows``: what a person reads while a run goes on, and what a program does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Served
from tests.support.caio_command import run_caio

WORKFLOW = """
steps:
  - id: first
    request: {capability: text.sentiment}
    payload: {text: {$from: input, pointer: /text}}
  - id: second
    request: {capability: text.sentiment}
    payload: {text: {$from: first, pointer: POINTER}}
"""


async def test_the_commands_of_workflows(caio: Served, tmp_path: Path) -> None:
    settings = {"CAIO_URL": caio.url, "CAIO_API_KEY": caio.token}
    (tmp_path / "flow.yaml").write_text(WORKFLOW.replace("POINTER", "/label"))
    (tmp_path / "wrong.yaml").write_text(WORKFLOW.replace("POINTER", "/nothing"))
    (tmp_path / "input.json").write_text('{"text": "Fine."}')
    await caio.register("echo")

    async def ran(*arguments: str) -> tuple[int, str]:
        return await run_caio(tmp_path, settings, "workflows", *arguments)

    code, said = await ran("run", "flow.yaml", "--input", "input.json", "--key", "k", "--follow")
    assert code == 0, said
    lines = said.splitlines()
    assert lines[:3] == ["run queued", "run started", "step first started"]
    assert "step second succeeded by echo, 0.001" in lines
    assert "run succeeded, 0.002" in lines
    code, said = await ran("run", "flow.yaml", "--input", "input.json", "--key", "k", "--json")
    assert code == 0, said
    run_id = json.loads(said)["run_id"]

    code, said = await ran("show", run_id, "--json")
    shown: Any = json.loads(said)
    assert (code, shown["status"], shown["charged"]) == (0, "succeeded", "0.002")
    code, said = await ran("list", "--json")
    assert (code, [each["run_id"] for each in json.loads(said)["items"]]) == (0, [run_id])
    code, said = await ran("cancel", run_id)
    assert (code, said.strip()) == (0, f"run {run_id} is succeeded")

    code, said = await ran("run", "wrong.yaml", "--input", "input.json", "--follow", "--json")
    events = [json.loads(line) for line in said.splitlines()]
    assert (code, events[-1]["event"], events[-1]["code"]) == (9, "run.failed", "unresolved_reference")
    (tmp_path / "cyclic.yaml").write_text(WORKFLOW.replace("$from: first", "$from: second"))
    code, said = await ran("run", "cyclic.yaml", "--input", "input.json")
    assert (code, "waits for itself" in said) == (4, True), said
