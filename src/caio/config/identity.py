"""Who signs callers in: identity providers, all of them or simply one.

The simple form names one issuer and for whom its tokens are. An issuer states that in ``aud``, except Amazon
Cognito's user pools, whose access tokens carry a ``client_id`` and no ``aud``: for those the same words are the
clients. Which of both is told by the issuer's host, never by what a token holds.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from caio.config.values import Environment, is_secure, split

_COGNITO = re.compile(r"cognito-idp(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")

_Name = Annotated[str, Field(min_length=1, max_length=256)]


class OidcIssuer(BaseModel):
    """An identity provider whose access tokens are taken; at least one of ``audiences`` and ``client_ids``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Annotated[str, Field(min_length=1, max_length=1024)]
    jwks_url: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    audiences: frozenset[_Name] = frozenset()
    client_ids: frozenset[_Name] = frozenset()
    algorithms: Annotated[frozenset[Literal["RS256", "ES256", "EdDSA"]], Field(min_length=1)] = frozenset(
        {"RS256", "ES256", "EdDSA"}
    )
    at_jwt: bool = False

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _secure(cls, value: str | None) -> str | None:
        if value is not None and not is_secure(value):
            raise ValueError(f"{value!r} is not an https URL (http is for this machine's own addresses)")
        return value

    @model_validator(mode="after")
    def _for_somebody(self) -> Self:
        if not self.audiences and not self.client_ids:
            raise ValueError("name audiences or client_ids, or every token of the provider would be for you")
        return self


class IdentitySettings(Environment):
    oidc_issuer: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=1024,
            description="One identity provider whose access tokens are taken: exactly as its tokens name it in `iss`. "
            "Unset means none but those of `CAIO_OIDC_ISSUERS`. Needs the extra `oidc`.",
        ),
    ] = None
    oidc_audience: Annotated[
        tuple[_Name, ...],
        NoDecode,
        Field(
            max_length=32,
            description="For whom the tokens of `CAIO_OIDC_ISSUER` are, comma-separated: what they name in `aud`, or, "
            "of an Amazon Cognito user pool, the ids of its clients.",
        ),
    ] = ()
    oidc_issuers: Annotated[
        tuple[OidcIssuer, ...],
        NoDecode,
        Field(
            max_length=32,
            description="Identity providers whose access tokens are taken, as a JSON list "
            "([how](../how-to/sign-in-with-oidc.md)). Needs the extra `oidc`.",
        ),
    ] = ()

    @field_validator("oidc_audience", mode="before")
    @classmethod
    def _split_audience(cls, value: object) -> object:
        return split(value)

    @field_validator("oidc_issuer")
    @classmethod
    def _secure_issuer(cls, value: str | None) -> str | None:
        if value is not None and not is_secure(value):
            raise ValueError("must be an https URL (http is for this machine's own addresses)")
        return value

    @field_validator("oidc_issuers", mode="before")
    @classmethod
    def _read_issuers(cls, value: object) -> object:
        return read_json(value)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if (self.oidc_issuer is None) != (not self.oidc_audience):
            raise ValueError("CAIO_OIDC_ISSUER and CAIO_OIDC_AUDIENCE: state both, or neither")
        named = [each.issuer for each in self.issuers]
        if len(set(named)) != len(named):
            raise ValueError("CAIO_OIDC_ISSUERS: an issuer is named twice")
        return self

    @property
    def issuers(self) -> tuple[OidcIssuer, ...]:
        """All identity providers whose tokens are taken."""
        if self.oidc_issuer is None:
            return self.oidc_issuers
        addressees = frozenset(self.oidc_audience)
        # By the host, which the operator states: a token must not choose by which rule it is checked.
        if _COGNITO.fullmatch(urlsplit(self.oidc_issuer).hostname or ""):
            return OidcIssuer(issuer=self.oidc_issuer, client_ids=addressees), *self.oidc_issuers
        return OidcIssuer(issuer=self.oidc_issuer, audiences=addressees), *self.oidc_issuers


def read_json(value: object) -> object:
    """What a text of JSON says; anything else as it is. Raises ValueError."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
