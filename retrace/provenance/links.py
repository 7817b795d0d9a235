"""The links of a lineage: what each artefact says of a row, with its hashes checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath

from retrace.provenance import identity
from retrace.provenance.workspace import HIDDEN, Check, Json, Link, Workspace
from retrace.rows import shard_of

EXCERPT = 300
MANIFEST = "manifest.json"


class LineageError(ValueError):
    """A row that cannot be followed: says what was looked for and where."""


# --- From the raw source to a verdict -------------------------------------------------


def problem(space: Workspace, set_name: str, problem_id: str) -> list[Link]:
    """The source that a problem comes from, and the problem."""
    path, line, row = find_problem(space, set_name, problem_id)
    hidden = set_name in space.confidential
    meta = dict(row["meta"])
    source = Link("source", facts={"set": set_name, **meta})
    shards = len(space.glob(f"data/problems/{set_name}/*.jsonl"))
    shard = f"{shard_of(problem_id, shards):04d}"
    link = Link(
        "problem",
        f"{path}:{line}",
        {
            "problem_id": problem_id,
            "statement": HIDDEN if hidden else _short(row["statement"]),
            "reference": HIDDEN
            if hidden
            else _short(json.dumps(row["reference"], ensure_ascii=False)),
            **_job(space, path),
        },
        space.check_file(path) + space.check_code(path),
    )
    same = identity.problem_id(row) == problem_id
    link.checks.append(Check("id is the hash of set, statement and reference", same))
    link.checks.append(
        Check("shard is that of its id", PurePosixPath(path).stem == shard)
    )
    return [source, link]


def trace(space: Workspace, model: str, set_name: str, trace_id: str) -> list[Link]:
    """The request, what answered it, and the answer."""
    path, line, row = find_trace(space, model, set_name, trace_id)
    hidden = set_name in space.confidential
    problem_path, _, asked = find_problem(space, set_name, row["problem_id"])
    beside = path.removesuffix(".jsonl") + ".engine.json"
    told = space.json(beside)
    record = space.record(path)
    links = []
    if record is None:
        links.append(Link("request", checks=[Check("no record of the job", None)]))
    elif record.rule == "import_traces":
        links.append(
            Link("request", facts={"imported": "the source brought the trace"})
        )
    else:
        body = identity.request_of(space.root, record, asked, row["sample"])
        ids = identity.trace_ids(
            space.root, record, told["contracts"], asked, row["sample"]
        )
        shown = {**body, "messages": HIDDEN if hidden else body["messages"]}
        checks = [Check("trace_id is the hash of this request", trace_id in ids)]
        # A failed request has no contract, so nothing to make the id from.
        links.append(
            Link("request", facts=shown, checks=[] if row["error"] else checks)
        )
    links.append(_engine(space, beside, told, path))
    links.append(
        Link(
            "trace",
            f"{path}:{line}",
            {
                "trace_id": trace_id,
                "model": model,
                "sample": row["sample"],
                "finish_reason": row["finish_reason"],
                "tokens": row["usage"]["completion_tokens"],
                "text": HIDDEN if hidden else _short(row["text"] or row["error"]),
                **_job(space, path),
            },
            space.check_file(path, _verdict_path(path))
            + space.check_code(path)
            + _read_as(space, problem_path, path),
        )
    )
    return links


def verdict(space: Workspace, model: str, set_name: str, trace_id: str) -> Link:
    """What the judge said of a trace, and by which policy."""
    traces, _, _ = find_trace(space, model, set_name, trace_id)
    path = _verdict_path(traces)
    line, row = _first(space, path, trace_id)
    beside = path.removesuffix(".jsonl") + ".judge.json"
    judge = space.json(beside)
    hidden = set_name in space.confidential
    return Link(
        "verdict",
        f"{path}:{line}",
        {
            "ok": row["ok"],
            "reason": row["reason"],
            "answer": HIDDEN if hidden else _short(row["answer"]),
            "by": row["by"],
            "judge": judge.get("policy", {}),
            "libraries": judge.get("libraries", {}),
            **_job(space, path),
        },
        space.check_file(path)
        + space.check_file(beside)
        + space.check_code(path)
        + _read_as(space, traces, path),
    )


# --- From a verdict to a student ------------------------------------------------------


def rewrite(space: Workspace, model: str, set_name: str, trace_id: str) -> Link | None:
    """The trace as a thought and a solution; nothing if it was not rewritten."""
    traces, _, _ = find_trace(space, model, set_name, trace_id)
    path = traces.replace("data/traces/", "data/rewrites/", 1)
    found = next(space.rows(path, trace_id, "trace_id"), None)
    if found is None:
        return None
    line, row = found
    return Link(
        "rewrite",
        f"{path}:{line}",
        {
            "by": row["by"],
            "faithful": row["faithful"],
            "invented": row["invented"],
            "turned down": row["rejected"],
            "verdict after": row["verdict"]["reason"],
            **_job(space, path),
        },
        space.check_file(path)
        + space.check_code(path)
        + _read_as(space, _verdict_path(traces), path)
        + _read_as(space, traces, path),
    )


def training_row(space: Workspace, path: str, line: int, row: Json) -> Link:
    """The row as it is taught, and the filters that it passed."""
    folder = PurePosixPath(path).parent
    report = space.json(str(folder / "report.json"))
    sources = _sources_of(space, path, row)
    same = identity.training_id(row) == row["id"]
    return Link(
        "training row",
        f"{path}:{line}",
        {
            "id": row["id"],
            "dataset": folder.name,
            "filters passed": [step["stage"] for step in report["funnel"]],
            "system": _short(row["system"]),
            "pass_rate": row["pass_rate"],
            **_job(space, path),
        },
        [
            *space.check_file(path),
            *space.check_code(path),
            Check("id is the hash of its text and trace", same),
            *[c for other in sources for c in _read_as(space, other, path)],
        ],
    )


def rejection(space: Workspace, path: str, line: int, row: Json) -> Link:
    """Why a trace is not taught."""
    facts = {
        "dataset": PurePosixPath(path).parent.name,
        "rejected by": row["stage"],
        "reason": row["reason"],
        "detail": HIDDEN if row["set"] in space.confidential else _short(row["detail"]),
    }
    return Link("rejected", f"{path}:{line}", facts, space.check_file(path))


def trainings(space: Workspace, dataset: str) -> Iterator[Link]:
    """Every training run on a training set as it lies there."""
    train = f"data/datasets/{dataset}/train.jsonl"
    found = space.digest(train)
    for path in space.glob(f"models/*/{MANIFEST}"):
        told = space.json(path)
        record = space.record(path)
        if "dataset_sha256" in told and record and train in record.inputs:
            link = model(space, PurePosixPath(path).parent.name)
            same = found is not None and told["dataset_sha256"] == found.sha256
            link.checks.append(Check("trained on this training set", same))
            yield link


def model(space: Workspace, name: str) -> Link:
    """A model directory: its manifest, and what it was trained on and from."""
    path = f"models/{name}/{MANIFEST}"
    if not space.exists(path):
        raise LineageError(f"{path} is not there: is {name} a model of this recipe?")
    told = space.json(path)
    files = told["files"]
    sizes = all(
        space.exists(f"models/{name}/{file}")
        and (space.root / f"models/{name}/{file}").stat().st_size == one["bytes"]
        for file, one in files.items()
    )
    facts = {
        "model": name,
        "files": len(files),
        "bytes": sum(one["bytes"] for one in files.values()),
        **{key: value for key, value in told.items() if key != "files"},
        **_job(space, path),
    }
    checks = space.check_file(path) + space.check_code(path)
    checks.append(Check("its files have the sizes in the manifest", sizes))
    record = space.record(path)
    bases = [i for i in record.inputs if i.endswith(MANIFEST)] if record else []
    for base in bases:
        found = space.digest(base)
        same = found is not None and found.sha256 == told.get("base")
        checks.append(Check(f"base is {PurePosixPath(base).parent}", same))
    return Link(
        "training run" if "dataset_sha256" in told else "weights", path, facts, checks
    )


def item(space: Workspace, path: str, problem_id: str) -> tuple[Link, Json]:
    """A problem's part in a score."""
    told = space.json(path)
    found = next((i for i in told["items"] if i["problem_id"] == problem_id), None)
    if found is None:
        raise LineageError(f"{path} has no item for problem {problem_id}")
    facts = {
        "benchmark": told["benchmark"],
        "model": told["model"],
        "accuracy of all": told["accuracy"],
        "correct": f"{found['correct']} of {found['judged']}",
        "reasons": found["reasons"],
        **_job(space, path),
    }
    reports = space.glob("reports/*.html")
    checks = space.check_file(path, *reports) + space.check_code(path)
    return Link("score", path, facts, checks), found


