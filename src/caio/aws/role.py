"""The operator's own AWS credentials, lent to the services that the operator has named.

Theory of operation
-------------------
A contract of the scheme ``aws`` that names no stored secret asks to be signed for as this process: the role of its
task, a web identity, keys in its environment, or whatever else AWS's own chain of providers finds. A contract is a
tenant's text, so this would make the process everybody's deputy. Hence nothing is lent unless the operator says so:

- by the service's *owner* and name (``TENANT/SERVICE``, or ``TENANT/*``). A service of the same name that another
  tenant registers is another one. Who may call a service is the contract's and the decision's matter, as ever.
- only to Amazon's own addresses of Bedrock's runtime, over TLS, or to the one that the operator has set
  (``AWS_ENDPOINT_URL_BEDROCK_RUNTIME``): a session's token is sent with each request, and goes nowhere else.

What may be done with the role at all is for its policy in IAM to say.

Credentials are renewed in the background, minutes before they end; a call reads memory. While they cannot be renewed
those at hand serve until they end, and then nothing is signed.

Laws (each has a test of the same name)
---------------------------------------
- nothing_is_lent_that_was_not_named, by owner and name, and to no other address.
- renewed_before_they_end, and no call waits for it.
- ended_credentials_sign_nothing.

Not checked: whether the role may call the model; the service's answer says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from caio.contracts.aws_region import region_of
from caio.foundation.errors import Misconfigured, UpstreamFailed, UpstreamFault
from caio.gateway.credentials import not_lent
from caio.gateway.ports import Target

#: How often is looked whether credentials are to be renewed. AWS's chain does so from 15 minutes before their end.
RENEW_SECONDS = 30.0

#: How long a start waits for the first ones.
FIRST_SECONDS = 5.0

ANY = "*"

_logger = structlog.get_logger("caio.aws")


class RoleKeys:
    """The ``OperatorKeys`` port. ``lent_to`` holds ``TENANT/SERVICE`` and ``TENANT/*``; ``endpoint`` is the address
    that the operator has set for Bedrock's runtime. Raises Misconfigured when the extra ``aws`` is not installed."""

    def __init__(self, lent_to: Collection[str], endpoint: str | None = None, every: float = RENEW_SECONDS) -> None:
        try:
            from aiobotocore.session import get_session
        except ModuleNotFoundError as error:
            raise Misconfigured("AWS needs the extra: pip install 'caio-platform[aws]'.") from error
        self._lent_to = frozenset(lent_to)
        self._endpoint = endpoint
        self._every = every
        self._session = get_session()
        self._credentials: Any = None
        self._secret: str | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for credentials, and keep them fresh from now on. That there are none yet stops nobody."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._renew()
        self._renewing = asyncio.create_task(self._keep_fresh())

    async def stop(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing

    def secret(self, owner: str, target: Target) -> str:
        """The key that signs for the service, written as a stored secret is (``providers.bedrock``). Raises
        UpstreamFailed AUTH where nothing is lent, and while there is nothing to lend."""
        if not self._lent_to & {f"{owner}/{target.service_id}", f"{owner}/{ANY}"}:
            raise not_lent(target.service_id)
        if not self._is_at_home(target.base_url):
            raise _unusable(target, "names an address that is not Bedrock's, where the operator's role signs nothing")
        if self._secret is None:
            raise _unusable(target, "is lent the operator's role, of which AWS's chain finds no credentials")
        if _ended(self._credentials):
            raise _unusable(target, "is lent the operator's role, whose credentials ended and cannot be renewed")
        return self._secret

    def _is_at_home(self, base_url: str) -> bool:
        if self._endpoint is not None and base_url.rstrip("/") == self._endpoint.rstrip("/"):
            return True
        return base_url.lower().startswith("https://") and region_of(base_url) is not None

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._renew()

    async def _renew(self) -> None:
        try:
            if self._credentials is None:
                self._credentials = await self._session.get_credentials()
            if self._credentials is None:
                _logger.warning("no credentials for the services that the operator's role is lent to")
                return
            self._secret = _written(await self._credentials.get_frozen_credentials())
        except Exception as error:  # noqa: BLE001 - a provider of the chain may fail with anything; those at hand go on
            _logger.warning("the operator's credentials cannot be renewed", error=type(error).__name__)


def _unusable(target: Target, why: str) -> UpstreamFailed:
    return UpstreamFailed(f"Service {target.service_id!r} was not called: it {why}", UpstreamFault.AUTH)


def _ended(credentials: Any) -> bool:
    """Whether they have an end, and it is over. Those that stay the same have none."""
    needed = getattr(credentials, "refresh_needed", None)
    return needed is not None and bool(needed(refresh_in=0))


def _written(frozen: Any) -> str:
    document = {"access_key_id": frozen.access_key, "secret_access_key": frozen.secret_key}
    return msgspec.json.encode(document | ({"session_token": frozen.token} if frozen.token else {})).decode()
