"""One identity provider by two plain variables: Cognito's tokens have no audience, the others' have."""

from __future__ import annotations

from typing import Any

import pytest

from caio.config import read_settings
from caio.foundation.errors import Misconfigured
from caio.tenancy.jws import Token, TokenRefused
from caio.tenancy.oidc import Issuer, identity

POOL = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Pool"
OTHER = "https://login.example.com/"
LISTED = f'[{{"issuer": "{OTHER}", "audiences": ["x"]}}]'
SECOND = 1_000_000


def issuer_of(issuer: str, audience: str) -> Issuer:
    (found,) = read_settings(oidc_issuer=issuer, oidc_audience=audience).issuers
    return Issuer(**found.model_dump())


def taken(issuer: Issuer, **claims: Any) -> bool:
    token = Token(
        "RS256", "key", None, {"iss": issuer.issuer, "sub": "somebody", "exp": 2_000, "iat": 1_000, **claims}, b"", b""
    )
    try:
        identity(token, issuer, 1_500 * SECOND)
    except TokenRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("claims", "is_taken"),
    [
        ({"token_use": "access", "client_id": "one"}, True),
        ({"token_use": "access", "client_id": "two"}, True),
        ({"token_use": "access", "client_id": "three"}, False),
        ({"token_use": "id", "aud": "one"}, False),
        ({"token_use": "access"}, False),
        ({"client_id": "one"}, False),
        ({"token_use": "access", "client_id": "three", "aud": "one"}, False),
    ],
)
def test_cognitos_access_tokens_are_taken_by_their_client(claims: dict[str, Any], is_taken: bool) -> None:
    assert taken(issuer_of(POOL, "one, two"), **claims) is is_taken


@pytest.mark.parametrize(
    ("claims", "is_taken"),
    [
        ({"aud": "https://caio.example.com", "azp": "any"}, True),
        ({"aud": ["x", "second"], "client_id": "any"}, True),
        ({"aud": "another", "azp": "any"}, False),
        ({"token_use": "access", "client_id": "second"}, False),
    ],
)
def test_other_tokens_are_taken_by_their_audience(claims: dict[str, Any], is_taken: bool) -> None:
    assert taken(issuer_of(OTHER, "https://caio.example.com,second"), **claims) is is_taken


@pytest.mark.parametrize(
    ("host", "is_cognito"),
    [
        ("cognito-idp.us-east-1.amazonaws.com", True),
        ("cognito-idp-fips.us-gov-west-1.amazonaws.com", True),
        ("cognito-idp.cn-north-1.amazonaws.com.cn", True),
        ("cognito-idp.us-east-1.amazonaws.com.evil.example", False),
        ("cognito-idp.evil.example", False),
    ],
)
def test_a_user_pool_is_known_by_its_host(host: str, is_cognito: bool) -> None:
    found = issuer_of(f"https://{host}/pool", "one")
    assert (found.client_ids, found.audiences) == (
        (frozenset({"one"}), frozenset()) if is_cognito else (frozenset(), frozenset({"one"}))
    )


def test_it_stands_beside_the_list() -> None:
    settings = read_settings(
        oidc_issuer=OTHER, oidc_audience="one", oidc_issuers=f'[{{"issuer": "{POOL}", "client_ids": ["x"]}}]'
    )
    assert [each.issuer for each in settings.issuers] == [OTHER, POOL]


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"oidc_issuer": OTHER}, "state both, or neither"),
        ({"oidc_audience": "one"}, "state both, or neither"),
        ({"oidc_issuer": "http://login.example.com", "oidc_audience": "x"}, "CAIO_OIDC_ISSUER: .*https"),
        (
            {
                "oidc_issuer": OTHER,
                "oidc_audience": "x",
                "oidc_issuers": f'[{{"issuer": "{OTHER}", "audiences": ["x"]}}]',
            },
            "CAIO_OIDC_ISSUERS: an issuer is named twice",
        ),
    ],
)
def test_what_is_half_or_double_is_refused(stated: dict[str, str], told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        read_settings(**stated)
