"""The request path: what is decided on, what is admitted, who is called, what is booked."""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import new_id, now, process_identity
from caio.bootstrap.metering import Metering
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.foundation.errors import Misconfigured
from caio.gateway.answer_cache import AnswerCache, KeptAnswers
from caio.gateway.attempts import Attempts
from caio.gateway.books import Books
from caio.gateway.breakers import Breakers
from caio.gateway.credentials import Credentials
from caio.gateway.pipeline import Gateway
from caio.gateway.ports import HeldCalls, OperatorKeys, SharedHealth
from caio.gateway.sharing import Sharing
from caio.gateway.starts import Starts
from caio.gateway.streams import Patience, Streams
from caio.gateway.waiting import SlotQueues, WakingAdmission
from caio.observability.metrics import Metrics
from caio.providers import Processes, providers
from caio.providers.outbound import OutboundClient
from caio.registry.histories import Histories
from caio.registry.service_limits import ServiceLimits
from caio.registry.views import Views
from caio.storage.memory.admission import InProcessAdmission
from caio.storage.memory.answers import AnswersInMemory
from caio.storage.memory.health import Board, BoardHealth

if TYPE_CHECKING:
    from caio.storage.redis.admission import RedisAdmission


@dataclass(frozen=True, slots=True)
class RequestPath:
    views: Views
    histories: Histories
    admission: InProcessAdmission | RedisAdmission
    limiter: RedisAdmission | None
    held: HeldCalls | None
    service_limits: ServiceLimits
    gateway: Gateway
    streams: Streams
    starts: Starts


async def open_gateway(
    stack: AsyncExitStack,
    settings: Settings,
    storage: Storage,
    audit: Audit,
    metering: Metering,
    outbound: OutboundClient,
    metrics: Metrics,
) -> RequestPath:
    """Raises Misconfigured for a Redis that must not be used; one that does not answer is no reason not to start."""
    stores, several = storage.stores, settings.several_processes
    histories = Histories(stores.snapshots, stores.seen_attempts if several else None)
    views = Views(stores.contracts, stores.policies, stores.snapshots, alone=not several)
    stack.push_async_callback(views.stop)
    limiter, held, shared = await _limiter(stack, settings, storage)
    admission = limiter or InProcessAdmission(stores.admission_records)
    breakers, queues, starts = Breakers(), SlotQueues(), Starts(settings.max_calls_at_once)
    waking = WakingAdmission(admission, queues)
    for each in (Sharing(breakers, shared), starts):
        await each.start()
        stack.push_async_callback(each.stop)
    limits = ServiceLimits(stores.service_limits, stores.contracts, audit.acts, now, time.monotonic)
    books = Books(audit.journal, audit.vault, waking, histories, now, os.urandom, metrics)
    processes = Processes(settings.process_commands)
    stack.push_async_callback(processes.close)
    credentials = Credentials(stores.secrets, audit.vault, await _operator_keys(stack, settings))
    attempts = Attempts(providers(outbound, processes), credentials)
    gateway = Gateway(
        views,
        histories,
        waking,
        limits,
        attempts,
        books,
        stores.idempotency,
        audit.vault,
        metering.storage_gauge,
        AnswerCache(_kept_answers(stack, settings), audit.vault, now),
        breakers,
        queues,
        now,
        new_id,
        metrics,
    )
    streams = Streams(gateway, Patience(settings.first_token_seconds, settings.stream_idle_seconds))
    return RequestPath(views, histories, admission, limiter, held, limits, gateway, streams, starts)


async def _operator_keys(stack: AsyncExitStack, settings: Settings) -> OperatorKeys | None:
    """What the operator lends to services; None where it is nothing."""
    if not settings.aws_role_services:
        return None
    from caio.aws.role import RoleKeys

    keys = RoleKeys(settings.aws_role_services, os.environ.get("AWS_ENDPOINT_URL_BEDROCK_RUNTIME"))
    stack.push_async_callback(keys.stop)
    await keys.start()
    return keys


def _kept_answers(stack: AsyncExitStack, settings: Settings) -> KeptAnswers:
    """Where answers are kept that callers may want again."""
    if (url := settings.answers_url) is None:
        return AnswersInMemory()
    try:
        from caio.storage.redis.answers import AnswersInRedis
    except ModuleNotFoundError as error:
        raise _without_redis(error) from error
    answers = AnswersInRedis(url)
    stack.push_async_callback(answers.stop)
    return answers


def _without_redis(error: ModuleNotFoundError) -> Exception:
    if error.name != "redis":
        return error
    return Misconfigured("Redis needs the extra: pip install 'caio-platform[redis]'.")


async def _limiter(
    stack: AsyncExitStack, settings: Settings, storage: Storage
) -> tuple[RedisAdmission | None, HeldCalls | None, SharedHealth]:
    """What several processes keep their limits in, who ends what they leave behind looks into, and where they tell
    each other of services that fail."""
    if (url := settings.limits_url) is None:
        return None, None, BoardHealth(Board())
    try:
        from caio.storage.redis.admission import RedisAdmission
        from caio.storage.redis.client import Client
        from caio.storage.redis.health import HealthInRedis
        from caio.storage.redis.heartbeats import Heartbeats
        from caio.storage.redis.held import HeldInRedis
    except ModuleNotFoundError as error:
        raise _without_redis(error) from error
    client, records = Client(url), storage.stores.admission_records
    admission = RedisAdmission(client, Heartbeats(client, process_identity()), records, settings.processes)
    stack.push_async_callback(admission.stop)
    await admission.start()
    return admission, HeldInRedis(client, admission, now), HealthInRedis(client)
