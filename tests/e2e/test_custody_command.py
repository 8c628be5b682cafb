"""``caio audit entries``, ``show``, ``holds``, ``retention`` and ``erase`` against a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caio.audit.signing import key_set
from tests.e2e.conftest import Served
from tests.support.caio_command import run_caio


class Keeper:
    """Somebody with an administrator's key, and the operator's data directory."""

    def __init__(self, caio: Served, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "CAIO_URL": caio.url,
            "CAIO_API_KEY": caio.token,
            "CAIO_DATA_DIR": str(caio.data_dir),
            "CAIO_TRUST_STORE": str(folder / "keys.json"),
        }
        (folder / "keys.json").write_text(json.dumps(key_set(caio.installation.keyring)))

    async def __call__(self, *arguments: object, code: int = 0) -> str:
        ended, said = await run_caio(self.folder, self.environment, "audit", *arguments)
        assert ended == code, (arguments, ended, said)
        return said

    async def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads((await self(*arguments, "--json", code=code)).splitlines()[0])


@pytest.fixture
async def called(caio: Served) -> Served:
    await caio.register("first")
    for _ in range(3):
        assert (await caio.orchestrate())[0] == 200
    return caio


@pytest.fixture
def keeper(called: Served, tmp_path: Path) -> Keeper:
    return Keeper(called, tmp_path)


async def test_entries_are_listed_and_shown(keeper: Keeper) -> None:
    heading, newest, *_ = (await keeper("entries", "--kind", "decision")).splitlines()
    assert heading.split() == ["seq", "time", "who", "what", "about", "outcome", "charged"]
    assert "decision" in newest
    assert "first@1.0.0 for text.sentiment" in newest
    assert newest.split()[-2:] == ["ok", "0.001"]
    told = await keeper("entries", "--action", "contract.published", "--since", "1h")
    assert "contract.published" in told
    listed = await keeper("entries", "--outcome", "ok", "--limit", "2")
    following = listed.splitlines()[-1].strip()
    assert following.startswith("caio audit entries --outcome ok --limit 2 --before ")
    assert len((await keeper.json(*following.split()[2:]))["items"]) == 1
    (entry,) = (await keeper.json("entries", "--outcome", "ok", "--limit", "1"))["items"]
    assert '"status": "ok"' in await keeper("show", entry["outcome_seq"])
    assert (await keeper.json("show", entry["seq"]))["payload"]["decision_id"] == entry["id"]
    await keeper("show", 100_000, code=6)
    await keeper("entries", "--outcome", "fine", code=4)


async def test_a_hold_is_placed_and_released_and_then_content_goes(keeper: Keeper) -> None:
    assert (await keeper("holds", "list")).startswith("no holds")
    entry, *others = (await keeper.json("entries", "--outcome", "ok"))["items"]
    placed = await keeper("holds", "place", "--reason", "a lawsuit", "--service", "first", "--since", "1d")
    assert "service first, since " in placed
    hold_id = placed.split()[1]
    assert hold_id in await keeper("holds", "list", "--standing")
    erase = ["erase", "--decision", entry["id"], "--reason", "case 17"]
    assert "there is nobody to ask" in await keeper(*erase, code=4)
    assert "legal hold" in await keeper(*erase, "--yes", code=7)
    await keeper("holds", "release", hold_id)
    assert "released" in await keeper("holds", "list")
    assert (await keeper(*erase, "--yes")).startswith("erased: 1, ")
    assert "ok (erased)" in await keeper("entries", "--outcome", "ok")
    await keeper("show", entry["seq"], code=6)
    principal = others[0]["principal"]
    assert await keeper.json("erase", "--principal", principal, "--reason", "case 17", "--yes") == {
        "erased": 2, "already_erased": 0, "running": 0, "unknown": 0,
    }  # fmt: skip
    await keeper("erase", "--reason", "case 17", "--yes", code=4)
    await keeper("erase", "--reason", "case 17", "--principal", "a", "--decision", "b", "--yes", code=4)


async def test_retention_is_shown_and_set(keeper: Keeper) -> None:
    assert await keeper("retention", "show") == "the content of decisions is kept for good\n"
    assert await keeper("retention", "set", 30) == "the content of decisions is kept for 30 days\n"
    assert await keeper.json("retention", "show") == {"days": 30, "erased_before": None}
    assert await keeper("retention", "set", "--forever") == "the content of decisions is kept for good\n"
    await keeper("retention", "set", code=4)
    await keeper("retention", "set", 3, "--forever", code=4)


@pytest.mark.long
async def test_a_tenant_is_erased_under_a_running_server_and_its_log_still_verifies(
    keeper: Keeper, called: Served
) -> None:
    kept = (await keeper("checkpoint")).encode()
    (keeper.folder / "kept").write_bytes(kept)
    await keeper("erase", "--tenant", "No Such", "--reason", "the contract ended", "--yes", code=4)
    await keeper("erase", "--tenant", "nobody", "--reason", "the contract ended", "--yes", code=6)
    told = await keeper("erase", "--tenant", "default", "--reason", "the contract ended", "--yes")
    assert told.startswith("tenant default: its key is destroyed")
    called.installation.vault.forget("default")  # instead of waiting until it looks by itself
    await keeper("export", "out")
    found = await keeper.json("verify", "out", "--checkpoint", "kept")
    assert found["ok"], found
    lines = [json.loads(line) for line in (keeper.folder / "out" / "entries.jsonl").read_text().splitlines()]
    assert not any("payload" in line for line in lines)
    assert all(item["erased"] for item in (await keeper.json("entries", "--limit", "100"))["items"])
    await keeper("show", 0, code=6)
    status, _, _ = await called.orchestrate()
    assert status == 410
