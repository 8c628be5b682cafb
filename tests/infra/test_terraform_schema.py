"""Arguments and attributes are those of the real provider: compared with its schema, without terraform.

`infrastructure/tools/terraform-aws-schema.json.gz` holds the names of hashicorp/aws (MPL-2.0) for the types in use.
When a type is not in it yet, `python -m scripts.terraform_schema` writes it again.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.infra_tools import INFRASTRUCTURE, TERRAFORM
from tests.support.terraform_sources import Block, Sources

SUBSET = INFRASTRUCTURE / "tools" / "terraform-aws-schema.json.gz"
SCHEMA: dict[str, Any] = json.loads(gzip.decompress(SUBSET.read_bytes()))
KINDS = ("resource", "data", "ephemeral")
META = {"count", "for_each", "depends_on", "provider", "lifecycle", "timeouts", "connection", "provisioner"}

REFERENCE = re.compile(
    r"(?<![\w.\"-])(?P<data>(?:data|ephemeral)\.)?(?P<type>aws_\w+)\.(?P<name>\w+)(?:\[[^\]]*\])?(?:\.(?P<field>\w+))?"
)


def folders() -> list[Path]:
    found = {path.parent for path in TERRAFORM.rglob("*.tf") if ".terraform" not in path.parts}
    return sorted(found)


def argument_mistakes(body: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> list[str]:
    """Arguments and blocks that the provider does not know, and required ones that are left out."""
    known, blocks = {*schema["required"], *schema["optional"]}, schema["blocks"]
    dynamic = {name: each for entry in body.get("dynamic", []) for name, each in entry.items()}
    given = (set(body) - META - {"dynamic"}) | set(dynamic)
    found = [f"{where} knows no {name}" for name in sorted(given - known - set(blocks))]
    found += [f"{where} lacks {name}" for name in schema["required"] if name not in given]
    found += [f"{where} lacks a block {name}" for name, each in blocks.items() if each["least"] and name not in given]
    for name, each in blocks.items():
        for part in body.get(name, []) if isinstance(body.get(name), list) else []:
            found += argument_mistakes(part, each, f"{where}.{name}")
        for part in dynamic.get(name, {}).get("content", []):
            found += argument_mistakes(part, each, f"{where}.{name}")
    return found


def block_mistakes(block: Block) -> list[str]:
    kind, types = block.labels[0], SCHEMA[block.kind]
    if kind not in types:
        return [f"{block.address}: {kind} is not in the subset: run `python -m scripts.terraform_schema`"]
    return argument_mistakes(block.body, types[kind], block.address)


def attribute_mistakes(sources: Sources) -> list[str]:
    """References to attributes that the provider does not tell, or to resources that are not there."""
    declared = {block.labels for kind in KINDS for block in sources.all(kind)}
    found = set()
    for block in sources.blocks:
        for text in block.code:
            for match in REFERENCE.finditer(text):
                if (match["type"], match["name"]) not in declared:
                    found.add(f"{block.address} refers to {match[0]}, which is not there")
                    continue
                schema = SCHEMA[(match["data"] or "resource.")[:-1]].get(match["type"])
                field = match["field"]
                if schema and field and field not in {*_told(schema), *schema["blocks"]}:
                    found.add(f"{block.address} reads {match[0]}, which {match['type']} does not tell")
    return sorted(found)


def _told(schema: Mapping[str, Any]) -> set[str]:
    return {*schema["required"], *schema["optional"], *schema["computed"]}


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.relative_to(TERRAFORM).as_posix())
def test_names_are_the_providers(folder):
    sources = Sources.read(folder)
    blocks = [
        block for kind in ("resource", "data") for block in sources.all(kind) if block.labels[0].startswith("aws_")
    ]
    assert [mistake for block in blocks for mistake in block_mistakes(block)] == []
    assert attribute_mistakes(sources) == []


def test_the_subset_says_where_it_is_from_and_holds_no_more_than_is_used():
    assert SCHEMA["source"].startswith("hashicorp/aws 5.")
    assert SCHEMA["licence"] == "MPL-2.0"
    used = {
        (block.kind, block.labels[0])
        for folder in folders()
        for block in Sources.read(folder).blocks
        if block.kind in KINDS and block.labels[0].startswith("aws_")
    }
    unused = {(kind, name) for kind in KINDS for name in SCHEMA[kind]} - used
    assert unused == set(), "run `python -m scripts.terraform_schema`"


GOOD = """
resource "aws_vpc" "this" {
  cidr_block = "10.0.0.0/16"
  lifecycle {
    prevent_destroy = true
  }
}
resource "aws_subnet" "private" {
  count      = 2
  vpc_id     = aws_vpc.this.id
  cidr_block = cidrsubnet(aws_vpc.this.cidr_block, 8, count.index)
}
resource "aws_security_group" "this" {
  vpc_id = aws_vpc.this.id
}
"""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('cidr_block = "10.0.0.0/16"', 'cidr = "10.0.0.0/16"'),
        ("  vpc_id     = aws_vpc.this.id\n", ""),
        ("  count      = 2\n", "  tagging {\n  }\n"),
        ("aws_vpc.this.cidr_block", "aws_vpc.this.cidr"),
        ("aws_vpc.this.cidr_block", "aws_vpc.main.cidr_block"),
    ],
)
def test_a_misspelt_name_is_noticed(right, wrong):
    def mistakes(text: str) -> list[str]:
        sources = Sources.of({"main.tf": text})
        found = [each for block in sources.all("resource") for each in block_mistakes(block)]
        return found + attribute_mistakes(sources)

    assert right in GOOD
    assert mistakes(GOOD) == []
    assert mistakes(GOOD.replace(right, wrong)) != []
