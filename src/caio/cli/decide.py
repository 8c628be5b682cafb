"""``caio decide``: a decision from files alone, as the server would make it. Offline and deterministic.

The caller is an administrator of the default tenant, with every permission; nothing is stored and
nobody is called. With ``--evidence-out`` everything the decision depended on is written down.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caio.cli import exits, output
from caio.cli.files import InvalidFile, about, read_file, read_json, write_json
from caio.cli.parameters import Json
from caio.cli.requests import request_body, score
from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.quantity import decimal_text
from caio.foundation.scope import DEFAULT_TENANT

if TYPE_CHECKING:
    from caio.gateway.run import Wanted
    from caio.routing.model import Decision, History, Offer
    from caio.routing.rules import Rule


def decide(
    contract: Annotated[list[str], typer.Option("--contract", metavar="FILE", help="A service; may be repeated.")],
    request: Annotated[str, typer.Option("--request", metavar="FILE", help="As for `caio orchestrate`.")],
    policy: Annotated[list[str] | None, typer.Option("--policy", metavar="FILE", help="May be repeated.")] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="FILE", help='Observations: {"service": [calls, successes, p95_ms]}.'),
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Breaks ties, in place of the request's own seed.")] = None,
    currency: Annotated[str, typer.Option(help="What prices are compared in.")] = "USD",
    evidence_out: Annotated[
        Path | None, typer.Option("--evidence-out", metavar="FILE", help="Write what the decision was made from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Decide offline: rank the services that satisfy a request, or say why none does."""
    from caio.routing import engine
    from caio.routing.model import InconsistentInputs

    offers = [offer_in(path) for path in contract]
    rules = rules_in(policy or [])
    wanted = _wanted(request, seed, currency)
    named = named_rules(request, wanted.policies, rules)
    attached = [rule for rule in rules.values() if rule.policy.document["attach"] == "tenant"]
    observed = history_of(history)
    principal = wanted.caller.principal
    try:
        snapshot = engine.compile_snapshot(DEFAULT_TENANT, offers, attached)
        decision = engine.decide(snapshot, wanted.request, principal, observed, named)
    except InconsistentInputs as error:
        raise InvalidInput(str(error), code="inconsistent_inputs") from error
    if evidence_out is not None:
        evidence = {
            "request": wanted.request.document(),
            "principal": principal.document(),
            "services": [{"tenant": DEFAULT_TENANT, "contract": dict(offer.document)} for offer in snapshot.offers],
            "policies": [dict(rule.policy.document) for rule in distinct([*attached, *named])],
            "history": observed.document(),
        }
        write_json(evidence_out, evidence)
    if as_json:
        output.print_json({"decision_hash": decision.decision_hash, "certificate": dict(decision.certificate)})
    else:
        idle = [name for name, rule in rules.items() if rule not in attached and rule not in named]
        _show(decision, idle, evidence_out)
    if decision.winner is None:
        raise typer.Exit(exits.ExitCode.REFUSED)


def offer_in(path: str) -> Offer:
    """The contract in a file, as the default tenant offers it; raises InvalidFile."""
    from caio.contracts import parse_contract
    from caio.routing.offers import offer_of

    raw = read_file(path)
    with about(path, raw):
        contract = parse_contract(raw).value
    return offer_of(DEFAULT_TENANT, contract.document(), contract.digest)


def _rule(path: str) -> Rule:
    from caio.contracts import parse_policy
    from caio.routing.policies import compile_policy

    raw = read_file(path)
    with about(path, raw):
        parsed = parse_policy(raw)
        return compile_policy(parsed.value.document(), parsed.value.digest, parsed.lines)


def rules_in(paths: list[str]) -> dict[str, Rule]:
    """The policies by id; of each at most one version is in force, as on a server."""
    rules: dict[str, Rule] = {}
    for path in paths:
        rule = _rule(path)
        if rules.setdefault(rule.policy.policy_id, rule) is not rule:
            flaw = Violation("/id", f"{rule.policy.policy_id!r} is the id of another --policy file too")
            raise InvalidFile(path, "two policies have one id", (flaw,), code="invalid_policy")
    return rules


def _wanted(path: str, seed: str | None, currency: str) -> Wanted:
    """The request's file read by the very code that reads it on a server."""
    from caio.api.wanted import from_orchestrate
    from caio.tenancy.authentication import embedded_caller
    from caio.tenancy.ports import Quotas, Tenant, TenantStatus

    tenant = Tenant(DEFAULT_TENANT, "Default tenant", TenantStatus.ACTIVE, currency, Quotas(), 0)
    raw = read_file(path)
    with about(path, raw):
        wanted = from_orchestrate(request_body(raw, []), embedded_caller(tenant))
    return wanted if seed is None else replace(wanted, request=replace(wanted.request, seed=seed))


def named_rules(path: str, references: Sequence[str | Mapping[str, Any]], rules: Mapping[str, Rule]) -> list[Rule]:
    """The rules that the request in the file ``path`` names (by id, or id@version) or brings along."""
    from caio.contracts import parse_policy
    from caio.routing.policies import compile_policy

    by_name = {f"{name}{at}": rule for name, rule in rules.items() for at in ("", f"@{rule.policy.version}")}
    named, violations = [], []
    for index, reference in enumerate(references):
        if not isinstance(reference, str):
            parsed = parse_policy(json.dumps(reference))
            named.append(compile_policy(parsed.value.document(), parsed.value.digest))
        elif reference in by_name:
            named.append(by_name[reference])
        else:
            violations.append(Violation(f"/policies/{index}", f"no --policy file holds {reference!r}"))
    if violations:
        raise InvalidFile(path, "the request names unknown policies", tuple(violations), code="invalid_policy")
    return named


def history_of(path: str | None) -> History:
    """The observations in a file, none without one; raises InvalidFile."""
    from caio.routing.model import History

    if path is None:
        return History()
    document = read_json(path)
    rows = document.items() if isinstance(document, dict) else [("", document)]
    flaws = tuple(
        Violation(f"/{name}", "must be [calls, successes, p95_ms], whole numbers, no more successes than calls")
        for name, row in rows
        if not (
            isinstance(row, list) and len(row) == 3 and all(type(n) is int and n >= 0 for n in row) and row[1] <= row[0]
        )
    )
    if flaws:
        raise InvalidFile(path, f"{path} is not a history", flaws, code="invalid_history")
    return History.from_document(document)


def distinct(rules: list[Rule]) -> list[Rule]:
    return list({rule.policy.policy_hash: rule for rule in rules}.values())


def _show(decision: Decision, idle: list[str], evidence_out: Path | None) -> None:
    winner = decision.winner
    if winner is None:
        output.say("refused: no service satisfies the request")
    else:
        output.say(f"{winner.offer.service_id}@{winner.offer.version} wins")
        output.say()
        rows: list[tuple[Any, ...]] = [
            (each.offer.service_id, each.offer.version, score(each.score), decimal_text(each.worst_cost))
            for each in decision.ranked
        ]
        output.table(["service", "version", "score", "at most"], rows, right=["score", "at most"])
    if decision.exclusions:
        output.say()
        output.reasons([each.reason() for each in decision.exclusions], to_stderr=False)
    output.say()
    output.facts({"seed": decision.certificate["seed"], "hash": decision.decision_hash, "evidence": evidence_out})
    for name in idle:
        output.note(f"note: policy {name} applies only to requests that name it, and this one does not")
