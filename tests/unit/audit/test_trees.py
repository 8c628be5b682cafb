"""Growing trees from views of their heads that may be old; the rest of its laws: test_sequencer.py."""

from __future__ import annotations

from dataclasses import replace

from caio.audit.trees import Share, Trees
from tests.support.logs import KEYRING, append, now, origin_of, root


async def test_a_head_that_was_read_too_early_is_no_fault(stores):
    """Between a look and its last step, logs are taken in for those who ask."""
    trees = Trees(stores.log, KEYRING, origin_of, now)

    async def behind():
        return await stores.log.behind_one("acme", "one", now(), now() + 1_000_000)

    async def grow(view, end):
        growth = await trees.grow([Share(view, end)])
        written = await stores.log.advance("one", growth.advances)
        trees.settle(growth, written)
        return written, growth.faults

    await append(stores, "acme", 0, 10)
    assert await grow(await behind(), 5) == ({"acme"}, {})
    for size in (5, 7):
        early = await behind()
        assert early.size == size
        assert await grow(early, size + 2) == ({"acme"}, {})
        assert await grow(early, size + 2) == (set(), {})
    assert await grow(await behind(), 10) == ({"acme"}, {})
    heads = await stores.log.heads("", 10)
    assert [(head.size, head.root) for head in heads] == [(10, root("acme", 10))]

    assert await grow(early, 9) == (set(), {})
    assert await grow(early, 9) == (set(), {})
    _, faults = await grow(replace(early), 9)  # seen by two looks, and nothing grown in between: it was set back
    assert faults["acme"].code == "log_broken"
