"""Where problems come from: one module for each kind of source, loaded by its name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from retrace.problems.base import Source

# Where a run hands the sources of all its sets to its jobs, as JSON by set.
VARIABLE = "RETRACE_SOURCES"


def open_source(config: Mapping[str, Any]) -> Source:
    """The source that a config section describes; its `kind` names the module."""
    module = import_module(f"retrace.problems.{config['kind']}")
    source: Source = module.Source.model_validate(config)
    return source
