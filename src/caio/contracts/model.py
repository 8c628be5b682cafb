"""A contract: a service's versioned, immutable promise.

The models hold the shape; ``rules`` holds what ties fields together. An instance keeps both,
however it was made. ``document`` is the canonical content: what is hashed, stored, shown as
evidence and read by the kernel and by expressions. Absent fields are left out of it, decimals are
text, sets are sorted lists.

Laws (each has a test of the same name)
---------------------------------------
- documents_round_trip: parsing a contract's document gives an equal contract.
- digests_ignore_form: key order, YAML or JSON, ``0.5`` or ``"0.50"``: one digest.
- broken_contracts_do_not_construct: no instance breaks a rule.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from caio.contracts.fields import (
    FLAWS,
    Amount,
    AuthScheme,
    AwsRegion,
    BaseUrl,
    Count,
    Currency,
    EndpointPath,
    FreeForm,
    Identifier,
    Line,
    Listed,
    Maybe,
    Names,
    Permissions,
    Price,
    Prose,
    Quantity,
    Ratio,
    Regions,
    SecretRef,
    SemanticVersion,
    Sentence,
    ServiceId,
)
from caio.contracts.json_schema_field import JsonSchema
from caio.contracts.rules import broken_rules
from caio.contracts.vocabulary import Protocol, TrustLevel
from caio.foundation import hashing


class Part(BaseModel):
    """A mapping of named fields. Unknown ones are refused here; ``parse`` turns them into warnings."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class Limits(Part):
    """How much one call may hold."""

    max_tokens: Maybe[Count] = Field(None, description="Most tokens in one answer.")
    context_length: Maybe[Count] = Field(None, description="Most tokens of question and answer together.")
    max_input_bytes: Maybe[Count] = Field(None, description="Most bytes in one request's payload.")


class Capability(Part):
    """One thing the service can do; the name alone is enough when there is no more to say."""

    type: Identifier = Field(description="What requests ask for.", examples=["chat", "embeddings", "summarize"])
    parameters: Maybe[FreeForm] = Field(None, description="Anything the service's callers should know.")
    limits: Maybe[Limits] = None
    features: Names = Field((), description="Optional abilities.", examples=[["streaming", "tools"]])

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        own = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [{**own["properties"]["type"], "title": "Capability"}, own]}


class Promise(Part):
    """A bound, and how it is known."""

    verified: Maybe[Literal["measured", "declared"]] = Field(None, description="How the bound is known.")
    test_set: Maybe[Line] = Field(None, description="The data it was measured on.")


class UpperBounds(Promise):
    """Most that the property reaches: in half of the calls, in 95 %, in 99 %, or ever."""

    p50: Maybe[Amount] = None
    p95: Maybe[Amount] = None
    p99: Maybe[Amount] = None
    max: Maybe[Amount] = None


class LeastRatio(Promise):
    """A share of calls, from 0 to 1, that the service does not fall below."""

    min: Ratio


class MostRatio(Promise):
    """A share of calls, from 0 to 1, that the service does not exceed."""

    max: Ratio


class LeastAmount(Promise):
    """An amount that the service does not fall below."""

    min: Amount


class Determinism(Promise):
    """Equal requests get equal answers; seed_required if only with a seed."""

    seed_required: bool


class Bounds(Promise):
    """Bounds on a property of the tenant's own naming."""

    min: Maybe[Quantity] = None
    p50: Maybe[Quantity] = None
    p95: Maybe[Quantity] = None
    p99: Maybe[Quantity] = None
    max: Maybe[Quantity] = None


