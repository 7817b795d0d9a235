"""Everything that was recorded, hashed again from nothing and held against each other.

Five witnesses are heard: dvc.lock (md5 of every file), Snakemake's records (sha256 of
what each job read), the manifests of models, the reports of training sets, and the ids
of the rows themselves. Neither caches nor times are asked, so a flipped byte under a
restored time is found; and who changes one witness contradicts the others.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from retrace.provenance import identity, ledger, records
from retrace.provenance.hashing import Digest, digest_files
from retrace.provenance.ledger import Ledger, LedgerError
from retrace.provenance.record import is_unfinished
from retrace.provenance.records import Record, RecordError

Tell = Callable[[int], None]
GET_BACK = "`retrace verify --repair` gets the recorded one back"
AGAIN = "find out who changed it; `git log -p dvc.lock` has what was recorded when"


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was recorded."""

    path: str
    witness: str
    """Who contradicts: dvc.lock, snakemake, manifest, report, row, record."""
    what: str
    mend: str
    repairable: bool = False
    """Whether the file's own recorded bytes may be got back from a cache or remote."""


@dataclass
class Verified:
    """What a verification looked at and found."""

    files: int = 0
    size: int = 0
    rows_of: int = 0
    """Files whose rows were checked."""
    checksums: int = 0
    """Checksums in Snakemake's records that were compared."""
    seconds: dict[str, float] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    """Confidential artefacts that are not at hand, and never leave where they are."""


def verify(
    root: Path,
    paths: Iterable[str] = (),
    with_rows: bool = True,
    tell: Tell = lambda size: None,
) -> Verified:
    """Verify every recorded file, or those that are or lie below some paths.

    Raises:
        LedgerError: nothing is recorded, dvc.lock is damaged, or has no such path.
    """
    book = ledger.read(root)
    done = Verified()
    only = selection(book, paths)
    started = time.monotonic()
    wanted = [path for path in _to_hash(root, book) if selected(path, only)]
    digests = digest_files(root, wanted, tell)
    done.files, done.size = len(digests), sum(d.size for d in digests.values())
    done.seconds["hash"] = time.monotonic() - started
    if is_unfinished(root):
        what = "a recording is at work, or was killed before its end"
        mend = "`retrace record` waits for it, or undoes it first"
        done.faults.append(Fault(ledger.LOCK, "dvc.lock", what, mend))
    done.faults += _recorded(root, book, digests, only, done)
    done.faults += _contradictions(book)
    started = time.monotonic()
    kept = _records(root, book, only, done)
    done.faults += _read_by_jobs(kept, digests, done)
    done.faults += _manifests(root, digests)
    done.faults += _reports(root, digests)
    done.seconds["records"] = time.monotonic() - started
    if with_rows:
        started = time.monotonic()
        done.faults += _rows(root, kept, digests, done)
        done.seconds["rows"] = time.monotonic() - started
    return done


def selection(book: Ledger, paths: Iterable[str]) -> Set[str]:
    """The files and folders that are asked for; none: all of them.

    Raises:
        LedgerError: one of them is nothing that was recorded.
    """
    only = frozenset(path.rstrip("/") for path in paths)
    deps = (path for one in book.deps.values() for path in one)
    recorded = {*book.files, *(out.path for out in book.outs), *deps}
    known = {str(one) for path in recorded for one in PurePosixPath(path).parents}
    for path in sorted(only - recorded - known):
        if book.out_of(path) is None:
            raise LedgerError(
                f"{path} is not recorded: expected a file or folder of {ledger.LOCK}"
            )
    return only


def selected(path: str, only: Set[str]) -> bool:
    """Whether a path, or a folder that it lies in, is asked for."""
    place = PurePosixPath(path)
    return not only or any(str(one) in only for one in (place, *place.parents))


def _to_hash(root: Path, book: Ledger) -> Iterator[str]:
    yield from book.files
    for out in book.outs:
        if out.is_folder:
            yield from ledger.files_below(root, out)
    for deps in book.deps.values():
        yield from (path for path, md5 in deps.items() if not md5.endswith(".dir"))


# --- dvc.lock -------------------------------------------------------------------------


def _recorded(
    root: Path,
    book: Ledger,
    digests: Mapping[str, Digest],
    only: Set[str],
    done: Verified,
) -> Iterator[Fault]:
    """Files against dvc.lock."""
    absent = {o.path for o in book.outs if o.private and not (root / o.path).exists()}
    done.excluded = sorted(absent)
    for path, md5 in book.files.items():
        if not selected(path, only) or any(_below(path, out) for out in absent):
            continue
        found = digests.get(path)
        if found is None:
            yield Fault(path, "dvc.lock", "is missing", GET_BACK, True)
        elif found.md5 != md5:
            what = f"has md5 {found.md5}, recorded is {md5}"
            yield Fault(path, "dvc.lock", what, GET_BACK, True)
        elif (root / path).is_symlink():
            what = "is a link to the recorded bytes, which may change where they lie"
            yield Fault(path, "dvc.lock", what, GET_BACK, True)
    for out in book.outs:
        if out.is_folder and out not in book.unlisted:
            for path in ledger.files_below(root, out):
                if path not in book.files and selected(path, only):
                    what = "lies in a recorded folder and was never recorded"
                    yield Fault(path, "dvc.lock", what, f"rm {path}")
    for out in book.unlisted:
        if out.path not in absent and selected(out.path, only):
            yield from _whole_folder(root, out, digests)
    for path in book.absent:
        yield Fault(path, "dvc.lock", "stands in dvc.yaml and not in dvc.lock", AGAIN)
    yield from _code(book, digests, only)