# --- The state of the clone -----------------------------------------------------------


def commit(space: Workspace) -> Link:
    """Which commit recorded the results, and whether the clone is still at it."""
    recorded = space.git("log", "-1", "--format=%H %cI %s", "--", "dvc.lock")
    head = space.git("rev-parse", "HEAD")
    changed = [line[3:] for line in space.git("status", "--porcelain").splitlines()]
    facts = {
        "recorded in": recorded or "no commit has dvc.lock yet",
        "HEAD": head or "no git, or no clone",
    }
    check = Check("working tree as committed", None if not head else not changed)
    if changed:
        facts["changed"] = ", ".join(changed[:5])
        # Whether that matters is what the code checks of each step say.
        check = Check(f"{len(changed)} files differ from HEAD", None)
    return Link("commit", facts=facts, checks=[check])


def environment(space: Workspace, paths: list[str]) -> Link:
    """The pins that the jobs on the way were checked to run with."""
    pins: dict[str, None] = {}
    for path in paths:
        record = space.record(path)
        pins |= dict.fromkeys(record.software if record else [])
    checks = []
    deps = space.ledger.deps.values() if space.ledger else []
    for file in sorted({d for one in deps for d in one if d.startswith("envs/")}):
        recorded = next(one[file] for one in deps if file in one)
        found = space.digest(file)
        same = found is not None and found.md5 == recorded
        checks.append(Check(f"{file} as recorded", same))
    return Link("environment", facts={"software": sorted(pins)}, checks=checks)


