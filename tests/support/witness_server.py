"""A witness (C2SP tlog-witness, ``add-checkpoint``): a real server on 127.0.0.1 that remembers what it saw.

It trusts the keys it is given for each origin, keeps the latest checkpoint of each, and cosigns a next
one only with a proof that it contains that. Between check and update it awaits nothing, so that two
requests cannot race. It forgets everything when it stops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from caio.audit.checkpoint import Checkpoint
from caio.audit.merkle import verify_consistency
from caio.audit.notes import VerifierKey
from caio.audit.signing import SigningKey
from caio.audit.witnessing import AddCheckpoint, cosign, read_add_checkpoint, witness_key
from caio.foundation.errors import InvalidInput

SIZE_TYPE = "text/x.tlog.size"


class WitnessServer:
    """``logs`` are the raw public keys it trusts by origin, each under any id; ``clock`` gives seconds."""

    def __init__(
        self, name: str, key: SigningKey, logs: Mapping[str, Mapping[str, bytes]], clock: Callable[[], int]
    ) -> None:
        self._name = name
        self._signing_key = key
        self._logs = logs
        self._clock = clock
        self.latest: dict[str, Checkpoint] = {}
        self.asked = 0
        self.url = ""
        self.key: VerifierKey = witness_key(name, key.public_key)

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.asked += 1
        try:
            wanted, signed = read_add_checkpoint(raw)
        except InvalidInput as error:
            return web.Response(status=400, text=error.message)
        if signed.checkpoint.origin not in self._logs:
            return web.Response(status=404, text="unknown origin")
        if signed.signed_by(self._logs[signed.checkpoint.origin]) is None:
            return web.Response(status=403, text="no trusted signature")
        refusal = self._refusal(wanted, signed.checkpoint)
        if refusal is not None:
            return refusal
        self.latest[signed.checkpoint.origin] = signed.checkpoint
        return web.Response(text=cosign(signed, self._name, self._signing_key, self._clock()))

    def _refusal(self, wanted: AddCheckpoint, new: Checkpoint) -> web.Response | None:
        """Why this checkpoint is not the next one, or None."""
        old = self.latest.get(new.origin)
        size = old.size if old else 0
        if wanted.old_size > new.size:
            return web.Response(status=400, text="the old size is above the new one")
        if wanted.old_size != size:
            return web.Response(status=409, text=f"{size}\n", content_type=SIZE_TYPE)
        if old is None or old.size == 0:
            return None
        if old.size == new.size and old.root != new.root:
            return web.Response(status=409, text=f"{size}\n", content_type=SIZE_TYPE)
        if not verify_consistency(old.size, old.root, new.size, new.root, wanted.proof):
            return web.Response(status=422, text="the proof does not lead here")
        return None


@asynccontextmanager
async def witness_server(
    key: SigningKey,
    logs: Mapping[str, Mapping[str, bytes]],
    *,
    name: str = "witness.example/w1",
    clock: Callable[[], int] = lambda: 1_790_000_000,
) -> AsyncIterator[WitnessServer]:
    """A running witness at a free port; its submission prefix is ``url``."""
    witness = WitnessServer(name, key, logs, clock)
    application = web.Application(client_max_size=2 << 20)
    application.router.add_post("/prefix/add-checkpoint", witness.add_checkpoint)
    runner = web.AppRunner(application, shutdown_timeout=0.2, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        witness.url = f"http://127.0.0.1:{runner.addresses[0][1]}/prefix"
        yield witness
    finally:
        await runner.cleanup()
