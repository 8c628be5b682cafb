"""A process that rolls usage up until it is killed or nothing is left.

Run as ``python usage_roller.py BATCH`` with the database URL on standard input. Prints ``ready`` once it is
connected and the number of leaves of each batch once the batch is committed.
"""

import asyncio
import sys

from caio.foundation.scope import TenantScope
from caio.storage.sql import Database, open_stores


async def main(url: str, batch: int) -> None:
    database = await Database.open(url)
    usage = open_stores(database).usage
    print("ready", flush=True)
    for tenant_id in await usage.waiting():
        while leaves := await usage.take_in(TenantScope(tenant_id), batch):
            print(leaves, flush=True)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.readline().strip(), int(sys.argv[1])))
