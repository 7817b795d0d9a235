"""A released artefact carries its proof: an in-toto statement with SLSA provenance.

The statement names every file of the artefact by sha256 and, as resolved dependencies,
every file that it was made from, back to the problems and the commit of the code.
`in-toto-attestation` builds it and says whether it is well formed; tools such as cosign
sign it.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrace.provenance import ledger, stages, verify
from retrace.provenance.hashing import digest_file
from retrace.provenance.records import Record
from retrace.provenance.workspace import Workspace

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:retrace:recipe:v1"
BUILDER = "urn:retrace:snakemake"
TOOLS = ("retrace", "snakemake", "dvc")


class AttestationError(RuntimeError):
    """An artefact that cannot be attested, or a statement that does not hold."""


def attest(root: Path, artefact: str) -> dict[str, Any]:
    """A statement on a recorded file, or on all files of a recorded folder.

    Raises:
        LedgerError: nothing is recorded.
        AttestationError: the artefact is not recorded, or something that it was made
            from is not as it was recorded.
    """
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    space = Workspace(root)
    book = ledger.read(root)
    paths = [p for p in book.files if stages.holds(artefact.rstrip("/"), p)]
    if not paths:
        raise AttestationError(
            f"{artefact} is not recorded: expected an out of dvc.lock"
        )
    closure = _closure(space, paths)
    code = _code(space, book, [*paths, *closure])
    _refuse_changed(root, [*paths, *closure, *code])
    kept = [r for path in paths if (r := space.record(path)) is not None]
    predicate = json_format.ParseDict(
        _predicate(space, [*code, *closure], kept), provenance_pb2.Provenance()
    )
    subjects = [
        ResourceDescriptor(name=_name(artefact, path), digest=_digest(space, path)).pb
        for path in paths
    ]
    statement = Statement(subjects, PREDICATE, json_format.MessageToDict(predicate))
    statement.validate()
    told: dict[str, Any] = json_format.MessageToDict(statement.pb)
    return told


def check(statement: Path, folder: Path) -> list[str]:
    """What is wrong with the files that a statement is about; nothing: it holds.

    Raises:
        AttestationError: the file is no such statement.
    """
    try:
        told = json.loads(statement.read_text("utf-8"))
        if told["predicateType"] != PREDICATE:
            raise AttestationError(f"{statement} is about something else")
        subjects = {one["name"]: one["digest"]["sha256"] for one in told["subject"]}
    except (ValueError, KeyError, TypeError) as error:
        raise AttestationError(f"{statement} is no in-toto statement") from error
    wrong = []
    for name, sha256 in subjects.items():
        found = digest_file(folder / name)
        if found is None:
            wrong.append(f"{name} is missing")
        elif found.sha256 != sha256:
            wrong.append(f"{name} has sha256 {found.sha256}, attested is {sha256}")
    return wrong


# --- What it was made from ------------------------------------------------------------


def _closure(space: Workspace, paths: list[str]) -> list[str]:
    """Every file that some files were made from, by the records of the jobs."""
    found: dict[str, None] = {}
    waiting = list(paths)
    while waiting:
        record = space.record(waiting.pop())
        new = [p for p in (record.inputs if record else []) if p not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return sorted(set(found) - set(paths))


def _code(space: Workspace, book: ledger.Ledger, paths: list[str]) -> list[str]:
    """The code that made some files, and the pins that it was run with."""
    kept = (space.record(path) for path in paths)
    found = {file for record in kept if record for file in record.code}
    deps = {path for one in book.deps.values() for path in one}
    return sorted(found | {path for path in deps if path.startswith("envs/")})


def _refuse_changed(root: Path, paths: list[str]) -> None:
    """All witnesses are heard, not dvc.lock alone, which records what it is told to."""
    faults = verify.verify(root, paths).faults
    if faults:
        raise AttestationError(
            f"{faults[0].path} is not as it was recorded ({faults[0].what}):"
            " `retrace verify` lists all that is not, and `retrace verify --repair`"
            " gets the recorded bytes back"
        )


def _predicate(
    space: Workspace, made_from: list[str], kept: list[Record]
) -> dict[str, Any]:
    known = stages.origin(space.root)
    configs = known.configfiles if known else []
    pins = sorted({pin for record in kept for pin in record.software})
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "recipe": known.recipe if known else "",
                "config": configs,
                "commands": sorted({record.command for record in kept}),
            },
            "internalParameters": {"software": pins},
            "resolvedDependencies": list(_dependencies(space, [*configs, *made_from])),
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": dict(_versions())},
            "metadata": {
                "invocationId": f"dvc.lock:{_digest(space, ledger.LOCK)['sha256']}",
                "startedOn": _time(min((r.started for r in kept), default=0.0)),
                "finishedOn": _time(max((r.finished for r in kept), default=0.0)),
            },
        },
    }


def _dependencies(space: Workspace, paths: list[str]) -> Iterator[dict[str, Any]]:
    commit = space.git("rev-parse", "HEAD")
    if commit:
        remote = space.git("remote", "get-url", "origin")
        uri = f"git+{remote}" if "://" in remote and "@" not in remote else "git+local"
        changed = {line[3:] for line in space.git("status", "--porcelain").splitlines()}
        own = sorted(changed & set(paths))
        # The files stand below by their own hashes; the commit is not all of the truth.
        noted = {"annotations": {"notInThisCommit": own}} if own else {}
        yield {"uri": uri, "digest": {"gitCommit": commit}, "name": "code", **noted}
    for path in paths:
        yield {"name": path, "digest": _digest(space, path)}


def _versions() -> Iterator[tuple[str, str]]:
    for name in TOOLS:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _name(artefact: str, path: str) -> str:
    """A file's name within the artefact, as whoever downloads it has it."""
    folder = artefact.rstrip("/")
    return Path(path).name if path == folder else path.removeprefix(f"{folder}/")


def _digest(space: Workspace, path: str) -> dict[str, str]:
    found = space.digest(path)
    if found is None:
        raise AttestationError(f"{path} is missing: `dvc pull`")
    return {"sha256": found.sha256}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
