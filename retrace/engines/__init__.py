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
from typing import Any

from pydantic import BaseModel, ValidationError

from retrace.engines.base import Engine, EngineError

PLUMBING = ("base", "guard", "lending")
# Only describes a model that is never asked.
IMPORTED = "imported"


def names() -> list[str]:
    """The kinds of engine there are."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name not in (*PLUMBING, IMPORTED))


def all_settings() -> list[type[BaseModel]]:
    """The settings of every kind, as a config may state them."""
    modules = [importlib.import_module(f"{__name__}.{n}") for n in [*names(), IMPORTED]]
    return [module.Settings for module in modules]


def load(settings: Mapping[str, Any], weights: str, revision: str, log: Path) -> Engine:
    """The engine that `settings["kind"]` names; nothing is started yet.

    `weights` is a directory, a hub id, or the name that an API knows the model by;
    `revision` pins it where the directory does not; `log` is the file for a server's
    own output.

    Raises:
        EngineError: there is no such engine, the settings do not fit it, or the
            weights are not there.
    """
    kind = settings.get("kind")
    if kind not in names():
        raise EngineError(
            f"engine kind {kind!r} is unknown, expected one of {', '.join(names())}"
        )
    module = importlib.import_module(f"{__name__}.{kind}")
    try:
        checked = module.Settings.model_validate(settings)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_url=False)
        )
        raise EngineError(
            f"the settings do not fit the engine {kind}: {told}"
        ) from None
    engine: Engine = module.make(checked, weights, revision, log)
    return engine
