"""Signatures of deliveries, verified by a receiver that shares no code with the signer."""

import base64
import os

from hypothesis import given
from hypothesis import strategies as st

from caio.events import signing
from caio.events.signing import Secret
from tests.support.webhook_receiver import verified

NOW = 1_763_719_200_000_001


def test_the_specifications_own_example() -> None:
    # Standard Webhooks 1.0.0, "Signature scheme": the example of its reference libraries.
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signing.headers((secret,), "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', 1_614_265_330_000_000)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(max_size=200))
def test_a_receiver_verifies_with_its_secret(body: bytes) -> None:
    secret = signing.new_secret(os.urandom)
    headers = signing.headers((secret,), "evt_1", body, NOW)
    assert verified(secret.text, headers, body)
    assert not verified(signing.new_secret(os.urandom).text, headers, body)
    assert len(base64.b64decode(secret.text.removeprefix("whsec_"))) == 32


@given(st.binary(min_size=1, max_size=60), st.data())
def test_any_changed_byte_is_noticed(body: bytes, data: st.DataObject) -> None:
    secret = signing.new_secret(os.urandom)
    headers = signing.headers((secret,), "evt_1", body, NOW)
    place = data.draw(st.integers(0, len(body) - 1))
    changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    assert not verified(secret.text, headers, changed)
    assert not verified(secret.text, headers | {"webhook-id": "evt_2"}, body)
    assert not verified(secret.text, headers | {"webhook-timestamp": str(NOW // 1_000_000 + 1)}, body)


def test_both_secrets_sign_while_one_is_rotated() -> None:
    old, new = (signing.new_secret(os.urandom) for _ in range(2))
    both = signing.rotated((old,), new, NOW, overlap=10)
    assert both[0] == new
    for moment, old_one_signs in ((NOW, True), (NOW + 9, True), (NOW + 10, False)):
        headers = signing.headers(both, "evt_1", b"{}", moment)
        assert verified(new.text, headers, b"{}")
        assert verified(old.text, headers, b"{}") is old_one_signs
    newest = signing.new_secret(os.urandom)
    thrice = signing.rotated(both, newest, NOW, overlap=5)
    assert [each.text for each in thrice] == [newest.text, new.text], "the oldest one is over"
    assert signing.read(signing.written(thrice)) == thrice


def test_rotating_at_once_leaves_the_new_secret_alone() -> None:
    old, new = (signing.new_secret(os.urandom) for _ in range(2))
    headers = signing.headers(signing.rotated((old,), new, NOW, overlap=0), "evt_1", b"{}", NOW)
    assert not verified(old.text, headers, b"{}")
