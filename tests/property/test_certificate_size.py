"""A certificate stays small: at most 4 KB for any usual request, however many services it accounts for.

Only the request's and the five best services' own words make it longer. When all of them are as long
as they may be, and services are excluded by every clause there is, it is at most 5 KB.
"""

import pytest

from caio.foundation.canonical import canonical_json
from caio.routing.certificate import CLAUSES
from caio.routing.checker import recompute
from caio.routing.model import TERMS
from tests.support.routing_cases import Document, changed, contract, evidence, request

LIMIT = 4096

#: As the contract's and the request's forms bound them.
LONGEST_ID, LONGEST_VERSION, LONGEST_NAME, MOST_BOUNDS = 63, 64, 63, 16

#: Reasons for which a service can be passed over, whatever else is asked of it.
FLAWS: list[Document] = [
    {},
    {"capabilities": []},
    {"capabilities": [{"type": "chat", "features": []}]},
    {"api": {"protocol": "process"}},
    {"cost": {"currency": "EUR"}},
    {"cost": {"per_request": "1000"}},
    {"access": {"required_permissions": {"all_of": ["admin"]}}},
    {"access": {"required_trust_level": "privileged"}},
    {"privacy": {"data_locality": "cloud"}},
    {"privacy": {"trains_on_data": True}},
    {"privacy": {"data_retention_days": 90}},
    {"privacy": {"compliance": []}},
]


def size(given: Document) -> int:
    return len(canonical_json(recompute(given)))


def among(count: int) -> Document:
    """A decision among ``count`` services, most of them excluded, for every reason above."""
    asked = request(
        bounds={"latency_ms.p95": "1000", "accuracy.min": "0.9"},
        max_cost="0.05",
        features=["json"],
        protocols=["openai"],
        regions=["eu"],
        compliance=["gdpr", "soc2"],
        training=False,
        max_retention_days=30,
        seed=None,
    )
    kinds = [changed(contract(), flaw) for flaw in FLAWS]
    return evidence(
        *({**kinds[number % len(kinds)], "service_id": f"service-{number:06}"} for number in range(count)),
        request=asked,
    )


@pytest.mark.long
def test_a_certificate_is_small_among_ten_thousand_services():
    certificate = recompute(among(10_000))
    assert certificate["service_count"] == 10_000
    assert certificate["feasible"]["count"] > 500
    assert len(certificate["excluded"]) >= len(FLAWS) - 2
    assert len(canonical_json(certificate)) < 2500


def test_a_certificates_size_grows_with_the_digits_of_its_counts():
    few, many = size(among(5 * len(FLAWS))), size(among(50 * len(FLAWS)))
    assert few <= many <= few + 2 * (len(FLAWS) + 2) + 20


def wordy(names: list[str], seed: str) -> Document:
    """Five feasible services with the longest ids and versions, bounds on ``names``, the longest numbers."""
    versions = [f"1.0.0-{digit}{'v' * (LONGEST_VERSION - 7)}" for digit in range(5)]
    ids = [f"{digit}{'s' * (LONGEST_ID - 1)}" for digit in range(5)]
    promised: Document = {name: {"max": "-99999999.123456789"} for name in names}
    services = [
        contract(*key, guarantees=promised, cost={"per_request": "900000.123456789"})
        for key in zip(ids, versions, strict=True)
    ]
    asked = request(
        bounds={f"{name}.p50": "999999999.999999999" for name in names},
        weights=dict.fromkeys(TERMS, 1000),
        on_violation="fallback",
        seed=seed,
    )
    return evidence(*services, request=asked)


def everything(certificate: Document) -> Document:
    """The certificate among a million services more, excluded by every clause."""
    groups = [{"clause": clause, "count": 99_999} for clause in CLAUSES]
    return {**certificate, "service_count": 10**6, "excluded": groups}


ORDINARY = [f"property_{number:02}_ms" for number in range(24)]
LONGEST = [f"{number:02}{'n' * (LONGEST_NAME - 2)}" for number in range(MOST_BOUNDS)]


@pytest.mark.parametrize(
    ("names", "seed", "most"),
    [(ORDINARY, "seed", LIMIT), (LONGEST, "\x01" * 128, LIMIT + 1024)],
    ids=["many bounds", "the longest words there can be"],
)
def test_a_wordy_request_keeps_its_certificate_small(names, seed, most):
    certificate = recompute(wordy(names, seed))
    assert certificate["feasible"]["count"] == len(certificate["ranked"]) == 5
    assert len(certificate["guarantees"]) == len(names) + 1
    assert len(canonical_json(everything(certificate))) <= most
