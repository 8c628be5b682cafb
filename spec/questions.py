"""The questions that every service is asked, in their order: the table of clauses.

A question has a clause. Its answer is None where the service passes, and otherwise the *failure*:
clause, subject, required, offered. ``first_failure`` numbers the questions from 1; the number of
the first one that is failed is the service's *verdict*, and 0 when there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil

from spec.words import (
    HOME,
    LOCALITIES,
    TRUST_LEVELS,
    Document,
    address,
    bounds,
    join,
    limit,
    offer,
    offer_text,
    output_limit,
    place,
    service_variables,
    text,
    units,
)

#: ``evaluate(source, variables)``: the value of an expression; None when it fails to evaluate.
Evaluate = Callable[[str, Document], bool | None]
#: A policy, and what its ``when`` says of this request and principal (None: it fails to evaluate).
Rule = tuple[Document, bool | None]
Failure = tuple[str, str, str, str]
Answers = Iterator[Failure | None]

CLAUSES = (
    *("service", "capability", "protocol", "feature", "context_length", "max_tokens", "input_size", "guarantee"),
    *("currency", "cost", "policy_error", "policy", "visibility", "permission", "trust", "locality", "residency"),
    *("sensitivity", "training", "retention", "compliance", "egress"),
)

#: Nano-units: the largest amount that JSON carries exactly.
LARGEST_AMOUNT = 2**53 - 1


def first_failure(answers: Answers) -> tuple[int, Failure | None]:
    """The verdict, and why. Nothing is asked after a failure: it may rest on what failed."""
    return next(((number, failure) for number, failure in enumerate(answers, 1) if failure), (0, None))


def question_count(request: Document, policies: list[Document]) -> int:
    """How many questions a service is asked that fails none of them."""
    of_capabilities = len(request["capabilities"]) * (1 + len(needed_features(request)) + 3)
    return 16 + of_capabilities + len(bounds(request)) + 2 * len(policies) + len(request["compliance"])


def answers(
    service: Document, request: Document, principal: Document, rules: list[Rule], evaluate: Evaluate
) -> Answers:
    yield from match(service["contract"], request)
    yield from obey(service["contract"], rules, evaluate)
    yield from secure(service, request, principal)


def fails(failed: object, clause: str, subject: str, required: str, offered: str) -> Failure | None:
    return (clause, subject, required, offered) if failed else None


# --- match: does the contract offer what the request needs? -------------------------------------


def match(contract: Document, request: Document) -> Answers:
    own = {contract["service_id"], address(contract)}
    named, excluded = request["services"], request["excluded_services"]
    yield fails(named and not own & set(named), "service", "services", join(named), address(contract))
    yield fails(own & set(excluded), "service", "excluded_services", f"not {join(excluded)}", address(contract))

    wanted, offered = request["capabilities"], {each["type"]: each for each in contract["capabilities"]}
    for kind in wanted:
        yield fails(kind not in offered, "capability", kind, kind, join(offered))
    protocols, protocol = request["protocols"], contract["api"]["protocol"]
    yield fails(protocols and protocol not in protocols, "protocol", "protocol", join(protocols), protocol)
    for kind in wanted:
        features = offered[kind]["features"]
        for feature in needed_features(request):
            yield fails(feature not in features, "feature", kind, feature, join(features))
    for kind in wanted:
        yield too_small("context_length", kind, request["context_length"], limit(offered[kind], "context_length"))
    for kind in wanted:
        yield too_small("max_tokens", kind, request["max_tokens"], output_limit(offered[kind]))
    for kind in wanted:
        size, most = request["input_bytes"], limit(offered[kind], "max_input_bytes")
        yield fails(most is not None and most < size, "input_size", kind, str(size), str(most))

    for bound, required in bounds(request).items():
        sign, found = ">=" if bound.endswith(".min") else "<=", offer(contract, bound)
        met = found is not None and (found[1] >= required if sign == ">=" else found[1] <= required)
        yield fails(not met, "guarantee", bound, f"{sign} {text(required)}", offer_text(contract, bound))

    currency = contract["cost"]["currency"]
    foreign = currency != request["currency"] and any(prices(contract))
    yield fails(foreign, "currency", "currency", request["currency"], currency)
    price, cap = worst_price(contract, request), cost_cap(request["max_cost"])
    yield fails(price > cap, "cost", "cost.max", f"<= {text(cap)}", text(price))


def needed_features(request: Document) -> list[str]:
    return sorted({*request["features"], *(["streaming"] if request["stream"] else [])})


def too_small(clause: str, kind: str, needed: int | None, offered: int | None) -> Failure | None:
    """What is not declared satisfies no stated need."""
    failed = needed is not None and (offered is None or offered < needed)
    return fails(failed, clause, kind, str(needed), "undeclared" if offered is None else str(offered))


def prices(contract: Document) -> tuple[int, ...]:
    """Pico-units a request, an input token, an output token, a second."""
    names = ("per_request", "per_input_token", "per_output_token", "per_second")
    return tuple(units(contract["cost"].get(name, "0"), places=12) for name in names)


def worst_price(contract: Document, request: Document) -> int:
    """Nano-units of the dearest call within the limits of both: a token a byte in, the largest answer
    out, for as long as it may take. Summed exactly, rounded up once."""
    tokens_in: int = request["input_bytes"]
    tokens_out: int | None = request["max_tokens"]
    if tokens_out is None:
        limits = [output_limit(each) for each in contract["capabilities"] if each["type"] in request["capabilities"]]
        tokens_out = max((each for each in limits if each is not None), default=0)
    tokens_out *= request.get("answers", 1)
    milliseconds: int = min(contract["api"]["timeout_ms"], request["deadline_ms"])
    per_request, per_input, per_output, per_second = prices(contract)
    picos = per_request + per_input * tokens_in + per_output * tokens_out + Fraction(per_second * milliseconds, 1000)
    return ceil(picos / 1000)


def cost_cap(max_cost: str | None) -> int:
    return LARGEST_AMOUNT if max_cost is None else min(units(max_cost), LARGEST_AMOUNT)


# --- rules: do the policies allow it? -----------------------------------------------------------


def obey(contract: Document, rules: list[Rule], evaluate: Evaluate) -> Answers:
    """An error denies; but a ``prefer`` denies nothing, whatever it says."""
    variables = {"service": service_variables(contract)}
    for policy, holds in rules:
        name, effect = f"{policy['id']}@{policy['version']}", policy["effect"]
        binding = effect != "prefer"
        says = evaluate(policy["then"], variables) if binding and holds else None
        error = holds is None or (holds and says is None)
        denied = holds and says is (effect == "forbid")
        yield fails(binding and error, "policy_error", name, effect, "")
        yield fails(binding and denied, "policy", name, effect, "")


# --- security: may this caller use it, and may the data go there? -------------------------------


def secure(service: Document, request: Document, principal: Document) -> Answers:
    contract = service["contract"]
    access, privacy, locality = contract["access"], contract["privacy"], place(contract)
    own = service["tenant"] == request["tenant_id"]
    yield fails(not own and access["visibility"] != "shared", "visibility", "visibility", "own or shared", "not shared")

    held, any_of = set(principal["permissions"]), access["required_permissions"]["any_of"]
    lacking = sorted(set(access["required_permissions"]["all_of"]) - held)
    yield fails(lacking, "permission", "permission", "".join(lacking[:1]), "not held")
    yield fails(any_of and not held & set(any_of), "permission", "permission", f"one of {join(any_of)}", "none held")
    trust, needed = principal["trust_level"], access.get("required_trust_level", TRUST_LEVELS[0])
    yield fails(TRUST_LEVELS.index(trust) < TRUST_LEVELS.index(needed), "trust", "trust_level", needed, trust)

    wish = request["data_locality"]
    strays = wish is not None and LOCALITIES.index(locality) > LOCALITIES.index(wish)
    yield fails(strays, "locality", "data_locality", str(wish), locality)
    regions = set(privacy["data_locality"]) if locality == "regions" else set()
    confined = locality == "on_device" or (regions and regions <= set(request["regions"]))
    outside = request["regions"] and not confined
    yield fails(outside, "residency", "regions", join(request["regions"]), join(regions) if regions else locality)

    classification, abroad = request["classification"], locality not in HOME
    secret = request["sensitive"] or classification in {"confidential", "restricted"}
    readable = not (privacy["encryption"]["in_transit"] and privacy["encryption"]["at_rest"])
    exposed = abroad and classification == "restricted"
    yield fails(exposed, "sensitivity", "data_classification", "on_device or private", locality)
    exposed = abroad and secret and readable
    yield fails(exposed, "sensitivity", "data_classification", "on_device, private or encrypted", locality)

    learns = privacy.get("trains_on_data", True)
    yield fails(learns and (secret or not request["training"]), "training", "trains_on_data", "false", "true")
    most, days = request["max_retention_days"], privacy.get("data_retention_days")
    keeps = most is not None and (days is None or days > most)
    yield fails(keeps, "retention", "data_retention_days", f"<= {most}", "undeclared" if days is None else str(days))
    for framework in sorted(request["compliance"]):
        declared = privacy["compliance"]
        yield fails(framework not in declared, "compliance", "compliance", framework, join(declared))
    internet = contract["constraints"]["requires"]["internet"]
    leaves = not request["egress"] and (internet or abroad)
    yield fails(leaves, "egress", "egress", "none", "internet" if internet else locality)
