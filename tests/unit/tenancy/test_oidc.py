"""The laws of ``tenancy.jws`` and ``tenancy.oidc``, on tokens signed with real keys."""

from __future__ import annotations

import base64
import json
import string
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from caio.tenancy.jws import LONGEST_KID, MOST_KEYS, TokenRefused, read_key_set, read_token
from caio.tenancy.oidc import LEEWAY_SECONDS, Identity, Issuer, identity
from tests.support.identity_provider import API, CLIENT, Key, auth0, b64, cognito, keycloak, number, plain, token

URL = "https://idp.example"
NOW = 1_800_000_000
KEYS = {algorithm: Key(f"k-{algorithm}", algorithm) for algorithm in ("RS256", "ES256", "EdDSA")}
KEY = KEYS["ES256"]
BY_AUDIENCE = Issuer(URL, audiences=frozenset({API}))
BY_CLIENT = Issuer(URL, client_ids=frozenset({CLIENT}))
BOTH = Issuer(URL, audiences=frozenset({API}), client_ids=frozenset({CLIENT}))


def key_set(*documents: dict[str, Any]) -> Any:
    return read_key_set(json.dumps({"keys": list(documents)}).encode())


ALPHABET = string.ascii_letters + string.digits + "-_"
HEAD = b64(b'{"alg":"ES256"}')
ALL = key_set(*(key.jwk() for key in KEYS.values()))


def at(claims: dict[str, Any], moved: dict[str, Any] | None = None) -> dict[str, Any]:
    """The claims, at NOW."""
    return claims | {"iat": NOW, "exp": NOW + 300} | ({"nbf": NOW} if "nbf" in claims else {}) | (moved or {})


def proven(
    claims: dict[str, Any], issuer: Issuer = BY_AUDIENCE, key: Key = KEY, now: int = NOW, **header: Any
) -> Identity:
    read = read_token(token(claims, key, **header))
    found = ALL.find(read)
    assert found is not None
    found.verify(read)
    return identity(read, issuer, now * 1_000_000)


def verified(text: str) -> None:
    """Raises TokenRefused, also for a token of a key that is not there."""
    read = read_token(text)
    found = ALL.find(read)
    if found is None:
        raise TokenRefused("no such key")
    found.verify(read)


def refused(claims: dict[str, Any], issuer: Issuer = BY_AUDIENCE, **more: Any) -> str:
    with pytest.raises(TokenRefused) as caught:
        proven(claims, issuer, **more)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_has_one_algorithm(algorithm: str) -> None:
    assert proven(at(plain(URL)), key=KEYS[algorithm]).subject == "person-1"
    for other in KEYS:
        read = read_token(token(at(plain(URL)), KEYS[algorithm], alg=other))
        if other == algorithm:
            continue
        assert ALL.find(read) is None
        with pytest.raises(TokenRefused):
            key_set(KEYS[algorithm].jwk()).find(read_token(token({}, KEYS[algorithm]))).verify(read)
    for algorithm_of_nobody in ("none", "HS256", "RS512", "PS256", "ES384", "", None, 1, ["RS256"]):
        with pytest.raises(TokenRefused):
            read_token(token({}, KEY, alg=algorithm_of_nobody))


def test_symmetric_private_weak_and_foreign_keys_are_in_no_set() -> None:
    private = KEY.private.private_numbers().private_value
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key().public_numbers()
    curve = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    point = KEY.jwk()
    for document in (
        {"kty": "oct", "k": b64(b"secret" * 8), "kid": "a"},
        point | {"d": number(private)},
        point | {"use": "enc"},
        point | {"key_ops": ["sign"]},
        point | {"key_ops": "verify"},
        point | {"alg": "RS256"},
        point | {"kid": 7},
        point | {"kid": "k" * (LONGEST_KID + 1)},
        point | {"x": point["y"]},
        point | {"crv": "P-521"},
        {"kty": "RSA", "n": number(weak.n), "e": number(weak.e)},
        {"kty": "EC", "crv": "P-384", "x": number(curve.x, 48), "y": number(curve.y, 48)},
        {"kty": "RSA", "n": "", "e": ""},
        {"kty": ["RSA"]},
        {},
    ):
        assert len(key_set(document)) == 0, document
    assert len(key_set(point, {"kty": "oct"}, KEYS["RS256"].jwk())) == 2


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[],"keys":[]}', b'{"keys":null}', b"\xff", b"[" * 100_000],
)
def test_what_is_no_key_set_is_refused(raw: bytes) -> None:
    with pytest.raises(TokenRefused):
        read_key_set(raw)
    with pytest.raises(TokenRefused):
        key_set(*[{}] * (MOST_KEYS + 1))


