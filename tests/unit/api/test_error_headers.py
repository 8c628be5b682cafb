"""What the headers of a failure tell a caller."""

import pytest

from caio.api.errors import headers_of, status_of
from caio.foundation.errors import NotReady, Unauthenticated


@pytest.mark.parametrize(("stated", "told"), [(None, "1"), (7, "7")])
def test_each_503_says_when_to_come_back(stated, told):
    error = NotReady("the database does not answer", retry_after=stated)
    assert (status_of(error), headers_of(error)["Retry-After"]) == (503, told)


def test_who_may_not_wait_is_not_told_to():
    assert "Retry-After" not in headers_of(Unauthenticated("no key"))
