"""A tenant's own rows for its export: table by table, column by column of a list that holds no secret.

A column that is not listed is not exported: no hash of a token, nothing sealed, no prefix of a secret.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, literal, select, tuple_

from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.tables import holds, publications, retention
from caio.storage.sql.tables_calls import model_aliases, workflow_events, workflow_runs, workflow_steps
from caio.storage.sql.tables_tenancy import api_keys, invitations, members, service_limits, usage, webhooks

#: Rows read at once.
PAGE = 500

_KINDS: dict[str, tuple[Table, str]] = {
    "members": (members, "member_id issuer subject name email roles trust_level limits joined_at removed_at"),
    "invitations": (
        invitations,
        "invitation_id email roles trust_level created_at created_by expires_at accepted_at accepted_by revoked_at",
    ),
    "keys": (
        api_keys,
        "key_id name roles trust_level policies limits created_at created_by expires_at revoked_at successor_id",
    ),
    "contract": (publications, "name version digest document tags shared published_at"),
    "policy": (publications, "name version digest document tags shared published_at"),
    "service_limits": (service_limits, "service_id limits updated_at"),
    "aliases": (model_aliases, "alias document revision created_at updated_at"),
    "usage": (
        usage,
        "day principal_id service_id capability calls failed input_tokens output_tokens compute_ms cost breaches",
    ),
    "holds": (
        holds,
        "hold_id reason service_id principal_id since until placed_at placed_by released_at released_by",
    ),
    "retention": (retention, "days erased_before"),
    "webhooks": (webhooks, "webhook_id url types created_at created_by disabled_at"),
    "workflow_runs": (
        workflow_runs,
        "run_id principal_id status code plan_hash most_cost created_at updated_at deadline_at",
    ),
    "workflow_steps": (
        workflow_steps,
        "run_id step status code decision_id service_id charged started_at finished_at",
    ),
    "workflow_events": (workflow_events, "run_id seq at kind document"),
}
_JSON = frozenset({"roles", "limits", "policies", "document", "tags", "types"})
_DIRECTORY = frozenset({members, invitations, api_keys})


class SqlTenantRows:
    """The ``TenantRows`` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pages(self, scope: TenantScope, kind: str) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        table, stated = _KINDS[kind]
        names = stated.split()
        key = [column for column in table.primary_key.columns if column.name != "tenant_id"]
        columns = {column.name: column for column in (*key, *(table.c[name] for name in names))}
        query = select(*columns.values())
        query = query.where(table.c.tenant_id == scope.tenant_id).order_by(*key).limit(PAGE)
        if table is publications:
            query = query.where(table.c.sort == kind)
        reading = self._database.reading_directory if table in _DIRECTORY else self._database.reading
        after: tuple[Any, ...] | None = None
        while True:
            beyond = query if after is None or not key else query.where(tuple_(*key) > tuple_(*map(literal, after)))
            async with reading(scope) as connection:
                rows = (await connection.execute(beyond)).mappings().all()
            yield [{name: _value(name, row[name]) for name in names} for row in rows]
            if len(rows) < PAGE:
                return
            after = tuple(rows[-1][column.name] for column in key)


def _value(name: str, value: Any) -> Any:
    return msgspec.json.decode(value) if name in _JSON else value
