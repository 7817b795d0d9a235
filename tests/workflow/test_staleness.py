"""A step reruns when its content changed, and only then."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from conftest import Checkout
from fault_server import FaultServer

pytestmark = pytest.mark.slow

DOWNSTREAM = {"build_dataset", "write_card", "build_report"}


def test_a_finished_recipe_has_nothing_to_do(done: Checkout) -> None:
    assert done.plan() == {}


def test_touching_every_file_reruns_nothing(done: Checkout) -> None:
    later = time.time() + 60
    for file in done.path.rglob("*"):
        if file.is_file() and ".snakemake" not in file.parts:
            os.utime(file, (later, later))
            later += 0.01
    assert done.plan() == {}


def test_a_comment_in_a_module_reruns_nothing(done: Checkout) -> None:
    for module in (
        "retrace/judging/math.py",
        "retrace/rows.py",
        "scripts/judge_traces.py",
    ):
        path = done.path / module
        path.write_text(path.read_text("utf-8") + "\n# A remark.\n", "utf-8")
    assert done.plan() == {}


def test_a_changed_judge_reruns_its_verdicts_and_what_follows(done: Checkout) -> None:
    done.edit(
        "retrace/judging/math.py",
        "        default=5.0, gt=0",
        "        default=4.0, gt=0",
    )
    jobs = done.plan()
    judged = jobs.pop("judge_traces")
    assert judged == {
        *(f"teacher/sums/000{number}" for number in range(3)),
        "teacher/sums-new/0000",
        "plain/sums-new/0000",
    }
    assert set(jobs) == {"rewrite_traces", "score_benchmark", *DOWNSTREAM}
    assert not any("names" in job for job in jobs["rewrite_traces"])


def test_a_changed_prompt_reruns_the_sampling_of_its_set(done: Checkout) -> None:
    done.recipe["sets"]["sums"]["template"] = "Now solve this: {statement}"
    jobs = done.plan()
    expected = {f"teacher/sums/000{number}" for number in range(3)}
    assert jobs.pop("sample_traces") == expected
    assert jobs.pop("judge_traces") == expected
    assert jobs.pop("rewrite_traces") == expected
    assert set(jobs) == DOWNSTREAM


def test_changed_shots_leave_a_model_alone_that_does_not_see_them(
    done: Checkout,
) -> None:
    done.recipe["sets"]["sums-new"]["shots"] = [
        {"statement": "2 + 2?", "response": "\\boxed{4}"}
    ]
    assert done.plan()["sample_traces"] == {"teacher/sums-new/0000"}


def test_a_changed_pin_reruns_what_depends_on_the_package(done: Checkout) -> None:
    pins = (done.path / "envs/laptop.txt").read_text("utf-8")
    pinned = next(line for line in pins.splitlines() if line.startswith("sympy=="))
    done.edit("envs/laptop.txt", pinned, "sympy==0.0.1")
    jobs = done.plan()
    assert not any("names" in job for job in jobs["judge_traces"])
    assert "sample_traces" not in jobs
    output = done.snakemake("--until", "judge_traces", ok=False)
    assert "expected 0.0.1" in output


def test_new_problems_rerun_their_shard_and_ask_only_for_themselves(
    done: Checkout, server: FaultServer
) -> None:
    done.recipe["sets"]["sums"]["source"]["count"] += 1
    jobs = done.plan()
    shard = jobs["make_problems"]
    assert len(shard) == 1
    assert jobs["sample_traces"] == {f"teacher/{job}" for job in shard}
    assert jobs["judge_traces"] == jobs["rewrite_traces"] == jobs["sample_traces"]
    done.snakemake("--until", "sample_traces")
    assert server.seen()["requests"] == done.recipe["sets"]["sums"]["sampling"]["n"]


def test_the_terms_and_the_running_of_an_engine_make_nothing_stale(
    done: Checkout,
) -> None:
    teacher = done.recipe["models"]["teacher"]
    teacher["engine"]["concurrency"] = 3
    teacher["engine"]["requests_per_minute"] = 1000
    teacher["terms"] = {"prices": {"prompt": 1.0}, "budget": 5.0}
    # Only the page is: it shows the whole config.
    assert set(done.plan()) == {"build_report"}
    teacher["engine"]["extra"] = {"reasoning_effort": "low"}
    assert "sample_traces" in done.plan()


def test_another_number_of_shards_asks_nothing(
    done: Checkout, server: FaultServer
) -> None:
    done.recipe["sets"]["sums"]["shards"] = 2
    done.snakemake("--until", "sample_traces")
    assert server.seen()["requests"] == 0


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("data/problems/sums/0001.jsonl", marks=pytest.mark.long),
        "data/traces/teacher/sums/0002.jsonl",
        pytest.param("data/verdicts/plain/sums-new/0000.jsonl", marks=pytest.mark.long),
        pytest.param("data/rewrites/teacher/sums/0000.jsonl", marks=pytest.mark.long),
        "data/datasets/everything/card.md",
    ],
)
def test_a_deleted_intermediate_comes_back(
    done: Checkout, server: FaultServer, file: str
) -> None:
    path: Path = done.path / file
    before = done.results()
    path.unlink()
    done.snakemake()
    assert done.results() == before
    assert server.seen()["requests"] == 0
    assert done.plan() == {}


def test_an_edited_intermediate_is_noticed(done: Checkout) -> None:
    path = done.path / "data/verdicts/teacher/sums/0000.jsonl"
    path.write_text(path.read_text("utf-8").replace("false", "true", 1), "utf-8")
    assert "rewrite_traces" in done.plan()
