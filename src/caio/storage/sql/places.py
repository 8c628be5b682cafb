"""Where a tenant's rows are: in the shared tables, in a schema of its own, or in a database of its own.

Theory of operation
-------------------
Every place holds the same tables, made by the same migrations, under the same row-level security; it
differs only in the database that is connected to and in the search path that names are looked up by.
So no store knows the tier of the tenant that it reads for.

Four tables say who there is: tenants, API keys, members, invitations. They are the *directory*, and
there is one, in the platform's own schema, for it is asked before anybody knows the tenant. A place of
its own has them too: of ``tenants`` it holds a copy of its tenant's row, which foreign keys refer to, and
nothing reads anything else of it. In a schema beside the platform's they stand under other names, so
that the search path finds the platform's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from caio.foundation.errors import Misconfigured
from caio.tenancy.ports import Tier

#: The tables of which there is one set for all places.
DIRECTORY = ("tenants", "api_keys", "members", "invitations")

#: What the directory's tables are called in a tenant's schema.
UNSEEN = "unseen_"

_LONGEST_NAME = 63  # of an identifier in PostgreSQL, in bytes


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """``database`` is a silo's name, or empty for the platform's own; ``schema`` is the tenant's, or empty
    for the one that the database's login uses. Places are ordered, and locks are taken in that order."""

    database: str = ""
    schema: str = ""


PLATFORM = Place()


def schema_of(tenant_id: str) -> str:
    """The name of a tenant's own schema; a long id's end is replaced by a digest of the whole."""
    name = f"tenant_{tenant_id}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:40]}_{hashlib.sha256(tenant_id.encode()).hexdigest()[:22]}"


def place_of(tier: str, place: str) -> Place:
    """The place that a tenant's row names. Raises Misconfigured for a tier that this version does not know."""
    if tier == Tier.POOL:
        return PLATFORM
    if tier == Tier.BRIDGE:
        return Place(schema=place)
    if tier == Tier.SILO:
        return Place(database=place)
    raise Misconfigured(f"A tenant has the unknown tier {tier!r}; was it written by a newer version?")
