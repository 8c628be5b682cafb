"""`caio db upgrade` told to end in the middle: at once, with a code that says so, and nothing half done.

It waits behind a table of the same name that another transaction is making, when most of its own tables are made.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.caio_command import CAIO

#: Of the last migration.
LATE_TABLE = "workflow_runs"
SECONDS = 60
AS_FIRST_PROCESS = ("unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child")

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


@pytest.fixture
async def observer(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


def start(words: Sequence[str], url: str, folder: Path) -> subprocess.Popen[bytes]:
    """The upgrade as a process; what it says is in `folder`/said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIO_")}
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            [*words, CAIO, "db", "upgrade"],
            env={**environment, "CAIO_DATABASE_URL": url, "CAIO_DATA_DIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def may_make_namespaces() -> bool:
    return bool(shutil.which("unshare")) and not subprocess.run([*AS_FIRST_PROCESS, "true"], check=False).returncode


def only_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


async def ended_in_the_middle(
    process: subprocess.Popen[bytes], told: Callable[[], int], url: str, observer: asyncpg.Connection, wait_for: Any
) -> int:
    """The exit code of an upgrade whose process, `told()`, is told to end while it waits for a table."""
    other = await asyncpg.connect(url)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(f"CREATE TABLE {LATE_TABLE} (id int)")

        async def waits() -> bool:
            assert process.poll() is None, "it ended before it was told to"
            return bool(await observer.fetchval(WAITING))

        await wait_for(waits, seconds=SECONDS)
        os.kill(told(), signal.SIGTERM)
        return await asyncio.to_thread(process.wait, 8)  # PostgreSQL itself would end the wait after ten
    finally:
        await transaction.rollback()
        await other.close()
        process.kill()
        process.wait()


async def nothing_is_left(observer: asyncpg.Connection) -> bool:
    return bool(await observer.fetchval(OURS) == 0 and await observer.fetchval(TABLES) == 0)


async def test_a_first_process_that_is_told_to_end_ends_and_leaves_nothing(
    postgres_url, observer, tmp_path, wait_for_async
):
    """What a container's process is: the kernel lets no signal end it that it does not handle."""
    if not may_make_namespaces():
        pytest.skip("no namespace of processes may be made here (unshare --user --pid)")
    process = start(AS_FIRST_PROCESS, postgres_url, tmp_path)
    code = await ended_in_the_middle(process, lambda: only_child(process.pid), postgres_url, observer, wait_for_async)
    assert code == 128 + signal.SIGTERM
    said = (tmp_path / "said").read_text()
    assert "upgrade again" in said
    assert "Traceback" not in said
    await wait_for_async(lambda: nothing_is_left(observer))


async def test_an_upgrade_that_was_ended_is_done_by_the_next(postgres_url, observer, tmp_path, wait_for_async):
    process = start((), postgres_url, tmp_path)
    assert await ended_in_the_middle(process, lambda: process.pid, postgres_url, observer, wait_for_async) == 143
    again = start((), postgres_url, tmp_path)
    assert await asyncio.to_thread(again.wait, SECONDS) == 0
    assert await observer.fetchval(TABLES) > 10
