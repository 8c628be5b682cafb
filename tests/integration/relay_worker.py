"""A process that delivers events until it is killed.

Run as ``python relay_worker.py LEASE_SECONDS`` with the database URL on standard input. Prints a line once it works.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from ipaddress import ip_network

from caio.foundation.ids import ulid
from caio.providers.outbound import OutboundClient
from caio.providers.webhooks import WebhookReceiver
from caio.storage.sql import Database, open_stores
from caio.tenancy.webhooks import Webhooks
from caio.worker.loop import Loop, Worker
from caio.worker.relay import Relay
from tests.support.acts import acts_over

LOCAL = (ip_network("127.0.0.0/8"),)


def now() -> int:
    return time.time_ns() // 1000


async def main(url: str, lease: int) -> None:
    database = await Database.open(url)
    stores = open_stores(database)
    acts, vault = acts_over(stores, now())
    async with OutboundClient(LOCAL) as outbound:
        receiver = WebhookReceiver(outbound, LOCAL)
        webhooks = Webhooks(
            stores.webhooks,
            stores.acts,
            acts,
            vault,
            receiver,
            now,
            lambda prefix: ulid(prefix, now(), os.urandom(10)),
            os.urandom,
        )
        relay = Relay(stores.events, stores.events, webhooks, [], now, lease_seconds=lease)
        worker = Worker([Loop("relay", 0.02, relay.step, finish=relay.finish)])
        await worker.start()
        print("works", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.readline().strip(), int(sys.argv[1])))
