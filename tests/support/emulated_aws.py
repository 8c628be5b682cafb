"""AWS as moto emulates it: a server in a process of its own, on a free port of 127.0.0.1.

A test is given its address by the environment that AWS's own clients read, so that the code under test
cannot tell. What moto does not do is named in docs/how-to/anchor-checkpoints.md. One thing it does wrong is
put right below.

    python -m tests.support.emulated_aws PORT
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.emulators import emulator, port_for_an_emulator

ROOT = Path(__file__).parents[2]
SECONDS = 60

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@contextmanager
def emulated_aws(folder: Path) -> Iterator[dict[str, str]]:
    """The environment that leads AWS's clients to a fresh emulated account while the block runs."""
    port = port_for_an_emulator()
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.emulated_aws", str(port)]
    surroundings = os.environ | CREDENTIALS
    with emulator(command, port, folder, environment=surroundings, at=ROOT, seconds=SECONDS) as address:
        yield CREDENTIALS | {"AWS_ENDPOINT_URL": address}


def _list_versions_as_s3_does() -> None:
    """Behind a key marker moto 5 drops one version too many: give it the id of the version before the list."""
    from moto.s3.models import S3Backend

    backend: Any = S3Backend
    plain = backend.list_object_versions

    def list_object_versions(
        self: Any,
        bucket_name: str,
        delimiter: str | None = None,
        key_marker: str | None = None,
        max_keys: int | None = 1000,
        prefix: str = "",
        version_id_marker: str | None = None,
    ) -> Any:
        if key_marker and not version_id_marker:
            versions, _, markers, *_ = plain(self, bucket_name, max_keys=1_000_000, prefix=prefix)
            behind = [each for each in (*versions, *markers) if each.name <= key_marker]
            behind.sort(key=lambda each: (each.name, -each.last_modified.timestamp()))
            key_marker = behind[-1].name if behind else None
            version_id_marker = behind[-1].version_id if behind else None
        return plain(self, bucket_name, delimiter, key_marker, max_keys, prefix, version_id_marker)

    backend.list_object_versions = list_object_versions


if __name__ == "__main__":
    from moto.server import main

    _list_versions_as_s3_does()
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
