"""What a process remembers of tenants, and how it is told to forget one.

A change of a tenant is effective elsewhere when caches expire (two seconds), here at once. A deleted
tenant is forgotten outside of the process too, where something is kept of it: ``everywhere``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Whom to tell, each with the tenant's id. Filled while the parts are wired."""

    here: list[Callable[[str], None]] = field(default_factory=list)
    everywhere: list[Callable[[str], Awaitable[None]]] = field(default_factory=list)

    def forget(self, tenant_id: str) -> None:
        """Drop what this process remembers; the next use reads it again."""
        for drop in self.here:
            drop(tenant_id)

    async def erase(self, tenant_id: str) -> None:
        """Drop what is kept of a deleted tenant, in this process and in what processes share. Can be repeated."""
        self.forget(tenant_id)
        for drop in self.everywhere:
            await drop(tenant_id)
