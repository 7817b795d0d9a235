"""The ids of rows, computed again from what they are the hashes of.

A problem's id is the hash of its set, statement and reference, and says which shard it
belongs to; a trace's is that of its problem and of the whole request; a training row's
that of its text. So a row that was changed, or moved to another file, says so itself.
Rows are taken as JSON objects: this reads every row of a run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from retrace.rows import content_id, shard_of

if TYPE_CHECKING:
    from retrace.provenance.records import Record

Json = dict[str, Any]
# The part of an engine's contract that keys an answer.
IDENTITY = ("engine", "version", "revision", "dtype", "extra")
MAX_COPIES = 1000


def faults(root: Path, path: str, record: Record) -> Iterator[str]:
    """What is wrong with the rows of one recorded file; nothing for other files.

    Raises:
        ValueError, KeyError, OSError: the file, or one that it goes with, is no file of
            such rows at all.
    """
    kind = PurePosixPath(path).parts[1] if path.startswith("data/") else ""
    if not path.endswith(".jsonl") or kind not in CHECKS:
        return
    yield from CHECKS[kind](root, path, record)


def options(command: str) -> dict[str, list[str]]:
    """The options of a recorded command, each with its values."""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for word in shlex.split(command):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            values = found.setdefault(name, [])
            values += [value] if equals else []
        elif word == "2>":
            break
        else:
            values.append(word)
    return found


def problem_id(row: Json) -> str:
    """The id that a problem should have."""
    return content_id([row["set"], row["statement"], row["reference"]])


def training_id(row: Json) -> str:
    """The id that a training row should have; its own one if any copy has that."""
    user, assistant = (turn["value"] for turn in row["conversations"])
    said = [row["system"], user, assistant, row["trace_id"]]
    ids = (content_id([*said, copy]) for copy in range(MAX_COPIES))
    first = next(ids)
    return (
        first if first == row["id"] else next((i for i in ids if i == row["id"]), first)
    )


def request_of(root: Path, record: Record, problem: Json, sample: int) -> Json:
    """The request that a job asked for a problem: the body without the model's name."""
    request = _request(root, record, problem, sample)
    return request.body()  # type: ignore[no-any-return]


def trace_ids(
    root: Path, record: Record, contracts: Iterable[Json], problem: Json, sample: int
) -> list[str]:
    """The ids that an answer to a problem may have, one for each contract."""
    request = _request(root, record, problem, sample)
    return [
        content_id([problem["problem_id"], request.key(identity)])
        for identity in ({k: c[k] for k in IDENTITY if k in c} for c in contracts)
    ]


# --- Files ----------------------------------------------------------------------------


def _problems(root: Path, path: str, record: Record) -> Iterator[str]:
    shards = int(options(record.command)["shards"][0])
    own = int(PurePosixPath(path).stem)
    seen: set[str] = set()
    for number, row in _rows(root, path):
        key = row["problem_id"]
        if key in seen:
            yield f"{path}:{number}: problem {key} stands here twice"
        seen.add(key)
        if problem_id(row) != key:
            yield f"{path}:{number}: problem {key} is not the hash of its content"
        if shard_of(key, shards) != own:
            yield (
                f"{path}:{number}: problem {key} belongs to shard"
                f" {shard_of(key, shards):04d}"
            )


def _traces(root: Path, path: str, record: Record) -> Iterator[str]:
    problems = _by_id(root, _input(record, "data/problems/"))
    told = json.loads((root / path).with_suffix(".engine.json").read_text("utf-8"))
    imported = record.rule == "import_traces"
    for number, row in _rows(root, path):
        key = row["trace_id"]
        problem = problems.get(row["problem_id"])
        if problem is None:
            yield f"{path}:{number}: trace {key} answers a problem of another shard"
        elif not imported and not row["error"]:
            ids = trace_ids(root, record, told["contracts"], problem, row["sample"])
            if key not in ids:
                yield (
                    f"{path}:{number}: trace {key} is not the hash of its problem, its"
                    " request and what answered"
                )


def _verdicts(root: Path, path: str, record: Record) -> Iterator[str]:
    traces = [
        (row["trace_id"], row["problem_id"], row["sample"])
        for _, row in _rows(root, _input(record, "data/traces/"))
    ]
    judged = [
        (row["trace_id"], row["problem_id"], row["sample"])
        for _, row in _rows(root, path)
    ]
    if judged != traces:
        yield f"{path}: its verdicts are not those on the traces of its shard, in order"


def _rewrites(root: Path, path: str, record: Record) -> Iterator[str]:
    traces = {
        row["trace_id"]: row["problem_id"]
        for _, row in _rows(root, _input(record, "data/traces/"))
    }
    for number, row in _rows(root, path):
        if traces.get(row["trace_id"]) != row["problem_id"]:
            yield f"{path}:{number}: no trace {row['trace_id']} in the rewrite's shard"


def _datasets(root: Path, path: str, record: Record) -> Iterator[str]:
    for number, row in _rows(root, path):
        if "conversations" in row and training_id(row) != row["id"]:
            yield f"{path}:{number}: row {row['id']} is not the hash of its content"


CHECKS = {
    "problems": _problems,
    "traces": _traces,
    "verdicts": _verdicts,
    "rewrites": _rewrites,
    "datasets": _datasets,
}


def _rows(root: Path, path: str) -> Iterator[tuple[int, Json]]:
    with open(root / path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            yield number, json.loads(line)


def _by_id(root: Path, path: str) -> Mapping[str, Json]:
    return {row["problem_id"]: row for _, row in _rows(root, path)}


def _input(record: Record, prefix: str) -> str:
    return next(path for path in record.inputs if path.startswith(prefix))


# --- Requests -------------------------------------------------------------------------


def _request(root: Path, record: Record, problem: Json, sample: int) -> Any:
    from retrace.prompts import messages
    from retrace.rows import Tests
    from retrace.sampling import Request

    prompt, sampling, few_shot = _asked(root, record.command)
    reference = problem["reference"]
    tests = Tests.model_validate(reference) if reference["kind"] == "tests" else None
    asked = messages(prompt, problem["statement"], few_shot, tests)
    return Request(asked, sampling, sample)


@lru_cache(maxsize=64)
def _asked(root: Path, command: str) -> tuple[Any, Any, bool]:
    """Prompt, sampling and whether shots are shown, as a recorded command has them."""
    from retrace.prompts import Prompt
    from retrace.sampling import Sampling
    from retrace.texts import read_text

    found = options(command)
    prompt = Prompt.model_validate_json(_one(found["prompt"]))
    if found.get("system"):
        system = read_text(root / _one(found["system"]))
        prompt = prompt.model_copy(update={"system": system})
    sampling = Sampling.model_validate_json(_one(found["sampling"]))
    return prompt, sampling, "few-shot" in found


def _one(values: Sequence[str]) -> str:
    if len(values) != 1:
        raise ValueError(f"expected one value, found {len(values)}")
    return values[0]
