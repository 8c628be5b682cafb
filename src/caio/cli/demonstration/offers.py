"""Providers that this machine could use: offered, never used without a yes, and their keys never shown.

A contract for each lies in ``examples/providers``. Its key goes into CAIO's secrets through the
standard input of ``caio secrets set``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from caio.cli.demonstration.api import Caio, Unexpected
from caio.cli.demonstration.examples import Examples
from caio.contracts import parse_contract

OLLAMA = "http://127.0.0.1:11434"

#: Environment variables that hold keys, and whose they are.
KEYS = {"OPENAI_API_KEY": "openai", "ANTHROPIC_API_KEY": "anthropic"}


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider found here. ``variable`` names its key, if it needs one; ``model`` overrides the contract's."""

    provider: str
    found: str
    contract: Path
    variable: str | None = None
    model: str | None = None

    def commands(self) -> list[str]:
        """How to add it by hand."""
        secret = [f"printenv {self.variable} | caio secrets set {self.provider}"] if self.variable else []
        return [*secret, f"caio services register {self.contract}"]

    async def add(self, caio: Caio, data: Path, environment: Mapping[str, str]) -> None:
        """Store the key and register the contract; raises Unexpected."""
        if self.variable is not None:
            await _keep_secret(self.provider, os.environ[self.variable], data, environment)
        document: dict[str, Any] = parse_contract(self.contract.read_bytes()).value.document()
        if self.model is not None:
            document["api"]["model"] = self.model
        await caio.create("/api/v1/services", document)


async def found_here(examples: Examples) -> list[Offer]:
    """What this machine's environment and ports offer."""
    folder = examples.root / "providers"
    offers = [
        Offer(provider, f"{variable} is set", folder / f"{provider}.yaml", variable)
        for variable, provider in KEYS.items()
        if os.environ.get(variable)
    ]
    models = await _ollama_models()
    if models:
        offers.append(Offer("ollama", f"Ollama answers with {models[0]}", folder / "ollama.yaml", model=models[0]))
    return offers


async def _ollama_models() -> list[str]:
    try:
        async with httpx2.AsyncClient(timeout=0.5, trust_env=False) as http:
            return [str(model["name"]) for model in (await http.get(f"{OLLAMA}/api/tags")).json()["models"]]
    except (httpx2.HTTPError, ValueError, LookupError, TypeError):
        return []  # not there, or something else listens


async def _keep_secret(name: str, value: str, data: Path, environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "caio", "secrets", "set", name, "--data-dir", str(data)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(environment),
    )
    await process.communicate(value.encode())
    if process.returncode != 0:
        raise Unexpected(f"caio secrets set {name} ended with status {process.returncode}")
