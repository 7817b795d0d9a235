"""From judged traces to a training set: stages, counts, bytes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from curation_rows import problem, rewrite, trace, verdict
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

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
sys.path.insert(0, str(ROOT / "scripts"))
import write_card  # noqa: E402

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


def run_script(
    rows: Rows, folder: Path, seed: str, order: list[int], threads: int = 1
) -> Path:
    """Both scripts, as their rules call them; a benchmark has problem 0 and another."""
    arguments = write_shards(rows, folder, order)
    benchmark = folder / "problems" / "exam" / "0000.jsonl"
    write_rows(benchmark, [problem(0, "exam"), problem(900, "exam")])
    out = folder / "out"
    for name in ("train.jsonl", "rejected.jsonl", "report.json"):
        arguments += [f"--{name.partition('.')[0]}", str(out / name)]
    command = [sys.executable, "scripts/build_dataset.py", "--dataset", "small"]
    command += ["--templates", json.dumps(TEMPLATES), "--mixture", '{"stock": 9}']
    command += ["--system", "S", "--curation", "{}", "--threads", str(threads)]
    command += ["--benchmarks", str(benchmark), *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    report = ["--dataset", "small", "--report", str(out / "report.json")]
    about = ["--licenses", '{"stock": "mit"}', "--teachers", '{"teacher": "a model"}']
    assert write_card.main([*report, *about, "--out", str(out / "card.md")]) == 0
    return out


@pytest.mark.slow
def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    outs = []
    for name, seed, order, threads in (("a", "1", [0, 1], 1), ("b", "2", [1, 0], 2)):
        rows = Rows()
        for number in range(30):
            rows.add(problem(number % 28), True, number % 3 == 0)
        outs.append(run_script(rows, tmp_path / name, seed, order, threads))
    for name in ("train.jsonl", "rejected.jsonl"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    train = list(read_rows(outs[0] / "train.jsonl", TrainingRow))
    assert len(train) == 9
    assert list(read_rows(outs[0] / "rejected.jsonl", RejectedRow))


def test_the_numbers_of_the_card_are_those_of_the_files(tmp_path: Path) -> None:
    """Every table is rendered, and what it says is counted again from the rows."""
    rows = Rows()
    for number in range(20):
        rows.add(problem(number), True, number % 3 == 0)
    out = run_script(rows, tmp_path, "0", [0, 1])
    train = list(read_rows(out / "train.jsonl", TrainingRow))
    rejected = list(read_rows(out / "rejected.jsonl", RejectedRow))
    text = (out / "card.md").read_text("utf-8")
    card = DatasetCard(text)
    assert card.data.license == ["mit"]
    assert card.data.size_categories == ["n<1K"]
    assert card.data.configs[0]["data_files"][0]["path"] == "train.jsonl"
    assert f"{len(train)} reasoning traces for {len(train)} problems" in card.text
    assert "`teacher` (a model)" in card.text
    found = tables(card.text)
    (composition,) = found["set", "source"]
    assert composition["rows"] == str(len(train))
    assert (composition["problems"], composition["licence"]) == ("20", "mit")
    stages = {line["stage"]: line for line in found["stage", "in"]}
    left = len(rows.traces)
    for stage, line in stages.items():
        fell = [row for row in rejected if row.stage == stage]
        reasons = Counter(row.reason for row in fell)
        assert (int(line["in"]), int(line["out"])) == (left, left - len(fell))
        told = ", ".join(f"{key} {n}" for key, n in sorted(reasons.items()))
        assert line["dropped for"] == (told or "-")
        left -= len(fell)
    assert left == len(train)
    (hits,) = found["found in", "method"]
    assert hits == {"found in": "statement", "method": "exact", "hits": "1"}
    contaminated = [row for row in rejected if row.stage == "decontaminate"]
    assert {row.problem_id for row in contaminated} == {problem(0).problem_id}
    (rewritten,) = found["set", "traces"]
    right = sum(row.ok for row in rows.verdicts)
    assert rewritten["traces"] == str(len(rows.rewrites))
    assert (
        rewritten["right before"] == f"{right} ({100 * right / len(rows.rewrites)} %)"
    )
    for line in found["file", "sha256"]:
        content = (out / line["file"]).read_bytes()
        assert line["sha256"] == hashlib.sha256(content).hexdigest()
    inputs = found["input", "set"]
    counted = sum(int(line["rows"]) for line in inputs if line["input"] == "traces")
    assert counted == len(rows.traces)


def test_the_card_tells_llama_factory_how_to_read_the_rows() -> None:
    rows = Rows().add(problem(1), True).add(problem(2), True)
    dataset = rows.build({"stock": 2})
    report = {
        **dataset.report, "tokenizer": False, "software": [], "inputs": [],
        "outputs": {}, "settings": {"verify": True, "unchecked": []},
    }  # fmt: skip
    text = write_card.card("small", report)
    block = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert block is not None
    info = json.loads(block[1])["small"]
    columns, tags = info["columns"], info["tags"]
    assert info["formatting"] == "sharegpt"
    for row in dataset.train:
        line = json.loads(row.model_dump_json())
        assert line[columns["system"]] == "S"
        turns = line[columns["messages"]]
        roles = [turn[tags["role_tag"]] for turn in turns]
        assert roles == [tags["user_tag"], tags["assistant_tag"]]
        assert all(turn[tags["content_tag"]] for turn in turns)


def tables(text: str) -> dict[tuple[str, str], list[dict[str, str]]]:
    """The tables of a card as a reader's browser gets them, by their first columns."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    head: list[str] = []
    cells: list[str] = []
    for token, inner in itertools.pairwise(tokens):
        if token.type in ("th_open", "td_open"):
            assert inner.children is not None
            cells.append("".join(part.content for part in inner.children))
        elif token.type == "thead_close":
            head, cells = cells, []
        elif token.type == "tr_close" and head and cells:
            lines = found.setdefault((head[0], head[1]), [])
            lines.append(dict(zip(head, cells, strict=True)))
            cells = []
        elif token.type == "table_close":
            head, cells = [], []
    return found


