"""What every folder of Terraform sources must be, as functions that answer with the mistakes they found.

A rule takes sources and returns sentences, none when all is well; so the same function judges the project and the small
broken examples that show the rule able to fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.terraform_sources import Sources, parse, texts, wiring_mistakes

LINES = 300
# 1.11 is the first with write-only arguments; a module without them takes earlier ones as well.
TERRAFORM_VERSIONS = (">= 1.9, < 2.0", ">= 1.11, < 2.0")
PROVIDER_VERSIONS = ">= 5.100, < 7.0"
FORBIDDEN_PROVIDERS = ("random", "tls", "archive", "null", "local", "external")
SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|secret|token|private_key|secret_key|access_key|api_key|credential)$"
)
PLACES = re.compile(r"(?:_arns?|_id|_ids|_name|_names|_endpoint|_days|_enabled)$")  # where a secret is, not what it is
KEY_SHAPES = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|gh[pousr]_[A-Za-z0-9]{36}"
)

Rule = Callable[[Sources], list[str]]


def untyped_variables(sources: Sources) -> list[str]:
    """Variables without a type or without a description of at least three words."""
    found = []
    for block in sources.all("variable"):
        if "type" not in block.body:
            found.append(f"{block.address} has no type")
        if len(str(block.body.get("description", "")).split()) < 3:
            found.append(f"{block.address} is not described")
    return found


def undescribed_outputs(sources: Sources) -> list[str]:
    """Outputs whose meaning is not told."""
    return [f"{block.address} is not described" for block in sources.all("output") if not block.body.get("description")]


def unpinned_versions(sources: Sources) -> list[str]:
    """Versions of terraform and of the provider other than the project's, or modules from elsewhere."""
    found = []
    settings = [block for block in sources.all("terraform") if "required_version" in block.body]
    if len(settings) != 1 or settings[0].body["required_version"] not in TERRAFORM_VERSIONS:
        found.append(f"required_version is not one of {TERRAFORM_VERSIONS}, said once")
    providers: dict[str, Any] = {}
    for block in sources.all("terraform"):
        for each in block.body.get("required_providers", []):
            providers |= each
    for name, each in providers.items():
        if each.get("source") != "hashicorp/aws":
            found.append(f"provider {name} is {each.get('source')}: only hashicorp/aws is used")
        elif each.get("version") != PROVIDER_VERSIONS:
            found.append(f"provider {name} is not held to {PROVIDER_VERSIONS!r}")
    found += [
        f"{block.address} comes from {block.body['source']}: modules are local"
        for block in sources.all("module")
        if not str(block.body["source"]).startswith(("./", "../"))
    ]
    return found


def foreign_providers(sources: Sources) -> list[str]:
    """Resources of providers that are neither AWS nor terraform's own."""
    blocks = sources.all("resource") + sources.all("data")
    return [f"{block.address} needs another provider" for block in blocks if not _own(block.labels[0])]


def _own(kind: str) -> bool:
    return kind.startswith("aws_") or kind == "terraform_data"


def long_files(sources: Sources) -> list[str]:
    """Files that no longer fit a reader's head."""
    counts = {file: len(text.splitlines()) for file, text in sources.texts.items()}
    return [f"{file} has {count} lines, over {LINES}" for file, count in counts.items() if count > LINES]


def credentials(sources: Sources) -> list[str]:
    """Secrets in defaults, in the code, or told by outputs that are not marked as sensitive."""
    found = [f"{file} holds a key" for file, text in sources.texts.items() if KEY_SHAPES.search(text)]
    for block in sources.all("variable"):
        if _is_secret(block.labels[0]):
            if "default" in block.body and block.body["default"] is not None:
                found.append(f"{block.address} has a default: a secret has none")
            if block.body.get("sensitive") is not True:
                found.append(f"{block.address} is not sensitive")
    found += [
        f"{block.address} is not sensitive"
        for block in sources.all("output")
        if _is_secret(block.labels[0]) and block.body.get("sensitive") is not True
    ]
    for block in sources.all("provider"):
        found += [
            f"{block.address} holds {each}" for each in ("access_key", "secret_key", "token") if each in block.body
        ]
    return found


def _is_secret(name: str) -> bool:
    return bool(SECRET_NAME.search(name)) and not PLACES.search(name)


def mutable_images(sources: Sources) -> list[str]:
    """Container images by a tag that may move."""
    return [
        f"{block.address} {path} is {value!r}"
        for block in sources.blocks
        for path, value in texts(block.body)
        if re.search(r":latest\b", value) and "validation" not in path  # which has to write what it forbids
    ]


def unread_validations(sources: Sources) -> list[str]:
    """Validations that do not look at their own variable, or do not say what to do in a sentence."""
    found = []
    for block in sources.all("variable"):
        for each in block.body.get("validation", []):
            if f"var.{block.labels[0]}" not in str(each.get("condition")):
                found.append(f"{block.address} validates something else")
            if len(str(each.get("error_message", "")).split()) < 3:
                found.append(f"{block.address} refuses without saying why")
    return found


EVERYWHERE: tuple[Rule, ...] = (
    untyped_variables,
    undescribed_outputs,
    unpinned_versions,
    foreign_providers,
    long_files,
    credentials,
    mutable_images,
    unread_validations,
    wiring_mistakes,
)


def state_keys(sources_of: Mapping[str, Sources]) -> list[str]:
    """Environments whose state would be written over another's, or whose backend has no lock or encryption."""
    found: list[str] = []
    seen: dict[str, str] = {}
    for environment, sources in sources_of.items():
        backends = [each for block in sources.all("terraform") for each in block.body.get("backend", [])]
        if len(backends) != 1 or "s3" not in backends[0]:
            found.append(f"{environment} has no backend s3")
            continue
        settings = backends[0]["s3"]
        key = settings.get("key")
        if key != f"caio-saas/{environment}/terraform.tfstate":
            found.append(f"{environment} keeps its state under {key}")
        if key in seen:
            found.append(f"{environment} shares its state with {seen[key]}")
        seen[key] = environment
        if not (settings.get("use_lockfile") is True or "dynamodb_table" in settings):
            found.append(f"{environment} does not lock its state")
        if settings.get("encrypt") is not True:
            found.append(f"{environment} does not encrypt its state")
    return found


def example_values(sources: Sources, example: str) -> list[str]:
    """What is wrong with a terraform.tfvars.example: unknown names, or required variables that it leaves out."""
    (values,) = parse(f"locals {{\n{example}\n}}", "terraform.tfvars.example")
    required = {block.labels[0] for block in sources.all("variable") if "default" not in block.body}
    found = [f"{name} is given and not declared" for name in sorted(set(values.body) - sources.declared("variable"))]
    found += [f"{name} is required and not given" for name in sorted(required - set(values.body))]
    return found
