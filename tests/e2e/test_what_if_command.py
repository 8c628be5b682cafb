"""``caio what-if`` against a running server: what a person reads, and what a program does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.e2e.conftest import Served
from tests.e2e.test_what_if import costing, route, two_services


async def command(caio: Served, folder: Path, *arguments: str) -> tuple[int, str, str]:
    variables = {"PATH": os.defpath, "HOME": str(folder), "CAIO_URL": caio.url, "CAIO_API_KEY": caio.token}
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("caio")),
        "what-if",
        *arguments,
        env=variables,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_line_tells_it(caio: Served, tmp_path: Path) -> None:
    await two_services(caio)
    for size in range(3):
        await route(caio, payload="x" * size)
    await route(caio, requirements={"max_cost": 0.0001})
    (tmp_path / "next.json").write_text(json.dumps(costing(caio, "cheap", "0.003", version="1.1.0")))
    (tmp_path / "weights.json").write_text('{"cost": 1}')
    (tmp_path / "wrong.yaml").write_text("id: p\nversion: 1\neffect: forbid\nthen: service.nme\n")
    shown, as_json, wrong, both, empty, weighed = await asyncio.gather(
        command(caio, tmp_path, "--contract", "next.json"),
        command(caio, tmp_path, "--without-service", "cheap", "--limit", "1", "--json"),
        command(caio, tmp_path, "--policy", "wrong.yaml"),
        command(caio, tmp_path, "--weights", "cost=1", "--without-service", "cheap"),
        command(caio, tmp_path, "--weights", "cost=1,margin=2", "--since", "yesterday"),
        command(caio, tmp_path, "--weights", "weights.json"),
    )
    code, out, _ = shown
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("Of 4 decisions since ")
    assert lines[0].endswith(", 3 would move.")
    assert "cost at most, USD 0.003 0.006 +100.0% 3" in lines
    assert "cheap dear 3" in lines
    assert "cheap@1.0.0 → dear@1.0.0: scores 1.000000 against 0.000000" in lines
    assert lines[-1] == "caio services update next.json"
    report = json.loads(as_json[1])
    assert (report["ended"], report["replayed"]) == ("limit", 1)
    assert wrong[0] == both[0] == empty[0] == 4
    assert "wrong.yaml:4 /then" in wrong[2]
    assert weighed[1].startswith("Of 4 decisions")
    assert "nothing would move" in weighed[1]
