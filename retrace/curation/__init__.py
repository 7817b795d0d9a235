"""Curation: from judged traces to a training set that one can defend.

`Settings` is what a recipe says about it. The stages are modules of this package, in
their order: `candidates`, `select`, `decontaminate`, `deduplicate`, `mix`; `build` runs
them and counts, `card` tells what was counted. Nothing heavy is imported from here.
"""

from retrace.curation.settings import Settings

__all__ = ["Settings"]
