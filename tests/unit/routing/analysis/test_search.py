"""Questions with known answers, for the outcomes that policies rarely ask about."""

import pytest

from caio.routing.analysis.formulas import ERROR, FALSE, TRUE
from caio.routing.analysis.search import STEPS_PER_QUESTION, Budget, Goal, Status, ask
from caio.routing.analysis.worlds import request_of, service_of
from caio.routing.expressions import parse


@pytest.mark.parametrize(
    ("expression", "wanted", "fragment"),
    [
        ("has(service.guarantees.accuracy.min)", ERROR, {}),
        ("has(service.guarantees.accuracy)", FALSE, {}),
        ('"us" in service.privacy.regions', ERROR, {}),
        ("size(service.tags) == 0", FALSE, {"tags": ["x"]}),
        ('"x" in service.guarantees', TRUE, {"guarantees": {"x": {}}}),
        ("service.guarantees.latency_ms.p95 <= 800.0", TRUE, {"guarantees": {"latency_ms": {"p95": 0.0}}}),
        ("service.guarantees.determinism.min == 1.0", TRUE, {"guarantees": {"determinism": {"min": 1.0}}}),
        ("service.constraints.requires.gpu ? false : true", TRUE, {"constraints": {"requires": {"gpu": False}}}),
    ],
)
def test_a_contract_is_found(expression, wanted, fragment):
    answer = ask([Goal(parse(expression), wanted)], service_of, Budget(STEPS_PER_QUESTION))
    assert (answer.status, answer.fragment) == (Status.FOUND, {"service": fragment} if fragment else {})


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("has(service.privacy.data_locality)", FALSE),
        ("has(service.guarantees.accuracy) && has(service.guarantees.accuracy.min)", ERROR),
        ("service.guarantees.error_rate.max > 1.0", TRUE),
        ('service.api.protocol == "grpc"', TRUE),
        ('service.name.contains("ab") && !service.name.contains("a")', TRUE),
        ("service.tags.all(t, t == 'a') && 'b' in service.tags", TRUE),
    ],
)
def test_no_contract_is_found_and_none_exists(expression, wanted):
    answer = ask([Goal(parse(expression), wanted)], service_of, Budget(STEPS_PER_QUESTION))
    assert (answer.status, answer.variables) == (Status.IMPOSSIBLE, None)


def test_without_steps_nothing_is_decided():
    assert ask([Goal(parse("false"), TRUE)], request_of, Budget(0)).status is Status.UNDECIDED
