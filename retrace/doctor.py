"""Whether this machine can do the jobs of a recipe: a line for each thing looked at.

The same look runs on a login node, on a workstation, and in a short job on each
partition of a cluster, because only a compute node can say what it offers.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from retrace import environment, staging
from retrace.locking import Lock, LockedError

# Packages without which nothing of a recipe runs.
NEEDED = ("pydantic", "openai", "transformers", "vllm", "torch", "snakemake")


@dataclass(frozen=True)
class Line:
    """What was found; where it is not `ok`, the text says what to do."""

    ok: bool
    about: str
    text: str


def examine(requirements: Path, root: Path, gpus: int = 0) -> list[Line]:
    """Look at this machine.

    Args:
        requirements: the recipe's environment file.
        root: the folder that Snakemake runs in.
        gpus: how many GPUs this process was promised.
    """
    looks: list[Callable[[], Line]] = [
        lambda: software(requirements),
        lambda: shared(root),
        confinement,
        lambda: cards(gpus),
        scratch,
    ]
    return [look() for look in looks]


def software(requirements: Path) -> Line:
    """Whether the pinned packages are what this Python sees."""
    try:
        environment.require(environment.software(requirements, NEEDED))
        importlib.metadata.version("retrace")
    except environment.EnvironmentMismatchError as error:
        return Line(False, "software", str(error))
    except importlib.metadata.PackageNotFoundError:
        text = "retrace is not installed: `uv pip install --no-deps -e .`"
        return Line(False, "software", text)
    return Line(True, "software", f"{sys.executable}, as {requirements} pins it")


def shared(root: Path) -> Line:
    """Whether results can be written here, under a lock."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=root) as folder:
            lock = Lock(Path(folder) / "lock")
            lock.acquire(0)
            lock.release()
    except (OSError, LockedError) as error:
        text = f"{root} cannot be written or locked: {error}: use a shared folder"
        return Line(False, "working directory", text)
    return Line(True, "working directory", f"{root} can be written and locked")


def confinement() -> Line:
    """How programs under test are confined."""
    from retrace.sandbox.model import SandboxError
    from retrace.sandbox.pool import Pool

    try:
        with Pool() as pool:
            return Line(True, "sandbox", f"{pool.report.mode}, passed its own attack")
    except SandboxError as error:
        return Line(False, "sandbox", " ".join(str(error).split()))


def cards(promised: int) -> Line:
    """The GPUs that this process may use, against those it was promised."""
    visible = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    names = _card_names()
    found = len(visible) or len(names)
    if found < promised:
        text = (
            f"{promised} GPUs were asked for, {found} can be seen: is gpu.type right?"
        )
        return Line(False, "GPUs", text)
    if promised and not names:
        text = (
            f"{found} given, but nvidia-smi shows none: ask for a driver on the nodes"
        )
        return Line(False, "GPUs", text)
    return Line(True, "GPUs", ", ".join(sorted(set(names))) or "none, and none needed")


def scratch() -> Line:
    folder = os.environ.get(staging.VARIABLE, "")
    if not folder:
        text = "no folder is named: weights are read from where they are"
        return Line(True, "scratch", text)
    path = Path(os.path.expandvars(folder))
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path):
            free = shutil.disk_usage(path).free
    except OSError as error:
        text = f"{path} cannot be written ({error.strerror}): correct `scratch`"
        return Line(False, "scratch", text)
    return Line(True, "scratch", f"{path}, {free / 1e9:,.0f} GB free")


def _card_names() -> list[str]:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in told.stdout.splitlines() if line.strip()]


def as_text(lines: list[Line], where: str) -> Iterator[str]:
    for line in lines:
        found = "ok     " if line.ok else "PROBLEM"
        yield f"{found} {where}: {line.about}: {line.text}"
