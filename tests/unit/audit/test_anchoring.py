"""The names under which anchors keep checkpoints."""

import string

from hypothesis import example, given
from hypothesis import strategies as st

from caio.audit.anchoring import folder_of, name_of, size_of

origins = st.text(st.sampled_from(string.ascii_letters[:4] + "AB./%_-~0é:"), max_size=12) | st.lists(
    st.sampled_from(["", ".", "..", "a", "A", ".note", "0" * 20 + ".note", "%", "%2E"]), max_size=4
).map("/".join)


@example("a", "a/" + name_of(7), 7)
@example("A", "a", 0)
@example(".a", "%2Ea", 0)
@example("a//b", "a/b", 0)
@example("a", "a/", 0)
@given(origins, origins, st.integers(0, 2**63 - 1))
def test_places_are_distinct(one, another, size):
    if one != another:
        assert folder_of(one).lower() != folder_of(another).lower()
    note = f"{folder_of(one)}/{name_of(size)}".lower()
    assert not f"{folder_of(another)}/".lower().startswith(note + "/")
    assert size_of(name_of(size)) == size


@given(origins)
def test_places_stay_inside(origin):
    for segment in folder_of(origin).split("/"):
        assert segment
        assert not segment.startswith(".")
        assert set(segment) <= set(string.ascii_letters + string.digits + "-_~.%")


def test_a_familiar_origin_is_its_own_folder():
    assert f"{folder_of('caio.localhost/acme')}/{name_of(42)}" == "caio.localhost/acme/00000000000000000042.note"
