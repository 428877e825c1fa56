"""What takes long, or needs more of a machine than tests may, runs by `make faults` alone."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("LOOPLINE_FAULTS"):
        return
    skip = pytest.mark.skip(reason="runs with `make faults`")
    for item in items:
        if item.get_closest_marker("heavy"):
            item.add_marker(skip)
