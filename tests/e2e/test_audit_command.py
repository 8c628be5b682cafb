"""``caio audit`` against a real server: exports, checkpoints, the monitor, and an operator who cheats."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.signing import key_set
from caio.foundation.scope import PlatformScope
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import served
from tests.support.caio_command import run_caio
from tests.support.operator_fraud import Fraud


class Auditor:
    """Somebody with an API key and pinned keys, in a folder of his own."""

    def __init__(self, caio, folder: Path) -> None:
        self.folder = folder
        self.environment = {"HOME": str(folder), "CAIO_TRUST_STORE": str(folder / "keys.json")}
        (folder / "keys.json").write_text(json.dumps(key_set(caio.installation.keyring)))
        self.ask(caio)

    def ask(self, caio) -> None:
        self.environment |= {"CAIO_URL": caio.url, "CAIO_API_KEY": caio.token}

    async def __call__(self, *arguments: object, code: int = 0) -> str:
        ended, said = await run_caio(self.folder, self.environment, "audit", *arguments)
        assert ended == code, (arguments, ended, said)
        return said

    async def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads((await self(*arguments, "--json", code=code)).splitlines()[0])

    async def claims(self, *arguments: object, code: int = 0) -> dict[str, bool | None]:
        found = await self.json("verify", *arguments, code=code)
        return {claim["name"]: claim["proved"] for claim in found["claims"]}


@pytest.fixture
async def called(caio):
    await caio.register("first")
    for _ in range(3):
        assert (await caio.orchestrate())[0] == 200
    return caio


@pytest.fixture
def auditor(called, tmp_path) -> Auditor:
    folder = tmp_path / "auditor"
    folder.mkdir()
    return Auditor(called, folder)


async def test_an_export_is_written_whole_and_verifies(auditor):
    said = await auditor("export", "first")
    assert "entries of caio.localhost/" in said
    assert "caio audit verify first" in said
    directory = auditor.folder / "first"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    manifest = json.loads((directory / "manifest.json").read_bytes())
    size = manifest["size"]
    files = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    tiles = {f"tile/0/000.p/{size}", f"tile/entries/000.p/{size}"}
    assert files == {"manifest.json", "entries.jsonl", "checkpoint"} | tiles
    assert not [path for path in auditor.folder.iterdir() if path.name.startswith(".first")]

    said = await auditor("verify", "first")
    assert "Verified: a trusted key signed this log" in said
    assert "Not proved: that it was not rewritten" in said
    claims = await auditor.claims("first")
    assert [name for name, proved in claims.items() if proved is None] == ["anchors", "earlier"]
    assert "exists already" in await auditor("export", "first", code=7)

    told = await auditor.json("export", "second", "--from", 4, "--kind", "outcome")
    assert (told["from"], told["withheld"] > 0) == (4, True)
    claims = await auditor.claims("second")
    assert (claims["tree"], claims["tiles"]) == (True, None)
    for wrong, code in (("--since yesterday", 4), ("--kind weather", 4), ("--from 100000", 4)):
        assert await auditor("export", "third", *wrong.split(), code=code)
    assert not (auditor.folder / "third").exists()


async def test_an_export_that_is_cut_short_leaves_nothing(auditor, called):
    from sqlalchemy import text as sql

    await auditor("checkpoint")
    async with called.installation.database.writing(PlatformScope("test")) as connection:
        await connection.execute(sql("DELETE FROM journal WHERE seq = 4"))
    assert "cut short after 0 entries" in await auditor("export", "first", code=10)
    (auditor.folder / "full").write_text("a file")
    assert "cannot be written" in await auditor("export", "full/first", code=1)
    assert {path.name for path in auditor.folder.iterdir()} == {"keys.json", "full"}


async def test_what_was_changed_does_not_verify(auditor, called):
    await auditor("export", "first")
    assert (await called.orchestrate())[0] == 200
    await auditor("checkpoint", "-o", "kept")
    assert (await auditor.claims("first", "--checkpoint", "kept", code=11))["earlier"] is False
    await auditor("export", "second")
    assert (await auditor.claims("second", "--checkpoint", "kept"))["earlier"] is True
    (auditor.folder / "none").mkdir()
    found = await auditor.json("verify", "second", "--anchors", "none", code=11)
    assert (found["ok"], [claim for claim in found["claims"] if claim["proved"] is False]) == (False, [])
    assert found["verdict"] == "Not verified: of anchors, nothing could be compared with this log."

    directory = auditor.folder / "first"
    (directory / "tile/README").write_text("stray")
    claims = await auditor.claims("first", code=11)
    assert [name for name, proved in claims.items() if proved is False] == ["tiles"]
    (directory / "tile/README").unlink()
    entries = (directory / "entries.jsonl").read_bytes()
    (directory / "entries.jsonl").write_bytes(entries.replace(b'"decision"', b'"outcome"', 1))
    said = await auditor("verify", "first", code=11)
    assert "Not verified: entries hash, records do not hold." in said
    (directory / "entries.jsonl").unlink()
    assert "entries.jsonl cannot be read" in await auditor("verify", "first", code=4)
    (auditor.folder / "keys.json").write_text('{"keys": []}')
    assert "caio trust add URL" in await auditor("verify", "second", code=11)


async def test_the_monitor_sees_a_log_grow(auditor, called):
    found = await auditor.json("monitor")
    assert (found["verdict"], found["old"]) == ("first", None)
    assert (await auditor.json("monitor"))["verdict"] == "same"
    assert (await called.orchestrate())[0] == 200
    grown = await auditor.json("monitor")
    assert (grown["verdict"], grown["old"]) == ("grown", found["new"])
    assert "still has" in await auditor("monitor", "--origin", found["origin"])
    assert "and not elsewhere" in await auditor("monitor", "--origin", "elsewhere/x", code=4)
    state = auditor.folder / ".config/caio/monitored-logs.json"
    assert list(json.loads(state.read_bytes())["logs"]) == [found["origin"]]

    other = auditor.folder / "other.json"
    other.write_text('{"keys": []}')
    assert (await auditor.json("monitor", "--keys", "other.json", code=11))["verdict"] == "unsigned"
    assert "is not a directory" in await auditor("monitor", "--anchors", "nowhere", code=4)


async def test_the_monitor_asks_before_it_takes_another_log_for_the_same(auditor, called):
    lost = Checkpoint("caio.localhost/7/default", 9, b"x" * 32)
    state = auditor.folder / "state.json"
    note = sign_checkpoint(lost, called.installation.keyring.active)
    state.write_text(json.dumps({"logs": {lost.origin: note}}))
    said = await auditor("monitor", "--state", "state.json", code=12)
    assert f"TOOK THE PLACE of {lost.origin}, which had 9 entries" in said
    assert json.loads((auditor.folder / said.split(" are in ")[1].split(": keep")[0]).read_bytes())["old"] == note
    assert list(json.loads(state.read_bytes())["logs"]) == [lost.origin]
    accepted = await auditor.json("monitor", "--state", "state.json", "--origin", "caio.localhost/default")
    assert accepted["verdict"] == "first"
    assert (await auditor.json("monitor", "--state", "state.json"))["verdict"] == "same"


async def test_two_checkpoints_are_compared_offline(auditor, called):
    first = await auditor.json("checkpoint", "-o", "first")
    assert (await called.orchestrate())[0] == 200
    second = await auditor.json("checkpoint", "-o", "second")
    _, proof = await called.get(f"/api/v1/audit/proofs/consistency?old={first['size']}&new={second['size']}")
    (auditor.folder / "proof").write_text(json.dumps(proof))
    between = ("monitor", "--old", "first", "--new", "second")
    assert "grew from" in await auditor(*between, "--proof", "proof")
    assert "give the proof" in await auditor(*between, code=4)
    (auditor.folder / "proof").write_text('{"proof": []}')
    assert (await auditor.json(*between, "--proof", "proof", code=12))["verdict"] == "forked"
    assert (await auditor.json("monitor", "--old", "second", "--new", "first", code=12))["verdict"] == "set_back"


@pytest.fixture
async def defrauded(tmp_path, template, service):
    """A log that was anchored, exported and monitored, its server stopped; what the operator can do to it; and
    a way to serve it again."""
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    (tmp_path / "auditor").mkdir()
    async with served(tmp_path / "data", token, service, anchor_every_seconds=1) as caio:
        await caio.register("first")
        answers = [await caio.orchestrate() for _ in range(130)]
        auditor = Auditor(caio, tmp_path / "auditor")
        await auditor("monitor")
        scope = embedded_scope()
        fraud = Fraud(
            tmp_path / "data/caio.db",
            scope.tenant_id,
            await caio.installation.vault.sealer(scope),
            caio.installation.keyring.active,
        )

    def serve(**settings):
        return served(tmp_path / "data", token, service, **settings)

    return auditor, fraud, serve, [document["decision_id"] for _, document, _ in answers]


ANCHORS = "../data/anchors"


def somebody_else(record):
    record["principal"] = record["principal_document"]["id"] = "key_00000000000000000000000000"


async def test_an_operator_who_rewrites_a_decision_is_caught_by_an_anchored_checkpoint(defrauded):
    auditor, fraud, serve, decisions = defrauded
    fraud.rewrite(decisions[7], somebody_else)
    async with serve(anchor="none") as caio:
        auditor.ask(caio)
        await auditor("export", "forged")
        alone = await auditor.json("verify", "forged")
        assert alone["ok"], alone  # signed again, the forged log proves itself
        assert "Not proved: that it was not rewritten and signed again" in alone["verdict"]
        claims = await auditor.claims("forged", "--anchors", ANCHORS, code=11)
        assert [name for name, proved in claims.items() if proved is False] == ["anchors"]
        found = await auditor.json("monitor", "--evidence", "fork.json", code=12)
        assert found["verdict"] == "forked"
        evidence = json.loads((auditor.folder / "fork.json").read_bytes())
        assert {evidence["old"].splitlines()[0], evidence["new"].splitlines()[0]} == {found["origin"]}
        fresh = await auditor.json("monitor", "--state", "none.json", "--anchors", ANCHORS, code=12)
        assert fresh["verdict"] == "forked"
        assert (await auditor.json("monitor", code=12))["verdict"] == "forked"  # what was seen stays remembered


async def test_an_operator_who_forgets_the_last_entries_is_caught(defrauded):
    auditor, fraud, serve, _ = defrauded
    fraud.forget_last(100)
    async with serve(anchor="none") as caio:
        auditor.ask(caio)
        await auditor("export", "short")
        assert (await auditor.json("verify", "short"))["ok"]
        claims = await auditor.claims("short", "--anchors", ANCHORS, code=11)
        assert [name for name, proved in claims.items() if proved is False] == ["anchors"]
        said = await auditor("monitor", code=12)
        assert "WAS SET BACK" in said
        assert (await auditor.json("monitor", "--state", "x.json", "--anchors", ANCHORS, code=12))[
            "verdict"
        ] == "set_back"


async def test_a_server_that_sees_its_anchors_signs_no_forged_log(defrauded):
    _, fraud, serve, decisions = defrauded
    fraud.rewrite(decisions[0], somebody_else)
    async with serve() as caio:
        _, before = await caio.get("/api/v1/audit/proofs/inclusion?seq=0")
        assert (await caio.orchestrate())[0] in (200, 503)
        async with caio.http.get("/api/v1/audit/checkpoint?fresh=true") as answer:
            after = await answer.text()
        assert after.splitlines()[1] == str(before["size"])
