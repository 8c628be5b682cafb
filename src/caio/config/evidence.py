"""Keys, and the evidence that they sign: the audit logs, where they are anchored, who cosigns them."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from caio.config.values import BUCKET, Bucket, Environment, WitnessAddress, split

_WITNESS = re.compile(r"(?P<url>https?://[^\s=]+)=(?P<key>[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)")

#: What a secret begins with that is key material itself, in base64, and not a text to derive it from.
RAW_KEY = "base64:"

#: Base64 of 256 random bits has this many characters without its padding.
SECRET_CHARACTERS = 43
_KEY_BYTES = 32

#: What the audit logs' names begin with where nobody says otherwise.
NO_ORIGIN = "caio.localhost"

_SECRET_FORM = (
    f"At least {SECRET_CHARACTERS} characters, of which the key is derived: `openssl rand -base64 48`; or `{RAW_KEY}` "
    f"and the key's {_KEY_BYTES} bytes."
)


def _key_source(secret: SecretStr) -> str | bytes:
    """What a key is made of: a text to derive it from, or the key's own bytes."""
    text = secret.get_secret_value()
    return raw_key(text) or text


def raw_key(secret: str) -> bytes | None:
    """The bytes of a secret that is key material itself, None for a text. Raises ValueError for other than 32."""
    if not secret.startswith(RAW_KEY):
        return None
    try:
        key = base64.b64decode(secret.removeprefix(RAW_KEY), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(f"after {RAW_KEY} must come {_KEY_BYTES} bytes in base64, {SECRET_CHARACTERS + 1} characters")
    return key


class KeySettings(Environment):
    auth_secret_key: Annotated[
        SecretStr | None,
        Field(
            min_length=SECRET_CHARACTERS,
            description="The secret of the installation's master key, which opens what is stored and tells API keys. "
            f"{_SECRET_FORM} Unset means `keys/master.key` in the data directory. Never changes.",
        ),
    ] = None
    signing_secret: Annotated[
        SecretStr | None,
        Field(
            min_length=SECRET_CHARACTERS,
            description="The secret of the key that signs receipts and checkpoints. In the same form. Unset means "
            "`keys/signing` in the data directory. [How to change it](../how-to/run-several-processes.md#keys).",
        ),
    ] = None
    retired_signing_keys: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            max_length=100,
            description="Public keys that verify beside the one of `CAIO_SIGNING_SECRET`: those that signed before, "
            "or will. Comma-separated, in base64, as `caio signing-key rotate` prints them.",
        ),
    ] = ()
    kms_key_id: Annotated[
        str | None,
        Field(
            min_length=1,
            description="Id, ARN or alias of the KMS key that wraps the tenants' data keys; unset means the master "
            "key. Fixed at first start. Needs the extra `aws`.",
        ),
    ] = None

    @field_validator("auth_secret_key", "signing_secret")
    @classmethod
    def _of_its_form(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            raw_key(value.get_secret_value())
        return value

    @field_validator("retired_signing_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return split(value)

    @field_validator("retired_signing_keys")
    @classmethod
    def _public_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                sound = len(base64.b64decode(each, validate=True)) == _KEY_BYTES
            except binascii.Error:
                sound = False
            if not sound:
                raise ValueError("each is a public key of 32 bytes in base64, 44 characters")
        return value

    @model_validator(mode="after")
    def _retired_beside_an_active_one(self) -> Self:
        if self.retired_signing_keys and self.signing_secret is None:
            raise ValueError(
                "CAIO_RETIRED_SIGNING_KEYS: is for the keys of CAIO_SIGNING_SECRET, which is unset; those of the data "
                "directory are in keys/signing/retired"
            )
        return self

    @property
    def master_source(self) -> str | bytes | None:
        """What the master key is made of, None where it is a file."""
        return None if self.auth_secret_key is None else _key_source(self.auth_secret_key)

    @property
    def signing_source(self) -> str | bytes | None:
        """What the signing key is made of, None where it is a file."""
        return None if self.signing_secret is None else _key_source(self.signing_secret)

    @property
    def retired_public_keys(self) -> tuple[bytes, ...]:
        return tuple(base64.b64decode(each) for each in self.retired_signing_keys)


class AuditSettings(Environment):
    audit_origin: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9._:~-]+(/[A-Za-z0-9._:~-]+)*$",
            max_length=128,
            description="What the names of the audit logs begin with, a host's name of yours for instance; the "
            "tenant's id follows. Fixed for a log at its first checkpoint.",
        ),
    ] = NO_ORIGIN
    audit_checkpoint_seconds: Annotated[
        int, Field(ge=1, le=3600, description="How often new entries are taken into the logs' trees.")
    ] = 1
    anchor: Annotated[
        str | None,
        Field(
            description="Where checkpoints are anchored: a directory, `s3://bucket/prefix`, or `none`; unset means "
            "`anchors` in the data directory."
        ),
    ] = None
    anchor_every_seconds: Annotated[
        int, Field(ge=1, le=86400, description="How often a log that has grown is anchored.")
    ] = 60
    anchor_retention_days: Annotated[
        int,
        Field(
            ge=1, le=36500, description="How long S3 keeps an anchored checkpoint. Nobody can shorten it afterwards."
        ),
    ] = 7 * 365
    witnesses: Annotated[
        tuple[WitnessAddress, ...],
        NoDecode,
        Field(description="Witnesses that cosign checkpoints, comma-separated, each `URL=verifier key`."),
    ] = ()

    @field_validator("anchor")
    @classmethod
    def _known_anchor(cls, value: str | None) -> str | None:
        if value is not None and (not value or ("://" in value and not BUCKET.fullmatch(value))):
            raise ValueError("must be a directory, s3://bucket/prefix or none")
        return value

    @field_validator("witnesses", mode="before")
    @classmethod
    def _read_witnesses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = [(part.strip(), _WITNESS.fullmatch(part.strip())) for part in value.split(",") if part.strip()]
        if wrong := [part for part, match in found if match is None]:
            raise ValueError(f"{wrong[0]!r} is not of the form https://witness.example=name+hash+key")
        return tuple(WitnessAddress(match["url"], match["key"]) for _, match in found if match)

    @property
    def anchor_bucket(self) -> Bucket | None:
        """The bucket to anchor in, None when there is none."""
        found = BUCKET.fullmatch(self.anchor or "")
        return Bucket(found["bucket"], (found["prefix"] or "").strip("/")) if found else None
