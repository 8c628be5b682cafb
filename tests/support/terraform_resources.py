"""The resources of a plan or of a state, as `terraform show -json` tells them, whatever module they are in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resource:
    """One resource with its values; in a plan, what is known only after the apply is absent or null."""

    address: str
    type: str
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or the default where it is absent or null."""
        value = self.values.get(name)
        return default if value is None else value

    def block(self, name: str) -> Mapping[str, Any]:
        """The only block of this name; empty where there is none."""
        blocks: list[Mapping[str, Any]] = self.values.get(name) or []
        return dict(blocks[0]) if blocks else {}

    def document(self, name: str) -> Any:
        """A value that is JSON, read."""
        return json.loads(self.values[name])


@dataclass(frozen=True)
class Resources:
    """Everything that a document holds, data sources aside."""

    all: tuple[Resource, ...]
    outputs: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Resources:
        """Of a plan's or a state's document."""
        values = document["planned_values"] if "planned_values" in document else document["values"]
        return cls(tuple(_resources(values["root_module"])), values.get("outputs", {}))

    def of_type(self, *types: str) -> list[Resource]:
        return [each for each in self.all if each.type in types]

    def one(self, kind: str, **values: Any) -> Resource:
        """The only resource of a type with these values; raises AssertionError where there is none or another."""
        found = [each for each in self.of_type(kind) if all(each.get(name) == value for name, value in values.items())]
        assert len(found) == 1, f"{len(found)} of {kind} with {values}: {[each.address for each in found]}"
        return found[0]


def _resources(module: Mapping[str, Any]) -> Iterator[Resource]:
    for each in module.get("resources", []):
        if each["mode"] == "managed":
            yield Resource(each["address"], each["type"], each.get("values", {}))
    for child in module.get("child_modules", []):
        yield from _resources(child)
