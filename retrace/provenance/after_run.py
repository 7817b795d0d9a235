"""What the workflow asks of the audit: light, for every plan imports it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

FILE = "dvc.yaml"


class StageError(ValueError):
    """A stage that dvc.yaml does not have."""


def why_not(root: Path, recipe: str, configfiles: Sequence[str]) -> str | None:
    """A line on why a run is not recorded; none: it is. Empty: nothing need be said.

    dvc.yaml is of one recipe, whose runs are recorded: at first that of config.yaml,
    then the one that `retrace record` was last asked for. Others leave it as it is.
    """
    if os.environ.get("DVC_STAGE"):
        return ""
    for needed, why in (
        (".git", "this is no git clone"),
        (".dvc", "DVC is not set up"),
    ):
        if not (root / needed).exists():
            return f"Not recorded by DVC: {why} here."
    from retrace.provenance import stages

    known = stages.origin(root)
    command = f"`retrace record --configfile {' '.join(configfiles)}`"
    if known is None:
        return f"Not recorded by DVC: {command} does it, and for later runs too."
    if known.recipe != recipe:
        first = " (commit dvc.lock first)" if (root / "dvc.lock").exists() else ""
        return (
            f"Not recorded by DVC: dvc.yaml is of recipe {known.recipe}; {command}"
            f" makes it this one's{first}, and records its later runs too."
        )
    return None


def command(configfiles: Sequence[str]) -> list[str]:
    """The command that records a run from within it."""
    arguments = ["record", "--within-run", "--configfile", *configfiles]
    return [sys.executable, "-m", "retrace.cli", *arguments]


def of_stage(artefacts: Sequence[str], root: Path, name: str) -> list[str]:
    """Those artefacts that a stage of dvc.yaml writes.

    Raises:
        StageError: dvc.yaml has no such stage.
    """
    from retrace.provenance import stages

    try:
        outs = stages.outs_of_stage(root, name)
    except (OSError, KeyError, TypeError) as error:
        raise StageError(
            f"{FILE} has no stage {name}: `retrace record --stages` writes it anew"
        ) from error
    return [path for path in artefacts if any(stages.holds(o, path) for o in outs)]