def test_a_card_says_what_was_not_checked() -> None:
    rows = Rows().add(problem(1), True)
    dataset = rows.build({"stock": 1})
    report = {
        **dataset.report, "tokenizer": False, "software": [], "inputs": [],
        "outputs": {}, "settings": {"verify": True, "unchecked": ["stock"]},
    }  # fmt: skip
    assert "nothing could check it: stock (1 rows)" in write_card.card("d", report)
    report["settings"] = {"verify": False, "unchecked": []}
    text = write_card.card("d", report)
    assert "wrong ones were **not** left out" in text
    assert "judged correct" not in text


def test_a_card_says_where_the_search_missed_its_promise() -> None:
    rows = Rows().add(problem(1), True)
    report = {
        **rows.build({"stock": 1}).report, "tokenizer": False, "software": [],
        "inputs": [], "outputs": {}, "settings": {"verify": True, "unchecked": []},
    }  # fmt: skip
    kinds = {
        "exact": {"planted": 9, "found": 9, "recall": 1.0, "promised": 1.0},
        "renamed": {"planted": 9, "found": 8, "recall": 0.8889, "promised": 0.9},
        "reworded": {"planted": 9, "found": 1, "recall": 0.1111, "promised": None},
    }
    planted = {"kinds": kinds, "controls": 9, "false": 1, "precision": 0.9474}
    report["contamination"] |= {"benchmarks": {"exam": 9}, "planted": planted}
    lines = write_card.card("d", report).splitlines()
    marked = [line for line in lines if "(below)" in line]
    assert marked == ["| renamed | 9 | 8 | 88.9 % **(below)** | 90 % |"]
    assert any("1 (11.1 %) were taken for one of them" in line for line in lines)


def test_the_training_set_loads_without_arguments(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = Rows().add(problem(1), True).add(problem(2), True)
    write_rows(tmp_path / "set" / "train.jsonl", rows.build({"stock": 2}).train)
    loaded = datasets.load_dataset(
        str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.num_rows == 2
    assert loaded[0]["conversations"][0]["from"] == "user"