def test_a_kid_is_a_name_only() -> None:
    strange = ["../../etc/passwd", "' OR 1=1 --", "https://evil.example/keys", "", "k" * LONGEST_KID]
    for kid in strange:
        assert ALL.find(read_token(token({}, KEY, kid=kid))) is None
        named = key_set(KEY.jwk() | {"kid": kid})
        named.find(read_token(token({}, KEY, kid=kid))).verify(read_token(token({}, KEY, kid=kid)))
    for no_name in (1, ["k"], {"k": 1}, True, "k" * (LONGEST_KID + 1)):
        with pytest.raises(TokenRefused):
            read_token(token({}, KEY, kid=no_name))
    # Without a name there must be no choice.
    unnamed = read_token(token({}, KEY, kid=None))
    assert ALL.find(unnamed) is not None
    assert key_set(KEY.jwk(), Key("other", "ES256").jwk()).find(unnamed) is None


def test_what_is_read_twice_is_read_once() -> None:
    body = json.dumps(at(plain(URL)))[:-1]
    for repeated in (f'{body},"sub":"root"}}', f'{body},"x":{{"a":1,"a":2}}}}'):
        with pytest.raises(TokenRefused):
            read_token(token(repeated.encode(), KEY))
    head = b64(b'{"alg":"ES256","alg":"ES256"}')
    with pytest.raises(TokenRefused):
        read_token(".".join([head, *token({}, KEY).split(".")[1:]]))
    for body in ('{"a":NaN}', '{"a":Infinity}', "[]", '"a"', "{} {}", "nul"):
        with pytest.raises(TokenRefused):
            read_token(token(body.encode(), KEY))


def test_a_header_that_demands_what_is_not_understood_is_refused() -> None:
    demands: tuple[dict[str, Any], ...] = (
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
    )
    for demand in demands:
        with pytest.raises(TokenRefused):
            read_token(token(at(plain(URL)), KEY, **demand))
    # What a header says of keys and their places is not read.
    for named in ({"jku": "https://evil.example"}, {"x5u": "https://evil.example"}, {"jwk": Key("mine").jwk()}):
        assert proven(at(plain(URL)), **named).subject == "person-1"


@given(st.data())
def test_a_signature_covers_what_is_read(data: st.DataObject) -> None:
    key = KEYS[data.draw(st.sampled_from(sorted(KEYS)))]
    text = token(at(plain(URL)), key)
    position = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("AZaz09-_.="))
    if other == text[position]:
        return
    changed = text[:position] + other + text[position + 1 :]
    with pytest.raises(TokenRefused):
        verified(changed)


