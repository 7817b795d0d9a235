"""Of all tests: what counts as slow, and that slow files come first."""

from __future__ import annotations

import pytest

# What takes minutes is slow too: `pytest -m "not slow"` is for daily work.
MINUTES = ("long", "cluster", "demo")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Two processes would start two clusters: one, unless there can be none."""
    if not any(f"not {name}" in config.option.markexpr for name in ("cluster", "slow")):
        config.option.numprocesses = 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.get_closest_marker(name) for name in MINUTES):
            item.add_marker("slow")
    # Files are divided among processes: the long ones must not be the last to start.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
