"""The audit room's laws over generated values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.audit.record import Commitment
from caio.audit.sealing import Sealer, sealing_context
from caio.audit.signing import SigningKey, is_signed_by
from caio.foundation.errors import SealBroken
from tests.audit_samples import counted

keys = st.binary(min_size=32, max_size=32)
values = st.binary(max_size=200)
names = st.text(st.characters(codec="utf-8"), max_size=12)
contexts = st.builds(sealing_context, names, names, names)


def flipped(data, place, bit):
    changed = bytearray(data)
    changed[place % len(data)] ^= 1 << bit
    return bytes(changed)


places, bits = st.integers(0, 10**6), st.integers(0, 7)


@given(keys, values, contexts)
def test_what_is_sealed_opens(key, value, context):
    sealed = Sealer(key, counted()).seal(value, context)
    assert len(sealed) == len(value) + 45
    assert Sealer(key, counted()).open(sealed, context) == value
    assert Sealer(key, lambda length: b"\xff" * length).open(sealed, context) == value


@given(keys, values, contexts, places, bits)
def test_any_flipped_byte_is_refused(key, value, context, place, bit):
    sealer = Sealer(key, counted())
    sealed = sealer.seal(value, context)
    with pytest.raises(SealBroken):
        sealer.open(flipped(sealed, place, bit), context)
    with pytest.raises(SealBroken):
        sealer.open(sealed, flipped(context, place, bit))
    with pytest.raises(SealBroken):
        Sealer(flipped(key, place, bit), counted()).open(sealed, context)


@given(keys, values, st.tuples(names, names, names), st.tuples(names, names, names))
def test_sealed_values_cannot_be_moved(key, value, here, there):
    sealer = Sealer(key, counted())
    sealed = sealer.seal(value, sealing_context(*here))
    if here != there:
        with pytest.raises(SealBroken):
            sealer.open(sealed, sealing_context(*there))


@given(values, keys, values, keys)
def test_a_commitment_binds_its_data(data, salt, other, other_salt):
    commitment = Commitment.to(data, salt)
    assert commitment.holds(data)
    assert commitment.holds(other) == (other == data)
    assert (Commitment.to(data, other_salt).value == commitment.value) == (other_salt == salt)


@settings(max_examples=30)
@given(keys, st.binary(min_size=1, max_size=100), places, bits)
def test_only_the_signed_message_verifies(seed, message, place, bit):
    key = SigningKey.generate(seed)
    signature = key.sign(message)
    assert is_signed_by(key.public_key, message, signature)
    assert not is_signed_by(key.public_key, flipped(message, place, bit), signature)
    assert not is_signed_by(key.public_key, message, flipped(signature, place, bit))
    assert not is_signed_by(flipped(key.public_key, place, bit), message, signature)