# --- Finding rows ---------------------------------------------------------------------


def find_problem(
    space: Workspace, set_name: str, problem_id: str
) -> tuple[str, int, Json]:
    """The file, line and row of a problem; its shard follows from its id."""
    paths = space.glob(f"data/problems/{set_name}/*.jsonl")
    return _at_shard(space, paths, problem_id, problem_id, "problem_id")


def find_trace(
    space: Workspace, model_name: str, set_name: str, trace_id: str
) -> tuple[str, int, Json]:
    """The file, line and row of a trace, whichever shard it is in."""
    for path in space.glob(f"data/traces/{model_name}/{set_name}/*.jsonl"):
        for line, row in space.rows(path, trace_id, "trace_id"):
            return path, line, row
    raise LineageError(
        f"no trace {trace_id} in data/traces/{model_name}/{set_name}: `dvc pull` if"
        " this clone has not all of the data"
    )


def _at_shard(
    space: Workspace, paths: list[str], problem_id: str, key: str, field: str
) -> tuple[str, int, Json]:
    first = paths[shard_of(problem_id, len(paths))] if paths else ""
    for path in [first, *paths] if paths else []:
        for line, row in space.rows(path, key, field):
            return path, line, row
    raise LineageError(
        f"no row with {field} {key} in {len(paths)} files: `dvc pull` if this clone has"
        " not all of the data"
    )


def _first(space: Workspace, path: str, trace_id: str) -> tuple[int, Json]:
    found = next(space.rows(path, trace_id, "trace_id"), None)
    if found is None:
        raise LineageError(f"{path} has no row of trace {trace_id}")
    return found


# --- Parts ----------------------------------------------------------------------------


def _engine(space: Workspace, path: str, told: Json, traces: str) -> Link:
    checks = space.check_file(path)
    record = space.record(traces)
    weights = [i for i in record.inputs if i.endswith(MANIFEST)] if record else []
    for manifest in weights:
        files = space.json(manifest)["files"] if space.exists(manifest) else {}
        revision = _revision({name: one["sha256"] for name, one in files.items()})
        same = all(c.get("revision") == revision for c in told["contracts"])
        checks.append(Check(f"weights are {PurePosixPath(manifest).parent}", same))
    return Link("engine", path, {"contracts": told["contracts"]}, checks)


def _read_as(space: Workspace, path: str, by: str) -> list[Check]:
    """Whether the job that wrote `by` read a file as it is now."""
    record, found = space.record(by), space.digest(path)
    read = record.checksums.get(path) if record else None
    if record is None or read is None:
        return []
    same = found is not None and found.sha256 == read
    return [Check(f"{path} as {record.rule} read it", same)]


def _sources_of(space: Workspace, path: str, row: Json) -> list[str]:
    """The files that a training row's text comes from: its rewrite, or its trace."""
    record = space.record(path)
    names = record.inputs if record else []
    for kind in ("rewrites", "traces"):
        prefix, key = f"data/{kind}/", row["trace_id"]
        own = [p for p in names if p.startswith(prefix) and f"/{row['set']}/" in p]
        found = [p for p in own if next(space.rows(p, key, "trace_id"), None)]
        if found:
            return found
    return []


def _job(space: Workspace, path: str) -> Json:
    record = space.record(path)
    if record is None:
        return {}
    ended = datetime.fromtimestamp(record.finished, UTC).isoformat(timespec="seconds")
    return {"rule": record.rule, "made": ended}


def _verdict_path(traces: str) -> str:
    return traces.replace("data/traces/", "data/verdicts/", 1)


def _revision(files: dict[str, str]) -> str:
    """How an engine's contract names weights by their files."""
    text = json.dumps(files, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _short(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[: EXCERPT - 3]}..."
