"""What the tables share: the metadata, and the conventions that a column is made by (see ``tables``)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData, Text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: Text that orders and compares byte by byte.
Identifier = Text().with_variant(Text(collation="C"), "postgresql")

OF_A_TENANT = {"tenancy": "tenant"}


def column(name: str, kind: Any, *, key: bool = False, optional: bool = False) -> Column[Any]:
    return Column(name, kind, primary_key=key, nullable=optional, autoincrement=False)


def tenant_column() -> Column[Any]:
    return Column("tenant_id", Identifier, ForeignKey("tenants.tenant_id"), primary_key=True, nullable=False)
