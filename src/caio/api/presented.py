"""What a call presents of itself: a credential, the tenant it selects, where it comes from, what trace it is of."""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from typing import Any

from caio.tenancy.addresses import CallerAddresses
from caio.tenancy.authentication import Authenticator
from caio.tenancy.principals import Caller

_READ = {b"authorization", b"traceparent", b"x-tenant-id", b"x-forwarded-for"}


class Presented:
    """These, as the headers of an ASGI scope state them. A header that is sent twice could be read
    differently by a proxy: two credentials are none, and two tenants are one that nobody has. ``traceparent`` is as
    it was stated; nothing depends on it but traces."""

    __slots__ = ("address", "authorization", "tenant", "traceparent")

    def __init__(self, scope: MutableMapping[str, Any], addresses: CallerAddresses) -> None:
        stated: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                stated.setdefault(name, []).append(value)
        client = scope.get("client")
        self.address = addresses.of(client[0] if client else None, stated.get(b"x-forwarded-for", ()))
        self.authorization = _one(stated, b"authorization")
        self.tenant = _one(stated, b"x-tenant-id")
        self.traceparent = _one(stated, b"traceparent")

    def caller(self, authenticator: Authenticator) -> Awaitable[Caller]:
        """Raises as ``Authenticator.authenticate``."""
        return authenticator.authenticate(self.authorization, self.tenant, self.address)


def _one(stated: dict[bytes, list[bytes]], name: bytes) -> str | None:
    values = stated.get(name)
    return None if values is None else b", ".join(values).decode("latin-1")