def _whole_folder(
    root: Path, out: ledger.Out, digests: Mapping[str, Digest]
) -> Iterator[Fault]:
    """A folder whose list is nowhere: its files make the recorded hash, or not."""
    files = {
        path.removeprefix(f"{out.path}/"): digests[path].md5
        for path in ledger.files_below(root, out)
    }
    if not files:
        yield Fault(out.path, "dvc.lock", "is missing", GET_BACK, True)
    elif ledger.folder_hash(files) != out.md5:
        what = (
            f"has hash {ledger.folder_hash(files)}, recorded is {out.md5}; which of its"
            " files differ cannot be told without DVC's list of them"
        )
        yield Fault(out.path, "dvc.lock", what, GET_BACK, True)


def _code(
    book: Ledger, digests: Mapping[str, Digest], only: Set[str]
) -> Iterator[Fault]:
    """Code and environment that are not those of the recorded run."""
    outs = {out.path for out in book.outs}
    seen: set[str] = set()
    for deps in book.deps.values():
        for path, md5 in deps.items():
            if (
                path in outs
                or path in seen
                or md5.endswith(".dir")
                or path in book.files
            ):
                continue
            seen.add(path)
            found = digests.get(path)
            if selected(path, only) and (found is None or found.md5 != md5):
                what = "is not the file that the recorded run used"
                mend = (
                    f"`git checkout` the commit of the run; or, if {path} is meant,"
                    " `snakemake`, which records at its end"
                )
                yield Fault(path, "dvc.lock", what, mend)


def _contradictions(book: Ledger) -> Iterator[Fault]:
    """A dvc.lock that was edited: what one stage wrote is not what another one read."""
    wrote = {out.path: out for out in book.outs}
    for stage, deps in book.deps.items():
        for path, md5 in deps.items():
            if path in wrote and wrote[path].md5 != md5:
                out = wrote[path]
                what = f"dvc.lock: {out.stage} wrote {out.md5}, {stage} read {md5}"
                yield Fault(path, "dvc.lock", what, AGAIN)
            elif md5.endswith(".dir") and path not in wrote:
                what = f"dvc.lock: {stage} read it, and no stage there wrote it"
                yield Fault(path, "dvc.lock", what, AGAIN)


# --- Snakemake's records --------------------------------------------------------------


def _records(
    root: Path, book: Ledger, only: Set[str], done: Verified
) -> dict[str, Record]:
    kept = {}
    for path in book.files:
        out = book.out_of(path)
        if out is None or not ledger.is_recorded_by_rules(out.stage):
            continue
        try:
            record = records.read(root, path)
        except RecordError as error:
            done.faults.append(Fault(path, "record", str(error), GET_BACK))
            continue
        if record is not None:
            kept[path] = record
        elif selected(path, only) and (root / path).exists():
            what = "Snakemake has no record of a job that wrote it"
            done.faults.append(Fault(path, "record", what, GET_BACK))
    return kept


def _read_by_jobs(
    kept: Mapping[str, Record], digests: Mapping[str, Digest], done: Verified
) -> Iterator[Fault]:
    """Files against what the jobs that read them found."""
    readers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, record in kept.items():
        for read, sha256 in record.checksums.items():
            found = digests.get(read)
            if found is not None:
                done.checksums += 1
                if found.sha256 != sha256:
                    readers[read, sha256].append(path)
    for (read, sha256), outputs in readers.items():
        others = f" and {len(outputs) - 1} more" if len(outputs) > 1 else ""
        what = (
            f"has sha256 {digests[read].sha256[:16]}..., the job that wrote"
            f" {outputs[0]}{others} read {sha256[:16]}..."
        )
        yield Fault(read, "snakemake", what, AGAIN)


# --- What the artefacts say of one another --------------------------------------------


def _manifests(root: Path, digests: Mapping[str, Digest]) -> Iterator[Fault]:
    for path in digests:
        place = PurePosixPath(path)
        if place.name == "manifest.json" and place.parts[0] == "models":
            told = _json(root, path)
            for name, file in told.get("files", {}).items():
                stated = {str(place.parent / name): file["sha256"]}
                yield from _stated(stated, path, "manifest", digests)


def _reports(root: Path, digests: Mapping[str, Digest]) -> Iterator[Fault]:
    for path in digests:
        place = PurePosixPath(path)
        if place.name == "report.json" and place.parts[:2] == ("data", "datasets"):
            outputs = _json(root, path).get("outputs", {})
            stated = {str(place.parent / name): sha for name, sha in outputs.items()}
            yield from _stated(stated, path, "report", digests)


def _stated(
    stated: Mapping[str, str], by: str, witness: str, digests: Mapping[str, Digest]
) -> Iterator[Fault]:
    for path, sha256 in stated.items():
        found = digests.get(path)
        if found is not None and found.sha256 != sha256:
            what = f"has sha256 {found.sha256[:16]}..., {by} says {sha256[:16]}..."
            yield Fault(path, witness, what, AGAIN)


def _json(root: Path, path: str) -> dict[str, Any]:
    try:
        found = json.loads((root / path).read_text("utf-8"))
    except ValueError:
        return {}  # its own hash is wrong already
    return found if isinstance(found, dict) else {}


def _rows(
    root: Path,
    kept: Mapping[str, Record],
    digests: Mapping[str, Digest],
    done: Verified,
) -> Iterator[Fault]:
    for path, record in kept.items():
        if path not in digests or not path.endswith(".jsonl"):
            continue
        done.rows_of += 1
        try:
            for what in identity.faults(root, path, record):
                yield Fault(path, "row", what, AGAIN)
        except (ValueError, KeyError, TypeError, StopIteration, OSError) as error:
            what = f"its rows cannot be read: {type(error).__name__}"
            yield Fault(path, "row", what, AGAIN)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
