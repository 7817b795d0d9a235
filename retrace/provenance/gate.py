"""What keeps a state of the results from being recorded, and how to mend it.

DVC records whatever lies there. So before it may, every output must be there, none may
be stale, and each must be what its job wrote: the recorded bytes, or those of the job
that has just run.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from retrace.provenance import ledger
from retrace.provenance.hashing import Digest
from retrace.provenance.jobs import Job, Plan
from retrace.provenance.records import Record
from retrace.provenance.stages import RECORDS, Stage

# File systems keep times to a microsecond at worst; Snakemake's JSON keeps them whole.
SAME_TIME = 2e-6
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Finding:
    """Why the state cannot be recorded, and what to do about it."""

    what: str
    mend: str
    is_stale: bool = False
    """Whether it is work that Snakemake has still to do."""

    def __str__(self) -> str:
        return f"{self.what}\n    {self.mend}"


@dataclass(frozen=True)
class State:
    """Everything the gate looks at."""

    root: Path
    plan: Plan
    stages: Sequence[Stage]
    records: Mapping[str, Record]
    digests: Mapping[str, Digest]
    known: Mapping[str, str]
    """md5 of each file that was recorded before."""


def findings(state: State) -> list[Finding]:
    """All reasons against recording; none: it may be recorded."""
    return [
        *_stale(state.plan.jobs),
        *_missing(state),
        *_edited(state),
        *_edited_records(state),
        *_models(state),
        *_strangers(state),
    ]


def _stale(jobs: Sequence[Job]) -> Iterator[Finding]:
    rules: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.stale:
            rules[job.rule].append(job)
    for rule, stale in rules.items():
        first = stale[0]
        why = first.stale.splitlines()[0][:200]
        yield Finding(
            f"{len(stale)} jobs of {rule} are not up to date, such as the one for"
            f" {first.outputs[0]}: {why}",
            "run `snakemake` to the end, or take the change back",
            is_stale=True,
        )


def _missing(state: State) -> Iterator[Finding]:
    for job in state.plan.jobs:
        for path in job.outputs:
            if path not in state.digests:
                yield Finding(f"{path} is missing", "run `snakemake`")
            elif path not in state.records and path not in state.known:
                yield Finding(
                    f"{path}: Snakemake has no record of a job that wrote it",
                    f"delete it and run `snakemake`, or get {RECORDS} back",
                )


def _edited(state: State) -> Iterator[Finding]:
    """Outputs that are not what their job wrote, or not what later jobs read."""
    readers: dict[str, list[Job]] = defaultdict(list)
    for job in state.plan.jobs:
        for path in job.inputs:
            readers[path].append(job)
    for job in state.plan.jobs:
        for path in job.outputs:
            found = state.digests.get(path)
            if found is None:
                continue
            if (state.root / path).is_symlink():
                yield Finding(
                    f"{path} is a link, and no job writes one",
                    "put the file itself there: cp --remove-destination"
                    f" $(readlink -f {path}) {path}",
                )
                continue
            if not _is_from_its_job(state, path, found):
                yield Finding(
                    f"{path} was changed after its job wrote it",
                    f"{_get_back(state, path)}; or delete it and run `snakemake`",
                )
                continue
            for reader in readers[path]:
                read = _as_read(state, reader, path)
                if read is not None and read != found.sha256:
                    yield Finding(
                        f"{path} is not what {reader.rule} read from it for"
                        f" {reader.outputs[0]}",
                        f"{_get_back(state, path)}; or delete it and run `snakemake`",
                    )
                    break


def _is_from_its_job(state: State, path: str, found: Digest) -> bool:
    known = state.known.get(path)
    if known == found.md5:
        return True
    record = state.records.get(path)
    if record is None:
        return True  # told as missing
    if known is not None and state.known.get(record.file) == record.md5:
        return False  # other bytes, and no job has run since they were recorded
    modified = (state.root / path).stat().st_mtime
    # tar and scp keep whole seconds.
    return abs(modified - record.finished) < SAME_TIME or modified == int(
        record.finished
    )


def _edited_records(state: State) -> Iterator[Finding]:
    """Records that are not the recorded ones though no job has run since."""
    for path, record in state.records.items():
        recorded = state.known.get(record.file)
        if recorded in (None, record.md5):
            continue
        kept = ledger.object_path(state.root, str(recorded))
        # Another job would have ended at another time.
        if (
            kept.is_file()
            and json.loads(kept.read_bytes())["endtime"] == record.finished
        ):
            yield Finding(
                f"Snakemake's record of {path} was edited",
                f"`retrace verify --repair {record.file}` gets it back",
            )


def _as_read(state: State, reader: Job, path: str) -> str | None:
    """The sha256 of a file when a job read it, if Snakemake kept it."""
    records = (state.records.get(output) for output in reader.outputs)
    return next((r.checksums[path] for r in records if r and path in r.checksums), None)


def _get_back(state: State, path: str) -> str:
    if path in state.known:
        return f"`retrace verify --repair {path}` gets the recorded one back"
    return "it was never recorded, so there is no other copy"


def _models(state: State) -> Iterator[Finding]:
    """Files of models that are not what their manifest says."""
    for path in state.digests:
        place = PurePosixPath(path)
        if place.name != MANIFEST or place.parts[0] != "models":
            continue
        told = json.loads((state.root / path).read_text("utf-8"))["files"]
        for name, file in told.items():
            stated = state.digests.get(str(place.parent / name))
            if stated is not None and stated.sha256 != file["sha256"]:
                yield Finding(
                    f"{place.parent / name} is not the file that {path} names",
                    f"delete {path} and run `snakemake` to make the model again",
                )


def _strangers(state: State) -> Iterator[Finding]:
    """Files in recorded folders that no job writes: DVC would take them along."""
    written = set(state.plan.writers)
    for stage in state.stages:
        for out in stage.outs:
            folder = state.root / out
            if not folder.is_dir():
                continue
            for file in sorted(folder.rglob("*")):
                path = file.relative_to(state.root).as_posix()
                there = file.is_file() or file.is_symlink()
                if there and path not in written:
                    yield Finding(
                        f"{path} is in a recorded folder and no job of this recipe"
                        " writes it",
                        f"rm {path}",
                    )
