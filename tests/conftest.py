"""Of all tests."""

from __future__ import annotations

import pytest

# What takes minutes is slow too: `pytest -m "not slow"` is for daily work.
MINUTES = ("long", "cluster", "demo")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.get_closest_marker(name) for name in MINUTES):
            item.add_marker("slow")
