"""An anchor that is away at the start."""

import asyncio
from typing import Any

import pytest

from caio.audit import late_anchor
from caio.audit.anchor_directory import DirectoryAnchor
from caio.audit.checkpoint import Checkpoint, sign_checkpoint
from caio.audit.late_anchor import LateAnchor
from caio.foundation.errors import Misconfigured, NotReady
from tests.support.logs import KEYRING

NOTE = sign_checkpoint(Checkpoint("test.example/acme", 3, bytes(32)), KEYRING.active)


class Opening:
    """Opens a directory unless ``fault`` says otherwise."""

    def __init__(self, directory, fault=None):
        self._directory = directory
        self.fault = fault
        self.times = 0

    async def __call__(self):
        self.times += 1
        if self.fault is not None:
            raise self.fault
        return DirectoryAnchor(self._directory)


async def test_a_start_does_not_wait_for_the_anchor(tmp_path):
    opening = Opening(tmp_path, NotReady("away"))
    late = await LateAnchor.open(opening)
    for use in (late.put("test.example/acme", 3, NOTE), late.latest("test.example/acme"), anext(late.notes("a"))):
        with pytest.raises(NotReady):
            await use
    opening.fault = None
    await late.put("test.example/acme", 3, NOTE)
    assert await late.latest("test.example/acme") == NOTE
    assert [note async for note in late.notes("test.example/acme")] == [NOTE]
    assert opening.times == 5  # opened once


async def test_a_wrong_setting_ends_the_start(tmp_path):
    opening = Opening(tmp_path, Misconfigured("no such bucket"))
    with pytest.raises(Misconfigured):
        await LateAnchor.open(opening)
    opening.fault = NotReady("away")
    late = await LateAnchor.open(opening)
    opening.fault = Misconfigured("no such bucket")
    with pytest.raises(NotReady, match="no such bucket"):
        await late.latest("test.example/acme")


async def test_a_start_does_not_wait_for_an_anchor_that_says_nothing(monkeypatch):
    async def open_for_ever() -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(late_anchor, "OPENING_SECONDS", 0.01)
    async with asyncio.timeout(10):
        await LateAnchor.open(open_for_ever)
