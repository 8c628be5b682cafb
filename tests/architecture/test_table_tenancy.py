"""Every table says whose rows it holds, and a tenant's table is keyed by its tenant."""

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text

from caio.storage.sql.tables import metadata


def faults(table):
    """What a table's declaration leaves out or breaks."""
    if table.info.get("tenancy") == "platform":
        return [] if table.info.get("reason") else ["a platform table gives its reason"]
    if table.info.get("tenancy") != "tenant":
        return ["a table's tenancy is 'tenant' or 'platform'"]
    first = next(iter(table.primary_key.columns), None)
    if first is None or first.name != "tenant_id":
        return ["a tenant table's primary key starts with tenant_id"]
    found = [] if not first.nullable else ["tenant_id is NOT NULL"]
    if "tenants.tenant_id" not in {key.target_fullname for key in first.foreign_keys}:
        found.append("tenant_id refers to tenants")
    return found


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_declares_its_tenancy(table):
    assert faults(table) == []


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_no_reference_leaves_its_tenant(table):
    for constraint in table.foreign_key_constraints:
        pairs = {element.parent.name: element.column.name for element in constraint.elements}
        assert pairs.get("tenant_id") == "tenant_id"


@pytest.mark.parametrize(
    ("columns", "info"),
    [
        ([Column("tenant_id", Text, ForeignKey("tenants.tenant_id"), primary_key=True)], {}),
        ([Column("tenant_id", Text, ForeignKey("tenants.tenant_id"), primary_key=True)], {"tenancy": "platform"}),
        ([Column("tenant_id", Text, primary_key=True)], {"tenancy": "tenant"}),
        ([Column("id", Integer, primary_key=True), Column("tenant_id", Text)], {"tenancy": "tenant"}),
        ([Column("tenant_id", Text, ForeignKey("tenants.tenant_id"))], {"tenancy": "tenant"}),
    ],
)
def test_a_careless_table_is_noticed(columns, info):
    assert faults(Table("careless", MetaData(), *columns, info=info))
