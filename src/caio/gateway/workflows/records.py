"""What a run keeps sealed with its tenant's key: what was asked for, what each step answered, the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from caio.audit.sealing import Sealer, TenantVault, sealing_context
from caio.foundation.errors import CaioError, InvalidInput
from caio.foundation.scope import TenantScope
from caio.gateway.workflows.definition import Workflow, read_workflow
from caio.gateway.workflows.ports import Run, StepRun, StepStatus
from caio.gateway.workflows.shares import Share

_ASKED, _ANSWERED, _RESULT = "workflow-run", "workflow-step", "workflow-result"


@dataclass(frozen=True, slots=True)
class Opened:
    """What was asked for, read again, and each step's share."""

    workflow: Workflow
    shares: tuple[Share, ...]


class Records:
    """Seals and opens them. Methods raise as ``TenantVault.sealer`` does, and SealBroken for what was changed."""

    def __init__(self, vault: TenantVault) -> None:
        self._vault = vault

    async def asked(
        self, scope: TenantScope, run_id: str, source: bytes, currency: str, shares: tuple[Share, ...]
    ) -> bytes:
        body = {
            "body": msgspec.Raw(source),
            "currency": currency,
            "shares": [[each.max_cost, each.bounds] for each in shares],
        }
        return (await self._sealer(scope)).seal(msgspec.json.encode(body), _place(scope, _ASKED, run_id))

    async def opened(self, scope: TenantScope, run: Run) -> Opened:
        plain = (await self._sealer(scope)).open(run.sealed, _place(scope, _ASKED, run.run_id))
        fields = msgspec.json.decode(plain)
        workflow = read_workflow(fields["body"], tenant_id=scope.tenant_id, currency=fields["currency"])
        shares = (Share(cost, tuple((name, value) for name, value in bounds)) for cost, bounds in fields["shares"])
        return Opened(workflow, tuple(shares))

    async def answered(self, scope: TenantScope, run_id: str, step: str, answer: Any) -> bytes:
        plain = msgspec.json.encode(answer)
        return (await self._sealer(scope)).seal(plain, _place(scope, _ANSWERED, f"{run_id}/{step}"))

    async def answer(self, scope: TenantScope, run_id: str, step: StepRun) -> Any:
        """What a finished step answered or, of a failed one, ``{"code", "message"}``; None while there is nothing."""
        if step.sealed is None:
            return None
        return await self._open(scope, step.sealed, _place(scope, _ANSWERED, f"{run_id}/{step.step}"))

    async def outputs(self, scope: TenantScope, run_id: str, steps: Mapping[str, StepRun]) -> dict[str, Any]:
        """The answers of those that succeeded."""
        return {
            name: await self.answer(scope, run_id, step)
            for name, step in steps.items()
            if step.status is StepStatus.SUCCEEDED
        }

    async def resulted(self, scope: TenantScope, run_id: str, result: Any) -> bytes:
        return (await self._sealer(scope)).seal(msgspec.json.encode(result), _place(scope, _RESULT, run_id))

    async def result(self, scope: TenantScope, run: Run) -> Any:
        """A run's result or, of a failed one, ``{"code", "message"}``; None while there is none."""
        if run.sealed_result is None:
            return None
        return await self._open(scope, run.sealed_result, _place(scope, _RESULT, run.run_id))

    async def _open(self, scope: TenantScope, sealed: bytes, place: bytes) -> Any:
        return msgspec.json.decode((await self._sealer(scope)).open(sealed, place))

    async def _sealer(self, scope: TenantScope) -> Sealer:
        return await self._vault.sealer(scope)


def fault(error: CaioError) -> dict[str, Any]:
    """What is kept of an error: its code, its message, and where in the workflow it arose."""
    found: dict[str, Any] = {"code": error.code, "message": error.message}
    if isinstance(error, InvalidInput) and error.violations:
        found["errors"] = [{"pointer": each.pointer, "message": each.message} for each in error.violations]
    return found


def _place(scope: TenantScope, kind: str, subject: str) -> bytes:
    return sealing_context(scope.tenant_id, kind, subject)
