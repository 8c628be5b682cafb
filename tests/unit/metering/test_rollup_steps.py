"""How much of the journal a step of the roll-up's loop takes in, and when it wants another at once."""

from typing import Any

from caio.metering.rollup import UsageRollup
from caio.tenancy.authentication import embedded_scope


class Store:
    def __init__(self, **waiting: int) -> None:
        self.left = waiting

    async def waiting(self):
        return [tenant for tenant, left in self.left.items() if left]

    async def take_in(self, scope, most):
        taken = min(most, self.left[scope.tenant_id])
        self.left[scope.tenant_id] -= taken
        return taken


def rollup_of(store: Any) -> UsageRollup:
    return UsageRollup(store, embedded_scope, batch=10, batches=2)


async def test_steady_traffic_is_taken_in_once_a_period():
    store = Store(acme=19, other=3)
    assert await rollup_of(store).work_off() == 0  # a pause follows
    assert store.left == {"acme": 0, "other": 0}


async def test_a_backlog_is_worked_off_without_a_pause():
    store = Store(acme=45, other=3)
    rollup = rollup_of(store)
    assert [await rollup.work_off() for _ in range(3)] == [20, 20, 0]
    assert store.left == {"acme": 0, "other": 0}
