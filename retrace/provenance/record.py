"""Recording: what Snakemake made becomes DVC's record, if the gate lets it through.

One recording at a time; none while another run of Snakemake works here. A recording
that is killed leaves the former dvc.yaml and dvc.lock beside the lock file, and the
next one puts them back first, so neither is ever half new.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from retrace.locking import Lock, LockedError
from retrace.provenance import jobs, ledger, records, stages
from retrace.provenance.gate import Finding, State, findings
from retrace.provenance.hashing import Digest, digest_files
from retrace.sandbox.linux import die_with_parent

WAIT = 60.0
LOCK = Path(".dvc/tmp/retrace-record.lock")
FORMER = Path(".dvc/tmp/retrace-former")
SNAKEMAKE_LOCKS = Path(".snakemake/locks")
DVC_BUSY = "Unable to acquire lock"

Tell = Callable[[str], None]


class RecordingError(RuntimeError):
    """Nothing was recorded: says why and what to do."""


class RefusedError(RecordingError):
    """The gate refuses; `findings` says what is in the way."""

    def __init__(self, found: Sequence[Finding]) -> None:
        self.findings = list(found)
        super().__init__(f"{len(self.findings)} things are in the way")


@dataclass
class Recorded:
    """What was recorded."""

    recipe: str
    files: int
    size: int
    stages: int
    seconds: dict[str, float] = field(default_factory=dict)


def why_not(root: Path) -> str:
    """Why results cannot be recorded in this folder; empty if they can."""
    if not (root / ".git").exists():
        return "this is no git clone, and DVC's record lives in git"
    if not (root / ".dvc").is_dir():
        return "DVC is not set up here; `dvc init` does it"
    if importlib.util.find_spec("dvc") is None:
        return "DVC is not installed; `make install` does it"
    return ""


def record(
    root: Path,
    configfiles: Sequence[str],
    *,
    within_run: bool = False,
    wait: float = WAIT,
    tell: Tell = lambda line: None,
) -> Recorded:
    """Record a finished recipe in dvc.yaml and dvc.lock, and its data in DVC's cache.

    Args:
        configfiles: the recipe's config files, as Snakemake was given them.
        within_run: called by the run itself, whose lock is then no obstacle.
        wait: seconds to wait for another recording or another DVC command.

    Raises:
        RefusedError: something is stale, missing, unknown or edited by hand.
        RecordingError: another run or DVC command is at work, or DVC failed.
        PlanError, RecordError, LedgerError: see there.
    """
    reason = why_not(root)
    if reason:
        raise RecordingError(reason)
    with _alone(root, wait):
        _put_back(root, tell)
        if not within_run:
            _refuse_while_running(root)
        clock = _Clock()
        plan = jobs.plan(root, configfiles)
        clock.lap("plan")
        state = look(root, plan)
        clock.lap("hash")
        found = findings(state)
        if found:
            raise RefusedError(found)
        clock.lap("gate")
        text = stages.render(plan, configfiles, root)
        with _all_or_nothing(root):
            (root / stages.FILE).write_text(text, "utf-8")
            run_dvc(root, "commit", "--force", "--quiet", wait=wait)
            clock.lap("dvc commit")
            _compare(root, state.digests)
            clock.lap("compare")
    size = sum(digest.size for digest in state.digests.values())
    return Recorded(
        plan.config["recipe"],
        len(state.digests),
        size,
        len(state.stages) + 1,
        clock.laps,
    )


def look(root: Path, plan: jobs.Plan) -> State:
    """Hash every output of a recipe, and read what is known about it."""
    outputs = list(plan.writers)
    found = (records.read(root, path) for path in outputs)
    try:
        known = ledger.read(root).files
    except ledger.LedgerError:
        known = {}
    return State(
        root,
        plan,
        stages.stages(plan),
        {record.path: record for record in found if record is not None},
        digest_files(root, outputs),
        known,
    )


# --- One at a time --------------------------------------------------------------------


@contextmanager
def _alone(root: Path, wait: float) -> Iterator[None]:
    lock = Lock(root / LOCK)
    try:
        lock.acquire(wait)
    except LockedError as error:
        raise RecordingError(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def _refuse_while_running(root: Path) -> None:
    folder = root / SNAKEMAKE_LOCKS
    if folder.is_dir() and any(folder.iterdir()):
        raise RecordingError(
            "Snakemake holds its lock: a run is at work here and records at its end, or"
            " was killed (then `snakemake --unlock`)"
        )


def is_unfinished(root: Path) -> bool:
    """Whether a recording is at work, or was killed before its end."""
    return (root / FORMER / "whole").exists()


def _put_back(root: Path, tell: Tell) -> None:
    """Undo a recording that did not end."""
    former = root / FORMER
    if not is_unfinished(root):
        shutil.rmtree(former, ignore_errors=True)
        return
    for name in (stages.FILE, ledger.LOCK):
        if (former / name).exists():
            os.replace(former / name, root / name)
        else:
            (root / name).unlink(missing_ok=True)
    shutil.rmtree(former)
    tell("a recording was killed before its end: what was recorded before it is back")


# --- DVC ------------------------------------------------------------------------------


@contextmanager
def _all_or_nothing(root: Path) -> Iterator[None]:
    """Keep the former dvc.yaml and dvc.lock until the new ones are whole."""
    former = root / FORMER
    former.mkdir(parents=True)
    for name in (stages.FILE, ledger.LOCK):
        if (root / name).exists():
            shutil.copy2(root / name, former / name)
    (former / "whole").touch()
    done = False
    try:
        yield
        done = True
    finally:
        if done:
            # First the mark, so that a kill in between puts nothing back.
            (former / "whole").unlink()
            shutil.rmtree(former)
        else:
            _put_back(root, lambda line: None)


def run_dvc(root: Path, *arguments: str, wait: float = WAIT) -> str:
    """Run a DVC command, waiting for another one to finish; return what it printed.

    Raises:
        RecordingError: it failed, with what it said.
    """
    until = time.monotonic() + wait
    while True:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            env=os.environ | {"DVC_NO_ANALYTICS": "1"},
            # A recording that is killed leaves nobody writing dvc.lock.
            preexec_fn=die_with_parent,
        )
        if done.returncode == 0:
            return done.stdout
        if DVC_BUSY not in done.stderr:
            raise RecordingError(
                f"`dvc {arguments[0]}` failed:\n{done.stderr.strip()[-2000:]}"
            )
        if time.monotonic() > until:
            raise RecordingError(
                f"another DVC command still runs here after {wait:.0f} s: wait for it,"
                " then `retrace record`"
            )
        time.sleep(0.5)


def _compare(root: Path, digests: Mapping[str, Digest]) -> None:
    """DVC trusts times where it can; what it recorded must be what was hashed here."""
    recorded = ledger.read(root).files
    wrong = [path for path, found in digests.items() if recorded.get(path) != found.md5]
    if wrong:
        raise RecordingError(
            f"DVC recorded other bytes than there are for {wrong[0]}"
            f" ({len(wrong)} files): it trusts the time of a file that changed without"
            f" it. `touch {wrong[0]}`, find out who changed it, and record again"
        )


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 2)
        self._last = now
