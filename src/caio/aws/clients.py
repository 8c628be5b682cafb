"""A client of one AWS service, from the environment that every AWS tool reads.

Region, credentials and endpoint are AWS's own settings (``AWS_REGION``, ``AWS_ENDPOINT_URL``, profiles, the
roles of tasks and instances). Times are short: somebody waits for the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from caio.foundation.errors import Misconfigured

CONNECT_SECONDS = 3
READ_SECONDS = 10
ATTEMPTS = 3
#: Several logs' anchors are searched at a time, each at several places.
CONNECTIONS = 64


@asynccontextmanager
async def aws_client(service: str) -> AsyncIterator[Any]:
    """A client of ``service``, open inside the block; opening it asks AWS nothing.

    Raises Misconfigured when the extra ``aws`` is not installed, or when no region or a wrong setting is found.
    """
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
        from botocore.exceptions import BotoCoreError
    except ModuleNotFoundError as error:
        if error.name not in {"aiobotocore", "botocore"}:
            raise
        raise Misconfigured("AWS needs the extra: pip install 'caio-platform[aws]'.") from error
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        user_agent_extra="caio",
    )
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(get_session().create_client(service, config=config))
        except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
            raise Misconfigured(f"The client of AWS {service} cannot be made: {error}.") from error
        yield client
