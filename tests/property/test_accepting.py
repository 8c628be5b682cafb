"""What the fast reading of a body accepts, the models accept too, and both come to the same request."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caio.contracts.vocabulary import OnViolation
from caio.foundation.errors import InvalidInput
from caio.gateway.accepting import accepted_body, accepted_wishes
from caio.gateway.intake import OrchestrateBody, Wishes, kernel_request, read, read_body

names = st.sampled_from(["chat", "text.sentiment", "a" * 63]) | st.text("ab.-_Z\n é", max_size=4)
addresses = st.sampled_from(["alpha", "alpha@1.0.0", "alpha@", "al.pha", "alpha@1\n"])
numbers = (
    st.integers(-3, 3)
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.decimals(0, 2000, places=3).map(float)
    | st.decimals(-2, 2000, places=9).map(str)
    | st.sampled_from(["", " 5 ", "1_0", "1e3", "+1", "٣", "0.0000000001", "NaN", "-0", "007", "1.", 1e-7, 10**9, -0.0])
)
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(names, max_size=2)
bounds = st.dictionaries(st.sampled_from(["p50", "p95", "p99", "max", "min", "p42"]), numbers | st.none(), max_size=2)
labels = st.dictionaries(names, st.text(max_size=3) | st.just("😀" * 256) | st.just("x" * 257), max_size=2)
policies = st.lists(st.text(max_size=3) | st.dictionaries(st.text(max_size=2), anything, max_size=2), max_size=2)


def seldom_strange(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 15).flatmap(lambda die: each if die else anything)


def sometimes(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of the fields, now and then one of another type."""
    return st.fixed_dictionaries({}, optional={name: seldom_strange(each) for name, each in fields.items()})


requirements = st.builds(
    dict.__or__,
    sometimes(
        max_latency_ms=numbers,
        max_cost=numbers,
        regions=st.lists(names, max_size=2),
        data_locality=st.sampled_from(["private", "cloud", "moon"]),
        features=st.lists(names, max_size=2),
        context_length=st.integers(-1, 3) | st.just(10**9 + 1),
        max_tokens=st.integers(0, 2),
        deterministic=st.booleans(),
        compliance=st.lists(names, max_size=1),
    ),
    st.dictionaries(
        st.sampled_from(["accuracy", "latency_ms", "bounds", "regions", "é", "stated"]), bounds, max_size=2
    ),
)
wishes = {
    "capability": names,
    "capabilities": st.lists(names, max_size=9),
    "requirements": requirements,
    "constraints": sometimes(
        services=st.lists(addresses, max_size=2),
        excluded_services=st.lists(addresses, max_size=2),
        egress=st.booleans(),
        training=st.booleans(),
        max_retention_days=st.integers(-1, 36_501),
    ),
    "data_classification": st.sampled_from(["public", "restricted", "secret"]),
    "sensitive": st.booleans(),
    "objective": sometimes(weights=st.dictionaries(st.sampled_from(["cost", "margin", "luck"]), st.integers(-1, 1001))),
    "policies": policies,
    "on_violation": st.sampled_from([*OnViolation, "ignore"]),
    "seed": st.text(max_size=3) | st.integers() | st.just("s" * 128) | st.just("😀" * 128) | st.just("s" * 129),
    "deadline_ms": st.integers(0, 2) | st.just(600_000) | st.just(600_001) | st.just(5.0),
}
others = {name: each for name, each in wishes.items() if name != "capability"}
payloads = st.recursive(
    anything, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner)
)
bodies = sometimes(
    request=sometimes(**wishes, payload=payloads, stated=anything) | sometimes(**wishes, payload=payloads),
    policies=policies,
    context=sometimes(session=st.text(max_size=3), labels=labels),
    extra=anything,
) | st.fixed_dictionaries({"request": st.fixed_dictionaries({"capability": st.just("chat")}, optional=others)})


def outcome(body: Any) -> object:
    """The kernel's request, or the violations that it is refused for."""
    try:
        return kernel_request(body, tenant_id="t", currency="USD", input_bytes=0, labels={})
    except InvalidInput as error:
        return error.violations


def check(raw: bytes) -> bool:
    accepted = accepted_body(raw)
    if accepted is None:
        return False
    body = read(OrchestrateBody, raw)
    assert outcome(accepted.request) == outcome(body.request)
    assert repr(accepted.request.payload) == repr(body.request.payload)
    assert [*accepted.request.policies, *accepted.policies] == [*body.request.policies, *body.policies]
    assert (accepted.context.session, accepted.context.labels) == (body.context.session, body.context.labels)
    return True


@given(bodies)
@example({"request": {"capability": "chat", "requirements": {"regions": {"p50": 1}}}})
@example({"request": {"capability": "chat", "requirements": {"bounds": {"min": 1}, "max_latency_ms": 0.95}}})
def test_what_is_accepted_reads_the_same(body):
    check(json.dumps(body).encode())


@given(st.fixed_dictionaries({}, optional=wishes))
def test_wishes_that_are_accepted_read_the_same(stated):
    accepted = accepted_wishes(stated)
    if accepted is not None:
        assert outcome(accepted) == outcome(read(Wishes, stated))


FRAME = b'{"request":{"capability":"chat","payload":%s}}'


@pytest.mark.parametrize(
    "payload",
    [
        *(b"[" * depth + b"]" * depth for depth in (10, 180, 198, 199, 250, 2_000)),
        *(b"NaN", b"1e999", b"-0", b"1" * 5_000, b'"\\ud800"', b'"\xff"', b'{"a":1,"a":2}', b'"\x00"', b"01", b"[1,]"),
    ],
)
def test_no_payload_is_accepted_that_the_models_refuse(payload):
    check(FRAME % payload)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"request":{"capability":"chat"},"request":{"capability":"embed"}}',
        b'{"request":{"capability":"chat","seed":"a","seed":7}}',
        b'{"request":{"capability":"chat","requirements":{"accuracy":{"min":1},"accuracy":{"max":2}}}}',
        b' {"request" : {"capability":"chat","requirements":{"max_cost":1e-3,"accuracy":{"min":"0.950"}}}}\n',
        b'{"request":{"capabilities":["a","b","a"],"objective":{"weights":{"cost":1}},"on_violation":"retry"}}',
        b'{"request":{"capability":"a"},"context":{"session":"s","labels":{"t":"r"}},"policies":["p",{"id":"q"}]}',
    ],
)
def test_valid_bodies_are_accepted(raw):
    assert check(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"request":{}', b'{"request":{"nothing":1}}', b'\xef\xbb\xbf{"request":{}}']
)
def test_what_is_not_accepted_is_refused_in_the_models_words(raw):
    with pytest.raises(InvalidInput) as fast:
        read_body(raw)
    with pytest.raises(InvalidInput) as slow:
        read(OrchestrateBody, raw)
    assert fast.value.violations == slow.value.violations
