"""The examples that the demonstration runs, and what their contracts promise.

In a checkout they lie beside the sources, in an installed wheel inside the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import caio
from caio.contracts import parse_contract
from caio.foundation.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Promise:
    """A contract's canonical document, read for what the demonstration compares."""

    document: Mapping[str, Any]

    @property
    def service(self) -> str:
        return str(self.document["service_id"])

    @property
    def capabilities(self) -> tuple[str, ...]:
        return tuple(item["type"] for item in self.document["capabilities"])

    @property
    def accuracy(self) -> Decimal | None:
        return self._bound("accuracy", "min")

    @property
    def p95(self) -> Decimal | None:
        return self._bound("latency_ms", "p95")

    @property
    def per_request(self) -> Decimal:
        return Decimal(self.document["cost"].get("per_request", "0"))

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions it is confined to; empty for a locality of another kind."""
        stated = self.document["privacy"]["data_locality"]
        return () if isinstance(stated, str) else tuple(stated)

    @property
    def locality(self) -> str:
        """``on_device``, ``private``, ``cloud``, or the regions, for people."""
        return "region " + ", ".join(self.regions) if self.regions else self.document["privacy"]["data_locality"]

    @property
    def stays_inside(self) -> bool:
        return self.locality in ("on_device", "private")

    def output_schema(self, capability: str) -> Mapping[str, Any]:
        """The schema that its answers for ``capability`` must fit; ``{}`` fits anything."""
        endpoints = self.document["api"]["endpoints"]
        serving = [each for each in endpoints if each.get("capability", capability) == capability]
        found: Mapping[str, Any] = serving[0].get("output_schema", {}) if serving else {}
        return found

    def at(self, url: str) -> dict[str, Any]:
        """The contract with its base URL moved to where the service really listens."""
        api = self.document["api"]
        moved = urlsplit(url)._replace(path=urlsplit(api["base_url"]).path)
        return {**self.document, "api": {**api, "base_url": urlunsplit(moved)}}

    def _bound(self, guarantee: str, statistic: str) -> Decimal | None:
        stated = self.document["guarantees"].get(guarantee, {}).get(statistic)
        return None if stated is None else Decimal(stated)


class Examples:
    """The files of ``examples/``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        found = [
            Promise(parse_contract(path.read_bytes()).value.document()) for path in self._files("contracts/*.yaml")
        ]
        self.promises = {promise.service: promise for promise in found}

    @classmethod
    def find(cls) -> Examples:
        """Raises Misconfigured where they are not installed."""
        package = Path(caio.__file__).parent
        for root in (package / "examples", package.parents[1] / "examples"):
            if (root / "services" / "server.py").is_file():
                return cls(root)
        raise Misconfigured("the examples are not installed with this package; run the demo from a checkout")

    def script(self, service: str) -> Path:
        return self.root / "services" / f"{service.replace('-', '_')}.py"

    def policies(self) -> list[bytes]:
        return [path.read_bytes() for path in self._files("policies/*.yaml")]

    def request(self, name: str) -> dict[str, Any]:
        """The body of ``requests/<name>.json``, as ``/api/v1/orchestrate`` takes it."""
        body: dict[str, Any] = json.loads((self.root / "requests" / f"{name}.json").read_bytes())
        return body

    def offering(self, capability: str) -> list[Promise]:
        return [promise for promise in self.promises.values() if capability in promise.capabilities]

    def _files(self, pattern: str) -> list[Path]:
        return sorted(self.root.glob(pattern))