class Guarantees(Part):
    """Bounds on named properties. Other names may be added, in lower case, such as toxicity: {max: 0.01}."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Bounds] = Field(init=False)

    latency_ms: Maybe[UpperBounds] = Field(None, description="Milliseconds to the whole answer.")
    first_token_ms: Maybe[UpperBounds] = Field(None, description="Milliseconds to a stream's first token.")
    accuracy: Maybe[LeastRatio] = None
    availability: Maybe[LeastRatio] = None
    throughput: Maybe[LeastAmount] = Field(None, description="Requests a second.")
    error_rate: Maybe[MostRatio] = None
    determinism: Maybe[Determinism] = None


class RateLimit(Part):
    per_minute: Maybe[Count] = None
    per_hour: Maybe[Count] = None


class Requirements(Part):
    """What the service itself needs in order to run."""

    gpu: bool = False
    internet: bool = False


class Constraints(Part):
    """What the service asks its callers to keep to."""

    max_concurrent_requests: Maybe[Count] = None
    rate_limit: Maybe[RateLimit] = None
    context_length: Maybe[Count] = None
    requires: Requirements = Requirements()


class Cost(Part):
    """Prices; what is left out costs nothing. Up to 12 decimal places, as numbers or as text."""

    currency: Currency = "USD"
    per_request: Maybe[Price] = None
    per_input_token: Maybe[Price] = None
    per_output_token: Maybe[Price] = None
    per_second: Maybe[Price] = None


class Encryption(Part):
    in_transit: bool = False
    at_rest: bool = False
    type: Maybe[Line] = Field(None, examples=["aes-256"])


def _place_or_regions(value: Any) -> str:
    return "regions" if isinstance(value, list | tuple) else "place"


DataLocality = Annotated[
    Annotated[Literal["on_device", "private", "cloud"], Tag("place")] | Annotated[Regions, Tag("regions")],
    Discriminator(_place_or_regions),
]


class Privacy(Part):
    """Where data goes and how it is kept. Silence about training means that it may happen."""

    data_locality: DataLocality = Field("cloud", description="A place, or a list of regions.")
    encryption: Encryption = Encryption()
    data_retention_days: Maybe[Annotated[int, Field(ge=0, le=36_500)]] = None
    trains_on_data: Maybe[bool] = None
    compliance: Names = Field((), examples=[["gdpr", "hipaa", "iso27001", "pci_dss", "soc2"]])


class Alignment(Part):
    safety_level: Maybe[Identifier] = None
    content_filtering: Maybe[bool] = None
    bias_mitigation: Maybe[bool] = None
    toxicity_filtering: Maybe[bool] = None


class RequiredPermissions(Part):
    all_of: Permissions = ()
    any_of: Permissions = ()


class Access(Part):
    """Who may use the service, within its tenant or (shared by the platform) in any."""

    required_permissions: RequiredPermissions = RequiredPermissions()
    required_trust_level: Maybe[TrustLevel] = None
    visibility: Literal["tenant", "shared"] = "tenant"


class Endpoint(Part):
    path: EndpointPath
    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    capability: Maybe[Identifier] = Field(None, description="The capability it serves; all of them if left out.")
    input_schema: Maybe[JsonSchema] = Field(None, description="JSON Schema of the request's body.")
    output_schema: Maybe[JsonSchema] = Field(None, description="JSON Schema that every answer is checked against.")


class Auth(Part):
    """How CAIO authenticates itself to the service; the secret is stored elsewhere, by name. Of the scheme ``aws``
    it is a JSON object: access_key_id, secret_access_key and, for temporary ones, session_token; without one the
    operator's own role signs, where the operator lends it to the service."""

    scheme: AuthScheme
    secret_ref: Maybe[SecretRef] = None


class Api(Part):
    """How the service is called."""

    protocol: Protocol
    base_url: Maybe[BaseUrl] = None
    endpoints: Listed[Endpoint] = ()
    auth: Maybe[Auth] = None
    timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 30_000
    model: Maybe[Line] = Field(None, description="The model's name at the provider.")
    region: Maybe[AwsRegion] = Field(
        None, description="The region that signatures of the scheme aws are for, where base_url does not name it."
    )
    command: Maybe[Identifier] = Field(
        None, description="Of the commands that the operator has named, the one to run; the service's id if left out."
    )


class Contract(Part):
    """A service's versioned, immutable promise."""

    service_id: ServiceId
    name: Line
    version: SemanticVersion
    description: Maybe[Prose] = None
    tags: Names = ()
    owner: Maybe[Line] = None
    capabilities: Annotated[tuple[Capability, ...], Field(strict=False, min_length=1, max_length=64)]
    guarantees: Guarantees = Guarantees()
    constraints: Constraints = Constraints()
    cost: Cost = Cost()
    privacy: Privacy = Privacy()
    alignment: Maybe[Alignment] = None
    access: Access = Access()
    api: Api
    invariants: Maybe[Listed[Sentence]] = Field(None, description="Promises in words, for people to read.")
    metadata: Maybe[FreeForm] = None

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Contract:
        if flaws := list(broken_rules(self.document())):
            raise PydanticCustomError(FLAWS, "{first}", {"first": flaws[0][1], "flaws": flaws})
        return self

    def document(self) -> dict[str, Any]:
        """The canonical content, as a fresh value in the canonical JSON domain."""
        return self.model_dump(mode="json", exclude_none=True)

    @cached_property
    def digest(self) -> str:
        """The hash that names this content, in evidence and in decisions."""
        return hashing.digest_of(hashing.CONTRACT, self.document())

    def __hash__(self) -> int:
        return hash(self.digest)
