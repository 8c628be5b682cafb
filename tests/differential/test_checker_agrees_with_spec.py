"""The checker and the specification, which share no line, say the same of every world."""

from hypothesis import Phase, given, settings

from caio.foundation.canonical import canonical_json
from caio.routing.certificate import decision_hash
from caio.routing.checker import exclusions, ranking, recompute
from tests.support.routing_cases import ALLOWED, CASES, LADDER, Document
from tests.support.routing_spec import specified
from tests.support.routing_strategies import worlds


def differences(evidence: Document) -> dict[str, tuple[object, object]]:
    """Where they differ, as (checker's, specification's)."""
    ours, theirs = recompute(evidence), specified(evidence)
    said: dict[str, tuple[object, object]] = {
        name: (ours.get(name), theirs.certificate.get(name)) for name in {*ours, *theirs.certificate}
    }
    said["hash"] = (decision_hash(ours), theirs.hash)
    said["ranking"] = (ranking(evidence), theirs.ranking)
    said["exclusions"] = (exclusions(evidence), theirs.exclusions)
    return {name: pair for name, pair in said.items() if canonical_json(pair[0]) != canonical_json(pair[1])}


# A world is made from a seed: smaller ones are found by fewer services, and hunting further takes minutes.
@settings(max_examples=100, phases=[Phase.explicit, Phase.reuse, Phase.generate], report_multiple_bugs=False)
@given(worlds())
def test_checker_agrees_with_spec(evidence):
    assert differences(evidence) == {}


def test_checker_agrees_with_spec_on_every_row_of_the_table():
    tables = [case.evidence() for case in [*CASES, *ALLOWED]] + [given for _, given in LADDER]
    assert [differences(given) for given in tables if differences(given)] == []
