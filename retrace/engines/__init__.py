"""How a model is reached. Each engine is one module here, loaded by its name.

An engine module holds `Settings`, a pydantic model with `kind: Literal["<name>"]`, and
`make(settings, weights, revision, log)`, which returns a `retrace.engines.base.Engine`,
`SOFTWARE`, the packages whose versions can change an answer, and `OPERATION`, the
settings that cannot. Nothing else has to know of it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrace.engines.base import Engine

# Modules that are no engine; `imported` only describes a model that is never asked.
PLUMBING = ("base", "guard", "imported", "lending")


def names() -> list[str]:
    """The kinds of engine there are."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name not in PLUMBING)


def load(settings: Mapping[str, Any], weights: str, revision: str, log: Path) -> Engine:
    """The engine that `settings["kind"]` names; nothing is started yet.

    `weights` is a directory, a hub id, or the name that an API knows the model by;
    `revision` pins it where the directory does not; `log` is the file for a server's
    own output.

    Raises:
        ValueError: there is no such engine, or the settings do not fit it.
    """
    kind = settings.get("kind")
    if kind not in names():
        raise ValueError(
            f"engine kind {kind!r} is unknown, expected one of {', '.join(names())}"
        )
    module = importlib.import_module(f"{__name__}.{kind}")
    engine: Engine = module.make(
        module.Settings.model_validate(settings), weights, revision, log
    )
    return engine
