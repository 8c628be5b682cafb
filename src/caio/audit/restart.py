"""Beginning a log anew, under another origin, when its history was lost.

Theory of operation
-------------------
A database that was restored from a backup lacks what came after it, and nothing is signed for a log that
is behind its anchored checkpoints. That must not be passed over, and it must not last for ever either. A
restart leaves the old log as it is, anchored under its origin for good, and begins a new one: the next
*generation* of the origin, ``example.com/2/acme`` after ``example.com/acme``, whose tree is built from the
journal as it is now, from leaf 0. The restart is an act of that journal, with the last checkpoint of before.
Whoever watched the old origin sees that it ends, and nobody is told that nothing happened.

Laws (each has a test of the same name)
---------------------------------------
- a_restarted_log_is_signed_again: with every leaf that the journal holds, the restart's among them.
- generations_are_never_used_twice: not even when the same backup is restored again.
- a_restart_says_what_it_ends: the old origin and its last anchored checkpoint.

Not checked: that a restart was necessary. Whoever watches the log will ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from caio.audit.acts import Act, Acts
from caio.audit.ports import Anchor, Leaf, LogHead
from caio.foundation.scope import TenantScope


class RestartStore(Protocol):
    """What a restart needs of the store of trees."""

    async def head(self, scope: TenantScope) -> LogHead | None: ...

    async def restart(self, scope: TenantScope, origin: str, leaf: Leaf) -> None:
        """Drop the tenant's tree, name its log ``origin`` and append ``leaf``, in one transaction."""
        ...


class LogRestarts:
    """Restarts the logs of one installation. ``origin_of`` gives a tenant's first origin. Without an anchor no
    log is ever found to be behind, and none needs a restart."""

    def __init__(self, store: RestartStore, acts: Acts, anchor: Anchor, origin_of: Callable[[str], str]) -> None:
        self._store = store
        self._acts = acts
        self._anchor = anchor
        self._origin_of = origin_of

    async def restart(self, scope: TenantScope, principal_id: str, reason: str) -> str:
        """Begin the tenant's log anew; return its new origin. Raises NotReady when the anchor does not answer.

        No process may be growing the log meanwhile: its journal's installation has to be stopped.
        """
        head = await self._store.head(scope)
        old = head.origin if head else self._origin_of(scope.tenant_id)
        origin = next_generation(old)
        while await self._anchor.latest(origin) is not None:
            origin = next_generation(origin)
        details: dict[str, Any] = {
            "reason": reason,
            "before": old,
            "checkpoint": head.checkpoint if head else "",
            "anchored": await self._anchor.latest(old) or "",
        }
        leaf = await self._acts.leaf(scope, Act("log.restarted", principal_id, origin, details))
        await self._store.restart(scope, origin, leaf)
        return origin


def next_generation(origin: str) -> str:
    """The origin after this one: ``host/acme``, ``host/2/acme``, ``host/3/acme``."""
    prefix, _, tenant = origin.rpartition("/")
    host, _, last = prefix.rpartition("/")
    if host and last.isascii() and last.isdecimal():
        return f"{host}/{int(last) + 1}/{tenant}"
    return f"{prefix}/2/{tenant}"
