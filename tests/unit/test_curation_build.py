"""From judged traces to a training set: stages, counts, bytes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from curation_rows import problem, rewrite, trace, verdict

from retrace.curation import Settings
from retrace.curation.build import Dataset, Recipe, build
from retrace.curation.mix import ShortfallError, amounts
from retrace.rows import (
    Problem,
    RejectedRow,
    Rewrite,
    Trace,
    TrainingRow,
    Verdict,
    read_rows,
    write_rows,
)

ROOT = Path(__file__).parents[2]
TEMPLATES = {"stock": "Box it. {statement}", "other": "{statement}"}


class Rows:
    """Problems with samples of which some are right."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.traces: list[Trace] = []
        self.verdicts: list[Verdict] = []
        self.rewrites: list[Rewrite] = []

    def add(self, one: Problem, *right: bool, text: str = "") -> Rows:
        self.problems.append(one)
        for sample, ok in enumerate(right):
            written = trace(one, sample, text)
            judged = verdict(written, ok)
            self.traces.append(written)
            self.verdicts.append(judged)
            if ok:
                self.rewrites.append(rewrite(one, written, judged))
        return self

    def build(self, mixture: dict[str, int], **settings: Any) -> Dataset:
        recipe = Recipe(TEMPLATES, mixture, "S", Settings.model_validate(settings))
        return build(
            recipe,
            self.problems,
            self.traces,
            self.verdicts,
            self.rewrites,
            [],
            lambda text: len(text.split()),
        )


def reasons(dataset: Dataset) -> list[tuple[str, str]]:
    return sorted((row.stage, row.reason) for row in dataset.rejected)


def test_a_row_is_a_conversation_with_its_ids() -> None:
    one = problem(1)
    (row,) = Rows().add(one, True).build({"stock": 5}).train
    user, assistant = row.conversations
    assert (user.from_, user.value) == ("user", f"Box it. {one.statement}")
    assert assistant.value.startswith("<|begin_of_thought|>\n\nLet me think")
    assert assistant.value.endswith("\n\n<|end_of_solution|>")
    assert (row.problem_id, row.system, row.pass_rate) == (one.problem_id, "S", 1.0)
    assert list(json.loads(row.model_dump_json())["conversations"][0]) == [
        "from",
        "value",
    ]


def test_every_trace_is_either_in_or_rejected() -> None:
    rows = Rows()
    for number in range(20):
        rows.add(problem(number), number % 2 == 0, True, False)
    dataset = rows.build({"stock": 12})
    ids = [row.trace_id for row in dataset.train]
    ids += [row.trace_id for row in dataset.rejected]
    assert sorted(ids) == sorted(row.trace_id for row in rows.traces)
    assert len(dataset.train) == 12
    funnel = dataset.report["funnel"]
    assert funnel[0]["in"] == {"stock": 60}
    assert funnel[-1]["out"] == {"stock": 12}
    for before, after in itertools.pairwise(funnel):
        assert before["out"] == after["in"]
    assert dataset.report["pass_rates"]["stock"]["sometimes"] == 20


def test_the_same_problem_in_two_sets_stays_once() -> None:
    rows = Rows().add(problem(1, "other"), True).add(problem(1), True)
    dataset = rows.build({"stock": 5, "other": 5})
    assert [row.set for row in dataset.train] == ["other"]
    assert reasons(dataset) == [("duplicates", "duplicate_problem")]
    assert dataset.report["duplicates"]["across_sets"] == 1


def test_equal_answers_to_one_problem_stay_once() -> None:
    text = "Thinking.\n\nSo \\boxed{3}."
    dataset = (
        Rows()
        .add(problem(1), True, True, text=text)
        .build({"stock": 5}, selection={"per_problem": 2})
    )
    assert reasons(dataset) == [("duplicates", "duplicate_answer")]


def test_a_text_without_a_thought_is_no_reasoning() -> None:
    rows = Rows().add(problem(1), True, text="\\boxed{3}")
    assert reasons(rows.build({"stock": 5})) == [("structure", "no_thought")]
    kept = rows.build({"stock": 5}, selection={"empty_thought": True})
    assert len(kept.train) == 1


def test_a_right_trace_without_its_rewrite_is_an_error() -> None:
    rows = Rows().add(problem(1), True)
    rows.rewrites.clear()
    with pytest.raises(KeyError, match="has no rewrite"):
        rows.build({"stock": 5})
    assert len(rows.build({"stock": 5}, rewrite=False).train) == 1


def test_a_shortfall_is_told_and_by_policy_an_error() -> None:
    rows = Rows().add(problem(1), True).add(problem(2), True)
    report = rows.build({"stock": 5}).report
    assert report["mixture"]["shortfalls"] == ["wanted 5 rows of stock, have 2"]
    with pytest.raises(ShortfallError, match="wanted 5 rows of stock, have 2"):
        rows.build({"stock": 5}, shortfall="error")


