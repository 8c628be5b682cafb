"""Keyed hashes, against the standard library's."""

import hmac

from hypothesis import example, given
from hypothesis import strategies as st

from caio.foundation.hashing import keyed

_KEYS = st.binary(max_size=100)


@given(_KEYS, st.binary(max_size=300))
@example(bytes(64), b"")
@example(b"k" * 65, b"x")
@example(b"k" * 32, bytes(4_096))
@example(b"k" * 32, bytes(4_097))
def test_keyed_is_hmac(key: bytes, data: bytes) -> None:
    assert keyed(key, data) == hmac.digest(key, data, "sha256")
