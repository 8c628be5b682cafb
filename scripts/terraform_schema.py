"""Write the subset of the AWS provider's schema that the checks without terraform compare the sources with.

    python -m scripts.terraform_schema

For each type of resource and data source that `infrastructure/aws/terraform` uses: the names of its arguments, which of
them are required, and its nested blocks. It is read from the provider itself (`terraform providers schema -json`), so a
machine with terraform and the provider is needed; tests/infra/test_terraform_schema.py says when to run it again.
The names are those of hashicorp/aws, which is licensed under the MPL-2.0; the file says so.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.infra_tools import ROOT, TERRAFORM, terraform
from tests.support.terraform_sources import Sources

SUBSET = ROOT / "infrastructure" / "tools" / "terraform-aws-schema.json.gz"
ASKING = """\
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
"""


def types_used() -> dict[str, set[str]]:
    """The types of resources and data sources of every folder of sources."""
    used: dict[str, set[str]] = {"resource": set(), "data": set(), "ephemeral": set()}
    for folder in {path.parent for path in TERRAFORM.rglob("*.tf") if ".terraform" not in path.parts}:
        for block in Sources.read(folder).blocks:
            if block.kind in used and block.labels[0].startswith("aws_"):
                used[block.kind].add(block.labels[0])
    return used


def names(block: dict[str, Any]) -> dict[str, Any]:
    """What a block takes and tells: arguments required and optional, attributes computed, and nested blocks."""
    arguments = block.get("attributes", {})
    return {
        "required": sorted(name for name, each in arguments.items() if each.get("required")),
        "optional": sorted(name for name, each in arguments.items() if each.get("optional")),
        "computed": sorted(name for name, each in arguments.items() if each.get("computed")),
        "blocks": {
            name: names(each["block"]) | {"least": each.get("min_items", 0)}
            for name, each in sorted(block.get("block_types", {}).items())
        },
    }


def provider_schema() -> tuple[str, dict[str, Any]]:
    """The provider's version and whole schema."""
    here = terraform()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "main.tf").write_text(ASKING)
        here.run(folder, "init", "-no-color", "-input=false")
        schema = here.document(folder, "providers", "schema", "-json")
        version = here.document(folder, "version", "-json")["provider_selections"]
    (provider,) = schema["provider_schemas"]
    return version[provider], schema["provider_schemas"][provider]


def main() -> None:
    version, schema = provider_schema()
    used = types_used()
    kinds = {
        "resource": schema["resource_schemas"],
        "data": schema["data_source_schemas"],
        "ephemeral": schema["ephemeral_resource_schemas"],
    }
    subset: dict[str, Any] = {
        "source": f"hashicorp/aws {version}: terraform providers schema -json, the types in use, names only",
        "licence": "MPL-2.0",
        "version": version,
    }
    for kind, types in used.items():
        unknown = sorted(types - set(kinds[kind]))
        if unknown:
            sys.exit(f"terraform_schema: hashicorp/aws {version} has no {kind} {', '.join(unknown)}")
        subset[kind] = {name: names(kinds[kind][name]["block"]) for name in sorted(types)}
    text = json.dumps(subset, sort_keys=True, separators=(",", ":"))
    SUBSET.write_bytes(gzip.compress(text.encode(), mtime=0))
    sys.stdout.write(f"terraform_schema: {SUBSET.relative_to(ROOT)}, {sum(map(len, used.values()))} types\n")


if __name__ == "__main__":
    main()
