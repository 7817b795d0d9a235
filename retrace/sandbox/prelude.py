"""The modules that programs find: imported before they run, and no others."""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What contest programs import, and what those modules load lazily.
_STANDARD = _names("""
    abc array ast base64 bisect calendar cmath collections collections.abc
    contextlib copy ctypes dataclasses datetime decimal encodings.idna enum fractions
    functools heapq hashlib io itertools json locale math numbers operator os pickle
    pprint queue random re resource secrets signal statistics string struct sys
    tempfile textwrap threading time timeit traceback types typing unicodedata uuid
    warnings zlib
""")

# Whose names contest sites make available without an import, first come first kept.
_STAR = _names("typing collections itertools functools heapq bisect math")
_NAMED = _names("""
    sys os io re math random string time datetime json copy heapq bisect itertools
    functools collections operator typing decimal fractions statistics queue
""")


def preload(offered: Iterable[str]) -> dict[str, str]:
    """Import the standard modules and those offered; the versions of the latter.

    Raises:
        ImportError: if an offered module is not installed where the worker runs.
    """
    for name in _STANDARD:
        importlib.import_module(name)
    versions = {}
    for name in offered:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                f"the module {name!r} is offered to programs but can't be imported"
                f" ({error}); install it or take it out of `modules`"
            ) from error
        versions[name] = str(getattr(module, "__version__", "unknown"))
    if "numpy" in sys.modules:
        # Every program inherits the generator, so a run can be repeated.
        importlib.import_module("numpy.random").seed(0)
    return versions


def offer_only(offered: Iterable[str]) -> None:
    """Let later imports find the standard library and the offered modules only.

    A matter of equal verdicts everywhere, not of safety: what happens to be installed
    beside the pipeline must not decide whether a program runs.
    """
    loaded = {name.partition(".")[0] for name in sys.modules}
    allowed = loaded | set(offered) | set(sys.stdlib_module_names)
    sys.meta_path.insert(0, _Refuser(frozenset(allowed)))


class _Refuser:
    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed = allowed

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in self.allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def contest_names() -> dict[str, Any]:
    """The names of a contest site's prelude; built-in functions keep their own."""
    names: dict[str, Any] = {}
    for module_name in _STAR:
        module = importlib.import_module(module_name)
        public = getattr(module, "__all__", None) or dir(module)
        for name in public:
            if not name.startswith("_") and not hasattr(builtins, name):
                names.setdefault(name, getattr(module, name))
    for module_name in _NAMED:
        names[module_name] = importlib.import_module(module_name)
    return names
