"""Who a token of an identity provider is: the rules for its claims.

Theory of operation
-------------------
Issuers are named by the operator. A token is an issuer's when its ``iss`` is exactly the issuer's name and one
of its keys verifies it (``jws``). It must be an *access token* for this installation: an identity token says
who signed in somewhere, to another audience, and opens nothing here. Access tokens have several shapes:

- Amazon Cognito: ``token_use: access``, ``client_id``, no ``aud``. The issuer names its ``client_ids``.
- Auth0 and RFC 9068: ``aud`` (one or a list) names this API, ``azp`` or ``client_id`` the program.
- Keycloak: claim ``typ: Bearer``, ``azp``; ``aud`` as the realm maps it.

From a token come the issuer's name of its bearer and when it ends; nothing else is believed. Roles and
tenants are the membership's (``Member``), never a claim's: groups and scopes of a provider are not read.

Laws (each has a test of the same name)
---------------------------------------
- only_access_tokens_are_taken: what says that it is another kind is refused, and what could be an identity
  token is refused unless it says that it is none.
- a_token_is_for_this_installation: its audience, its client, or both, as the issuer's rules demand; a stated
  audience always counts.
- time_has_a_leeway_of_a_minute: ``exp`` is demanded; ``nbf`` and ``iat`` count where they are stated.

Pure. Not checked: whether the provider has revoked the token; it is taken until it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caio.tenancy.jws import ALGORITHMS, Token, TokenRefused

#: Clocks of provider and installation may differ by this many seconds.
LEEWAY_SECONDS = 60
_SECOND = 1_000_000
_LONGEST_NAME = 256
_FAR = 2**40

#: Header types of access tokens (RFC 9068), and of tokens that say nothing.
_ACCESS_KINDS = {"at+jwt", "application/at+jwt"}
_PLAIN_KINDS = {None, "jwt"}


@dataclass(frozen=True, slots=True)
class Issuer:
    """An identity provider as the operator names it, and which of its tokens are for this installation.

    ``audiences`` and ``client_ids``: each that is not empty is demanded. ``jwks_url`` is None where the
    provider's discovery document says it. ``at_jwt`` demands the header type of RFC 9068.
    """

    issuer: str
    jwks_url: str | None = None
    audiences: frozenset[str] = frozenset()
    client_ids: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset(ALGORITHMS)
    at_jwt: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a verified token speaks of: (``issuer``, ``subject``) as the provider names them, until ``expires_at``
    (microseconds since the epoch, leeway included). A member of no tenant yet, or of several.

    ``email`` is empty unless the provider says that it verified it. Name and email are for display.
    """

    issuer: str
    subject: str
    client_id: str
    name: str
    email: str
    expires_at: int


def issuer_named(token: Token) -> str:
    """The issuer that the token claims, to be looked up among those that are configured."""
    issuer = token.claims.get("iss")
    if type(issuer) is not str:
        raise TokenRefused("the token names no issuer")
    return issuer


def identity(token: Token, issuer: Issuer, now: int) -> Identity:
    """The identity that a verified token of ``issuer`` proves at ``now``. Raises TokenRefused.

    Does not verify the signature: see ``jws.VerifyingKey.verify``.
    """
    claims = token.claims
    if claims.get("iss") != issuer.issuer:
        raise TokenRefused("another issuer")
    if token.algorithm not in issuer.algorithms:
        raise TokenRefused("the issuer does not use this algorithm")
    marked = _is_access_token(token, issuer)
    client = _client(claims)
    _check_addressee(claims, issuer, client, marked)
    return Identity(
        issuer.issuer,
        _subject(claims, client),
        client,
        _text(claims, "name") or _text(claims, "preferred_username"),
        _text(claims, "email") if claims.get("email_verified") is True else "",
        _check_time(claims, now),
    )


def _is_access_token(token: Token, issuer: Issuer) -> bool:
    """Whether the token says that it is an access token; raises TokenRefused when it says that it is none."""
    claims = token.claims
    kind = token.kind.lower() if token.kind is not None else None
    if kind not in _ACCESS_KINDS | _PLAIN_KINDS or (issuer.at_jwt and kind not in _ACCESS_KINDS):
        raise TokenRefused("the header's type is not an access token's")
    if claims.get("token_use", "access") != "access" or claims.get("typ", "Bearer") != "Bearer":
        raise TokenRefused("the token says that it is no access token")
    marked = kind in _ACCESS_KINDS or "token_use" in claims or "typ" in claims
    if {"at_hash", "c_hash", "s_hash"} & claims.keys() or ("nonce" in claims and not marked):
        raise TokenRefused("the token has the claims of an identity token")
    return marked


def _check_addressee(claims: Mapping[str, Any], issuer: Issuer, client: str, marked: bool) -> None:
    if issuer.client_ids and client not in issuer.client_ids:
        raise TokenRefused("another client")
    audience = _audience(claims)
    if audience is None:
        if issuer.audiences:
            raise TokenRefused("the token names no audience")
        # Without an audience only the token's own word tells it from others of the same client.
        if not marked:
            raise TokenRefused("neither an audience nor a mark of an access token")
    elif not audience & (issuer.audiences or issuer.client_ids):
        raise TokenRefused("another audience")
    elif not marked and audience & ({client} | issuer.client_ids):
        raise TokenRefused("addressed to its own client, as identity tokens are")


def _audience(claims: Mapping[str, Any]) -> set[str] | None:
    audience = claims.get("aud")
    if audience is None:
        return None
    listed = [audience] if type(audience) is str else audience
    if type(listed) is not list or not listed or any(type(each) is not str for each in listed):
        raise TokenRefused("the audience is neither a text nor a list of texts")
    return set(listed)


def _client(claims: Mapping[str, Any]) -> str:
    stated = [value for name in ("client_id", "azp") if (value := claims.get(name)) is not None]
    if any(type(value) is not str for value in stated) or len(set(stated)) > 1:
        raise TokenRefused("the token names no one client")
    return stated[0] if stated else ""


def _subject(claims: Mapping[str, Any], client: str) -> str:
    """The bearer: a person's or program's ``sub``; the client of a program's token that has none."""
    subject = claims.get("sub", client)
    if type(subject) is not str or not 0 < len(subject) <= _LONGEST_NAME or not subject.isprintable():
        raise TokenRefused("the token names nobody")
    return subject


def _check_time(claims: Mapping[str, Any], now: int) -> int:
    """When the token ends, in microseconds; raises TokenRefused unless it is valid ``now``."""
    leeway = LEEWAY_SECONDS * _SECOND
    end = _moment(claims, "exp")
    if end is None or end + leeway <= now:
        raise TokenRefused("the token has ended, or never ends")
    for name in ("nbf", "iat"):
        begin = _moment(claims, name)
        if begin is not None and begin - leeway > now:
            raise TokenRefused(f"the token is not valid yet ({name})")
    return end + leeway


def _moment(claims: Mapping[str, Any], name: str) -> int | None:
    """A NumericDate (RFC 7519, 2) in microseconds."""
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < _FAR:
        raise TokenRefused(f"{name} is not a moment")
    return int(value * _SECOND)


def _text(claims: Mapping[str, Any], name: str) -> str:
    """A claim for display, or nothing."""
    value = claims.get(name)
    return value if type(value) is str and len(value) <= _LONGEST_NAME and value.isprintable() else ""
