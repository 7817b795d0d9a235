"""Weights copied to a node's own disk before they are loaded."""

from __future__ import annotations

VARIABLE = "RETRACE_SCRATCH"
