"""Signing keys and published key sets."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from caio.audit.signing import Keyring, SigningKey, is_signed_by, key_id_of, key_set, read_key_set, read_signature
from caio.foundation.errors import InvalidInput, Misconfigured

ACTIVE, RETIRED = SigningKey.generate(b"a" * 32), SigningKey.generate(b"r" * 32)

# RFC 8032, section 7.1: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_rfc_8032_vectors_hold(seed, public, message, signature):
    key = SigningKey.generate(bytes.fromhex(seed))
    assert key.public_key.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert is_signed_by(key.public_key, bytes.fromhex(message), bytes.fromhex(signature))


@pytest.mark.parametrize("public_key", [b"", b"k" * 31, b"k" * 33])
def test_a_key_of_a_wrong_length_signed_nothing(public_key):
    assert not is_signed_by(public_key, b"message", ACTIVE.sign(b"message"))


def test_a_signature_of_a_wrong_length_is_none():
    assert not is_signed_by(ACTIVE.public_key, b"message", ACTIVE.sign(b"message")[:-1])


def test_pem_round_trips_and_stays_out_of_repr():
    pem = ACTIVE.to_pem()
    assert SigningKey.from_pem(pem).key_id == ACTIVE.key_id
    assert repr(ACTIVE) == f"SigningKey({ACTIVE.key_id})"


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        generate_private_key(SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        ACTIVE._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
        ),
    ],
)
def test_other_keys_are_refused(pem):
    with pytest.raises(Misconfigured, match="Ed25519"):
        SigningKey.from_pem(pem)


def test_key_sets_round_trip():
    keyring = Keyring(ACTIVE, (RETIRED.public_key,))
    document = key_set(keyring)
    assert read_key_set(document) == keyring.trusted_keys()
    assert [(key["key_id"], key["status"]) for key in document["keys"]] == [
        (ACTIVE.key_id, "active"),
        (RETIRED.key_id, "retired"),
    ]
    assert ACTIVE.to_pem().split(b"\n")[1].decode() not in str(document)


def test_a_key_of_another_algorithm_is_left_out():
    document = key_set(Keyring(ACTIVE))
    document["keys"].append({"key_id": "x", "algorithm": "Later", "public_key": "?"})
    assert read_key_set(document) == {ACTIVE.key_id: ACTIVE.public_key}


@pytest.mark.parametrize(
    "document", [None, [], {}, {"keys": {}}, {"keys": []}, {"keys": [{"algorithm": "Later"}]}, "k"]
)
def test_what_is_no_key_set_is_refused(document):
    with pytest.raises(InvalidInput):
        read_key_set(document)


def test_key_sets_are_checked():
    good = key_set(Keyring(ACTIVE))["keys"][0]
    document = {
        "keys": [
            good,
            good | {"key_id": RETIRED.key_id},
            good | {"public_key": "####"},
            good | {"public_key": base64.b64encode(b"short").decode()},
            good | {"public_key": None},
            "key",
        ]
    }
    with pytest.raises(InvalidInput) as refused:
        read_key_set(document)
    assert [violation.pointer for violation in refused.value.violations] == [
        "/keys/1/key_id",
        "/keys/2/public_key",
        "/keys/3/public_key",
        "/keys/4/public_key",
        "/keys/5",
    ]


def test_one_signature_has_one_text():
    text = base64.b64encode(ACTIVE.sign(b"message")).decode()
    assert read_signature(text) == ACTIVE.sign(b"message")
    # The last character before the padding carries four bits that decoders ignore.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    others = [text[:85] + char + "==" for char in alphabet if char != text[85]]
    assert sum(base64.b64decode(other) == ACTIVE.sign(b"message") for other in others) == 15
    assert all(read_signature(other) != ACTIVE.sign(b"message") for other in others)
    assert read_signature(text[:-1]) is read_signature(text + "\n") is read_signature("é" * 88) is None


def test_a_key_id_is_the_start_of_a_digest():
    # sha256sum of 32 zero bytes begins so.
    assert key_id_of(bytes(32)) == "66687aadf862bd77"
