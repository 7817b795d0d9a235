"""From a row back to its raw problem, and from a problem to all that became of it.

A row is named by its id or the beginning of it; a model by its name; a problem's part
in a score as `MODEL/BENCHMARK/PROBLEM`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from retrace.provenance import links
from retrace.provenance.links import LineageError
from retrace.provenance.workspace import Json, Link, Workspace

SHORTEST = 6


@dataclass
class Lineage:
    """A way through the artefacts, first what came first."""

    of: str
    kind: str
    links: list[Link] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(link.ok for link in self.links)

    def as_json(self) -> dict[str, Any]:
        return {"of": self.of, "kind": self.kind, "ok": self.ok} | {
            "links": [asdict(link) | {"ok": link.ok} for link in self.links]
        }


def trace_back(root: Path, wanted: str) -> Lineage:
    """Where a training row, a rejected one, a trace, a score's item or a model is from.

    Raises:
        LineageError: nothing has that name or id, or a link on the way is missing.
    """
    space = Workspace(root)
    name = wanted.removeprefix("models/").rstrip("/")
    if space.exists(f"models/{name}/{links.MANIFEST}"):
        return _model(space, name)
    if wanted.count("/") == 2:
        return _item(space, *wanted.split("/"))
    if len(wanted) < SHORTEST:
        raise LineageError(f"give at least {SHORTEST} characters of an id")
    for path in space.glob("data/datasets/*/train.jsonl"):
        for name in ("id", "trace_id"):
            for line, row in space.rows(path, wanted, name):
                return _training_row(space, path, line, row)
    for path in space.glob("data/traces/*/*/*.jsonl"):
        for _, row in space.rows(path, wanted, "trace_id"):
            return _trace(space, PurePosixPath(path), row)
    raise LineageError(
        f"{wanted} is no training row, trace or model here, and no MODEL/BENCHMARK/"
        "PROBLEM; what became of a problem: `retrace lineage --from PROBLEM`"
    )


def trace_forward(root: Path, wanted: str) -> Lineage:
    """What became of a problem: every trace, verdict, rewrite, row, student and score.

    Raises:
        LineageError: no problem has that id.
    """
    if len(wanted) < SHORTEST:
        raise LineageError(f"give at least {SHORTEST} characters of an id")
    space = Workspace(root)
    for path in space.glob("data/problems/*/*.jsonl"):
        for _, row in space.rows(path, wanted, "problem_id"):
            found = Lineage(row["problem_id"], "problem")
            found.links = links.problem(space, row["set"], row["problem_id"])
            found.links += _became(space, row["set"], row["problem_id"])
            return _ended(space, found)
    raise LineageError(f"no problem {wanted} in data/problems")


# --- Back -----------------------------------------------------------------------------


def _training_row(space: Workspace, path: str, line: int, row: Json) -> Lineage:
    found = Lineage(row["id"], "training row")
    found.links = links.problem(space, row["set"], row["problem_id"])
    found.links += _answer(
        space, _teacher(space, path, row), row["set"], row["trace_id"]
    )
    found.links.append(links.training_row(space, path, line, row))
    dataset = PurePosixPath(path).parent.name
    found.links += links.trainings(space, dataset)
    return _ended(space, found)


def _trace(space: Workspace, path: PurePosixPath, row: Json) -> Lineage:
    model, set_name = path.parts[2:4]
    found = Lineage(row["trace_id"], "trace")
    found.links = links.problem(space, set_name, row["problem_id"])
    found.links += _answer(space, model, set_name, row["trace_id"])
    found.links += _fate(space, row["trace_id"])
    return _ended(space, found)


def _item(space: Workspace, model: str, benchmark: str, problem_id: str) -> Lineage:
    path = f"scores/{model}/{benchmark}.json"
    if not space.exists(path):
        raise LineageError(f"{path} is not there: is it MODEL/BENCHMARK/PROBLEM?")
    ids = [i["problem_id"] for i in space.json(path)["items"]]
    key = next((i for i in ids if i.startswith(problem_id)), problem_id)
    score, told = links.item(space, path, key)
    found = Lineage(f"{model}/{benchmark}/{key}", "score")
    found.links = links.problem(space, told["set"], key)
    for traces in space.glob(f"data/traces/{model}/{told['set']}/*.jsonl"):
        for _, row in space.rows(traces, key, "problem_id"):
            found.links += _answer(space, model, told["set"], row["trace_id"])
    found.links += _weights(space, found.links)
    found.links.append(score)
    return _ended(space, found)


def _weights(space: Workspace, so_far: list[Link]) -> Iterator[Link]:
    """The models whose weights answered on the way."""
    paths = [link.path.partition(":")[0] for link in so_far if link.name == "trace"]
    kept = [space.record(path) for path in paths]
    read = [i for record in kept if record for i in record.inputs]
    for manifest in dict.fromkeys(i for i in read if i.endswith(links.MANIFEST)):
        yield links.model(space, PurePosixPath(manifest).parent.name)


def _model(space: Workspace, name: str) -> Lineage:
    found = Lineage(name, "model")
    link = links.model(space, name)
    record = space.record(link.path)
    for path in record.inputs if record else []:
        if path.startswith("data/datasets/"):
            found.links.append(_dataset(space, path))
        elif path.endswith(links.MANIFEST):
            found.links.append(links.model(space, PurePosixPath(path).parent.name))
    found.links.append(link)
    return _ended(space, found)


def _dataset(space: Workspace, path: str) -> Link:
    told = space.json(str(PurePosixPath(path).parent / "report.json"))
    facts = {key: told[key] for key in ("dataset", "teacher", "sources", "mixture")}
    output = f"models/*/{links.MANIFEST}"
    checks = space.check_file(path, *space.glob(output)) + space.check_code(path)
    return Link("dataset", path, facts, checks)


# --- Forward --------------------------------------------------------------------------


def _became(space: Workspace, set_name: str, problem_id: str) -> Iterator[Link]:
    for path in space.glob(f"data/traces/*/{set_name}/*.jsonl"):
        model = PurePosixPath(path).parts[2]
        for _, row in space.rows(path, problem_id, "problem_id"):
            yield from _answer(space, model, set_name, row["trace_id"])
            yield from _fate(space, row["trace_id"])
    for path in space.glob("scores/*/*.json"):
        if any(i["problem_id"] == problem_id for i in space.json(path)["items"]):
            yield links.item(space, path, problem_id)[0]


def _fate(space: Workspace, trace_id: str) -> Iterator[Link]:
    """The training rows that a trace became, or why it became none."""
    for path in space.glob("data/datasets/*/train.jsonl"):
        for line, row in space.rows(path, trace_id, "trace_id"):
            yield links.training_row(space, path, line, row)
            yield from links.trainings(space, PurePosixPath(path).parent.name)
    for path in space.glob("data/datasets/*/rejected.jsonl"):
        for line, row in space.rows(path, trace_id, "trace_id"):
            yield links.rejection(space, path, line, row)


# --- Both -----------------------------------------------------------------------------


def _answer(
    space: Workspace, model: str, set_name: str, trace_id: str
) -> Iterator[Link]:
    yield from links.trace(space, model, set_name, trace_id)
    yield links.verdict(space, model, set_name, trace_id)
    rewritten = links.rewrite(space, model, set_name, trace_id)
    if rewritten is not None:
        yield rewritten


def _teacher(space: Workspace, path: str, row: Json) -> str:
    """Who wrote a training row's trace: the model whose traces the dataset read."""
    record = space.record(path)
    for name in (
        record.inputs if record else space.glob(f"data/traces/*/{row['set']}/*")
    ):
        parts = PurePosixPath(name).parts
        if parts[:2] == ("data", "traces") and parts[3] == row["set"]:
            return parts[2]
    raise LineageError(f"nothing says who wrote the traces of set {row['set']}")


def _ended(space: Workspace, found: Lineage) -> Lineage:
    paths = [link.path.partition(":")[0] for link in found.links if link.path]
    found.links.append(links.environment(space, list(dict.fromkeys(paths))))
    found.links.append(links.commit(space))
    return found