@given(st.text(alphabet=ALPHABET, min_size=1, max_size=9))
def test_base_64_has_one_form(part: str) -> None:
    """Against the encoder: what decodes is what would be encoded."""
    padded = part + "=" * (-len(part) % 4)
    canonical = len(part) % 4 != 1 and b64(base64.urlsafe_b64decode(padded)) == part
    try:
        assert read_token(f"{HEAD}.e30.{part}").signature == base64.urlsafe_b64decode(padded)
    except TokenRefused:
        assert not canonical
    else:
        assert canonical


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: f"{b64(raw)}.{b64(raw)}.{b64(raw)}"))
def test_nothing_but_a_refusal_comes_of_garbage(text: str) -> None:
    with pytest.raises(TokenRefused):
        read_token(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = ("iss", "sub", "aud", "exp", "nbf", "iat", "azp", "client_id", "token_use", "typ", "nonce", "name", "email")


@given(st.sampled_from(CLAIMS), JSON)
def test_a_strange_claim_is_taken_or_refused(name: str, value: Any) -> None:
    read = read_token(token(at(plain(URL)), KEY))
    strange = type(read)(read.algorithm, read.kid, read.kind, {**read.claims, name: value}, b"", b"")
    try:
        found = identity(strange, BY_AUDIENCE, NOW * 1_000_000)
    except TokenRefused:
        return
    assert len(found.subject) > 0
    assert found.subject.isprintable()


@pytest.mark.parametrize("shape", [plain, auth0, keycloak])
def test_a_token_is_for_this_installation(shape: Any) -> None:
    for issuer in (BY_AUDIENCE, BOTH):
        assert proven(at(shape(URL)), issuer).client_id == CLIENT
    refused(at(shape(URL, aud="https://other.example")))
    refused(at(shape(URL, aud=["https://other.example", CLIENT])))
    refused(at(shape(URL, aud=[])))
    refused(at(shape(URL, aud=[API, 1])))
    refused(at(shape(URL, aud=None)))
    for client in ({"azp": "another", "client_id": None}, {"client_id": "another", "azp": None}):
        refused(at(shape(URL, **client)), BOTH)
    refused(at(shape(URL, azp=None, client_id=None)), BOTH)
    refused(at(shape(URL, azp="another", client_id=CLIENT)))
    # An audience that is stated counts where only clients are named, too.
    refused(at(shape(URL)), BY_CLIENT)


def test_without_an_audience_the_client_and_the_tokens_own_word_count() -> None:
    assert proven(at(cognito(URL)), BY_CLIENT).subject == "person-1"
    assert proven(at(plain(URL, aud=None)), BY_CLIENT, typ="at+jwt").subject == "person-1"
    refused(at(plain(URL, aud=None)), BY_CLIENT)
    refused(at(cognito(URL, client_id="another")), BY_CLIENT)
    refused(at(cognito(URL)), BY_AUDIENCE)


def test_only_access_tokens_are_taken() -> None:
    for wrong in (
        {"token_use": "id"},
        {"token_use": None} | {"token_use": ""},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"nonce": "n"},
        {"at_hash": "h"},
        {"c_hash": "h"},
    ):
        refused(at(plain(URL, **wrong)))
    refused(at(keycloak(URL, at_hash="h")))
    for kind in ("id+jwt", "logout+jwt", "dpop+jwt", "JOSE", ""):
        refused(at(plain(URL)), typ=kind)
    for good in (None, "JWT", "at+jwt", "AT+JWT", "application/at+jwt"):
        assert proven(at(plain(URL)), typ=good)
    strict = Issuer(URL, audiences=frozenset({API}), at_jwt=True)
    assert proven(at(plain(URL)), strict, typ="at+jwt")
    refused(at(plain(URL)), strict)
    # An operator who names a client as audience is not tricked by its identity tokens.
    loose = Issuer(URL, audiences=frozenset({CLIENT}))
    refused(at(plain(URL, aud=CLIENT)), loose)
    refused(at(plain(URL, aud=CLIENT, client_id=None)), Issuer(URL, client_ids=frozenset({CLIENT})))


def test_time_has_a_leeway_of_a_minute() -> None:
    end = NOW + 300 + LEEWAY_SECONDS
    assert proven(at(plain(URL)), now=end - 1).expires_at == end * 1_000_000
    refused(at(plain(URL)), now=end)
    for name in ("nbf", "iat"):
        assert proven(at(plain(URL), {name: NOW + LEEWAY_SECONDS}))
        refused(at(plain(URL), {name: NOW + LEEWAY_SECONDS + 1}))
        for no_moment in ("1", True, ["1"], -1, 2**40, 1e300):
            refused(at(plain(URL), {name: no_moment}))
    for no_end in (None, "1", True, 2**40):
        refused(at(plain(URL)) | {"exp": no_end})


def test_issuer_and_algorithm_are_the_configured_ones() -> None:
    for issuer in (f"{URL}/", URL.upper(), "", None, [URL]):
        refused(at(plain(URL)) | {"iss": issuer})
    refused(at(plain(URL)), Issuer(URL, audiences=frozenset({API}), algorithms=frozenset({"RS256"})))


def test_an_email_counts_when_the_provider_verified_it() -> None:
    told = {"email": "a@example.com", "name": "A"}
    assert proven(at(plain(URL, **told))).email == ""
    assert proven(at(plain(URL, **told, email_verified="true"))).email == ""
    found = proven(at(plain(URL, **told, email_verified=True)))
    assert (found.email, found.name) == ("a@example.com", "A")
    assert proven(at(plain(URL, name="x\ny", preferred_username="b"))).name == "b"
