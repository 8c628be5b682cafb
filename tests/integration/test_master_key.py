"""A database is of use with the master key it was made with only, and the start says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from caio.bootstrap import open_installation
from caio.config import read_settings
from caio.foundation.errors import SealBroken


@pytest.mark.parametrize("happened", ["lost", "another's"])
async def test_a_start_without_the_databases_master_key_fails(tmp_path: Path, happened: str) -> None:
    settings = read_settings(data_dir=tmp_path / "data")
    async with open_installation(settings):
        pass
    key = tmp_path / "data" / "keys" / "master.key"
    made_with = key.read_bytes()
    key.unlink()
    if happened == "another's":
        key.write_bytes(bytes(len(made_with)))
        key.chmod(0o600)
    with pytest.raises(SealBroken, match="Put back the master key file"):
        async with open_installation(settings):
            pass
    key.write_bytes(made_with)
    async with open_installation(settings):
        pass
