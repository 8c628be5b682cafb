"""Nobody starts an hour's soak by accident: its tests are skipped unless ``-m`` names them, as `make soak` does."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("-m") != "soak":
        for item in items:
            if item.get_closest_marker("soak") is not None:
                item.add_marker(pytest.mark.skip(reason="make soak runs it"))
