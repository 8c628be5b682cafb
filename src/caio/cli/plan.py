"""``caio plan``: a plan over several stages from files alone, exact and offline, as ``caio decide`` decides one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caio.cli import exits, output
from caio.cli.decide import distinct, history_of, named_rules, offer_in, rules_in
from caio.cli.files import about, read_file, write_json
from caio.cli.parameters import File, Json
from caio.cli.requests import request_body, score
from caio.foundation.errors import InvalidInput
from caio.foundation.quantity import decimal_text
from caio.foundation.scope import DEFAULT_TENANT

if TYPE_CHECKING:
    from caio.routing.plans import PlanDecision

_SUFFIXES = (".yaml", ".yml", ".json")


def plan(
    file: File,
    contracts: Annotated[Path, typer.Option("--contracts", metavar="DIR", help="A folder of services' contracts.")],
    policy: Annotated[list[str] | None, typer.Option("--policy", metavar="FILE", help="May be repeated.")] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="FILE", help='Observations: {"service": [calls, successes, p95_ms]}.'),
    ] = None,
    currency: Annotated[str, typer.Option(help="What prices are compared in.")] = "USD",
    certificate_out: Annotated[
        Path | None, typer.Option("--certificate-out", metavar="FILE", help="Write the plan's certificate and hash.")
    ] = None,
    evidence_out: Annotated[
        Path | None, typer.Option("--evidence-out", metavar="FILE", help="Write what the plan was made from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Plan offline: one service for each stage, and what they promise end to end; or say what is missing."""
    from caio.gateway.plan_intake import read_plan
    from caio.routing import engine
    from caio.routing.model import InconsistentInputs
    from caio.routing.plans import plan as make_plan
    from caio.routing.plans.milp import guided, solver_is_installed
    from caio.tenancy.authentication import embedded_caller
    from caio.tenancy.ports import Quotas, Tenant, TenantStatus

    raw = read_file(file)
    with about(file, raw):
        request, references = read_plan(request_body(raw, []), tenant_id=DEFAULT_TENANT, currency=currency)
    offers = [offer_in(str(path)) for path in sorted(contracts.glob("*")) if path.suffix in _SUFFIXES]
    if not offers:
        raise InvalidInput(f"{contracts} holds no contract: no file ends in .yaml, .yml or .json", code="no_contracts")
    rules = rules_in(policy or [])
    named = named_rules(file, references, rules)
    attached = [rule for rule in rules.values() if rule.policy.document["attach"] == "tenant"]
    tenant = Tenant(DEFAULT_TENANT, "Default tenant", TenantStatus.ACTIVE, currency, Quotas(), 0)
    principal, observed = embedded_caller(tenant).principal, history_of(history)
    solver = guided if solver_is_installed() else None
    try:
        snapshot = engine.compile_snapshot(DEFAULT_TENANT, offers, attached)
        with output.waiting("searching for the best plan"):
            made = make_plan(snapshot, request, principal, observed, named, solver)
    except InconsistentInputs as error:
        raise InvalidInput(str(error), code="inconsistent_inputs") from error
    shown = {"plan_hash": made.plan_hash, "certificate": dict(made.certificate)}
    if certificate_out is not None:
        write_json(certificate_out, shown)
    if evidence_out is not None:
        evidence = {
            "plan": request.document(),
            "principal": principal.document(),
            "services": [{"tenant": DEFAULT_TENANT, "contract": dict(offer.document)} for offer in snapshot.offers],
            "policies": [dict(rule.policy.document) for rule in distinct([*attached, *named])],
            "history": observed.document(),
        }
        write_json(evidence_out, evidence)
    if as_json:
        output.print_json({**shown, "refusal": made.refusal() or None})
    else:
        _show(made)
        if certificate_out is not None and evidence_out is not None:
            output.next_step(f"caio verify {certificate_out} --evidence {evidence_out}")
    if made.is_refused:
        raise typer.Exit(exits.ExitCode.REFUSED)


def picture(stages: list[tuple[str, list[str]]]) -> Iterator[str]:
    """The stages as waves: what is on one line may run at once, after everything on the lines above it that
    it names."""
    depth: dict[str, int] = {}
    for name, after in stages:
        depth[name] = 1 + max((depth[other] for other in after), default=-1)
    for level in range(max(depth.values()) + 1):
        wave = [
            name + (f" (after {', '.join(after)})" if after else "") for name, after in stages if depth[name] == level
        ]
        yield ("  " if level == 0 else "  " + "   " * (level - 1) + "└─ ") + " | ".join(wave)


def _show(made: PlanDecision) -> None:
    from caio.routing.plans.planner import grouped

    request = made.request
    for line in picture([(stage.name, sorted(stage.after)) for stage in request.stages]):
        output.say(line)
    output.say()
    if made.is_refused:
        output.say(f"refused: {made.refusal()}")
        if made.refused_stage is not None:
            place = [stage.name for stage in request.stages].index(made.refused_stage)
            output.say()
            output.reasons([each.reason() for each in made.decisions[place].exclusions], to_stderr=False)
    else:
        rows: list[tuple[Any, ...]] = [
            (
                each.stage,
                f"{each.chosen.offer.service_id}@{each.chosen.offer.version}",
                f"{each.rank + 1} of {len(decision.ranked)}",
                score(each.chosen.score),
                decimal_text(each.chosen.worst_cost),
            )
            for each, decision in zip(made.choices, made.decisions, strict=True)
        ]
        output.table(["stage", "service", "rank", "score", "at most"], rows, right=["rank", "score", "at most"])
        output.say()
        needs = dict(request.bounds)
        if request.max_cost is not None:
            needs["cost.max"] = min(request.max_cost, needs.get("cost.max", request.max_cost))
        ends = [
            (bound, _needed(bound, needs.get(bound), grouped), grouped(value))
            for bound, value in sorted(made.guarantees.items())
        ]
        output.table(["end to end", "needs", "promises"], ends, right=["needs", "promises"])
    output.say()
    output.facts({"hash": made.plan_hash})


def _needed(bound: str, required: int | None, grouped: Any) -> str:
    if required is None:
        return ""
    return f"{'>=' if bound.endswith('.min') else '<='} {grouped(required)}"
