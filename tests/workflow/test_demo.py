"""What `make demo` left: nothing to do, every row in its place, a better student.

Run after `make demo`, in the same checkout: `pytest -m demo`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from retrace import weights
from retrace.rows import (
    Problem,
    RejectedRow,
    Rewrite,
    Trace,
    TrainingRow,
    Verdict,
    read_rows,
)

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.demo, pytest.mark.slow]


def score(model: str, benchmark: str) -> dict[str, Any]:
    path = ROOT / "scores" / model / f"{benchmark}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def rows(folder: str, model: type[Any]) -> list[Any]:
    files = sorted((ROOT / "data" / folder).rglob("*.jsonl"))
    assert files, f"no rows under data/{folder}: run `make demo` first"
    return [row for file in files for row in read_rows(file, model)]


def test_a_second_run_has_nothing_to_do() -> None:
    started = time.monotonic()
    result = subprocess.run(
        [
            str(Path(sys.executable).with_name("snakemake")),
            *("--profile", "profiles/demo"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    print(f"no-op run: {time.monotonic() - started:.1f} s")
    assert "Nothing to be done" in result.stdout + result.stderr


@pytest.mark.parametrize(
    "benchmark", ["words-new-operands", "words-new-templates", "needles"]
)
def test_the_student_beats_its_base_beyond_doubt(benchmark: str) -> None:
    student, base = score("student", benchmark), score("base", benchmark)
    assert student["low"] > base["accuracy"]


def test_every_row_leads_back_to_a_problem() -> None:
    problems = {row.problem_id for row in rows("problems", Problem)}
    traces = {row.trace_id: row for row in rows("traces", Trace)}
    verdicts = rows("verdicts", Verdict)
    assert {row.problem_id for row in traces.values()} <= problems
    assert {row.trace_id for row in verdicts} == set(traces)
    right = {row.trace_id for row in verdicts if row.ok}
    assert {row.trace_id for row in rows("rewrites", Rewrite)} <= right


def test_only_right_rows_are_taught_and_every_other_one_has_a_reason() -> None:
    folder = ROOT / "data/datasets/verified"
    taught = list(read_rows(folder / "train.jsonl", TrainingRow))
    dropped = list(read_rows(folder / "rejected.jsonl", RejectedRow))
    right = {row.trace_id for row in rows("verdicts", Verdict) if row.ok}
    assert len(taught) >= 50
    assert {row.trace_id for row in taught} <= right
    assert {row.domain for row in taught} == {"math", "puzzle", "code"}
    assert not {row.trace_id for row in taught} & {row.trace_id for row in dropped}
    assert all(row.stage and row.reason for row in dropped)


def test_the_models_are_what_their_manifests_say() -> None:
    for name in ("smollm2", "student"):
        manifest = weights.verify(ROOT / "models" / name)
        assert set(manifest["files"]) == set(weights.file_names(1)[1:])


def test_the_report_stands_alone() -> None:
    page = (ROOT / "reports/demo.html").read_text("utf-8")
    assert "words-new-operands" in page
    assert 'src="http' not in page
    assert 'href="//' not in page