def test_upsampling_only_when_asked() -> None:
    rows = Rows().add(problem(1), True).add(problem(2), True)
    dataset = rows.build({"stock": 5}, upsample=True)
    assert len(dataset.train) == 5
    assert len({row.id for row in dataset.train}) == 5
    assert dataset.report["train"]["problems"] == 2


def test_a_domain_has_its_limit() -> None:
    rows = Rows()
    for number in range(6):
        rows.add(problem(number, "stock" if number % 2 else "other"), True)
    dataset = rows.build({"stock": 3, "other": 3}, domains={"math": 4})
    assert len(dataset.train) == 4


def test_weights_add_up_to_the_total() -> None:
    assert amounts({"a": 1, "b": 1, "c": 1}, 10) == {"a": 4, "b": 3, "c": 3}
    assert amounts({"a": 5, "b": 2}, None) == {"a": 5, "b": 2}


def write_shards(rows: Rows, folder: Path, order: list[int]) -> list[str]:
    """Two shards of every file; `order` shuffles rows between and within them."""
    arguments = []
    for kind in ("problems", "traces", "verdicts", "rewrites"):
        found: list[Any] = getattr(rows, kind)
        random.Random(order[0]).shuffle(found)
        paths = [folder / kind / "stock" / f"{shard:04d}.jsonl" for shard in order]
        half = len(found) // 2
        write_rows(paths[0], found[:half])
        write_rows(paths[1], found[half:])
        arguments += [f"--{kind}", *map(str, paths)]
    return arguments


def run_script(rows: Rows, folder: Path, seed: str, order: list[int]) -> Path:
    arguments = write_shards(rows, folder, order)
    out = folder / "out"
    for name in ("train.jsonl", "rejected.jsonl", "report.json", "card.md"):
        arguments += [f"--{name.partition('.')[0]}", str(out / name)]
    command = [sys.executable, "scripts/build_dataset.py", "--dataset", "small"]
    command += ["--templates", json.dumps(TEMPLATES), "--mixture", '{"stock": 9}']
    command += ["--system", "S", "--curation", "{}", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return out


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    outs = []
    for name, seed, order in (("a", "1", [0, 1]), ("b", "2", [1, 0])):
        rows = Rows()
        for number in range(30):
            rows.add(problem(number % 28), True, number % 3 == 0)
        outs.append(run_script(rows, tmp_path / name, seed, order))
    for name in ("train.jsonl", "rejected.jsonl"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    train = list(read_rows(outs[0] / "train.jsonl", TrainingRow))
    assert len(train) == 9
    assert list(read_rows(outs[0] / "rejected.jsonl", RejectedRow))


def test_the_numbers_of_the_card_are_those_of_the_files(tmp_path: Path) -> None:
    rows = Rows()
    for number in range(20):
        rows.add(problem(number), True, number % 3 == 0)
    out = run_script(rows, tmp_path, "0", [0, 1])
    train = list(read_rows(out / "train.jsonl", TrainingRow))
    rejected = list(read_rows(out / "rejected.jsonl", RejectedRow))
    card = (out / "card.md").read_text("utf-8")
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["configs"][0]["data_files"][0]["path"] == "train.jsonl"
    assert metadata["size_categories"] == ["n<1K"]
    composition, funnel, files, inputs = tables(card)
    assert [line["rows"] for line in composition] == [str(len(train))]
    assert [line["problems"] for line in composition] == ["20"]
    dropped = sum(int(line["in"]) - int(line["out"]) for line in funnel)
    assert dropped == len(rejected)
    assert int(funnel[-1]["out"]) == len(train)
    for line in files:
        content = (out / line["file"]).read_bytes()
        assert line["sha256"] == f"`{hashlib.sha256(content).hexdigest()}`"
    counted = sum(int(line["rows"]) for line in inputs if line["input"] == "traces")
    assert counted == len(rows.traces)


def tables(card: str) -> list[list[dict[str, str]]]:
    """The tables of a card with a first column that the test reads."""
    found = []
    for block in card.split("\n\n"):
        lines = [line.strip("| ").split(" | ") for line in block.splitlines()]
        if block.startswith("|") and lines[0][0] in ("set", "stage", "file", "input"):
            found.append([dict(zip(lines[0], line, strict=True)) for line in lines[2:]])
    return [table for table in found if "by model" not in table[0]]


def test_the_training_set_loads_without_arguments(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = Rows().add(problem(1), True).add(problem(2), True)
    write_rows(tmp_path / "set" / "train.jsonl", rows.build({"stock": 2}).train)
    loaded = datasets.load_dataset(
        str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.num_rows == 2
    assert loaded[0]["conversations"][0]["from"] == "user"
