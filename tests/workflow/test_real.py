"""The whole recipe with a real engine and a real training, on a model built here.

1.6 million random parameters write nonsense, so this says nothing about scores; it says
that every part works with every other one: vLLM, DeepSpeed, the judges, the report.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Checkout, check_out, load_recipe
from tiny_model import build

from retrace import weights
from retrace.rows import Trace, TrainingRow, Verdict, read_rows

pytestmark = pytest.mark.slow

ENGINE: dict[str, Any] = {
    "kind": "vllm",
    "args": [
        "--max-model-len=1024",
        "--enforce-eager",
        "--no-enable-chunked-prefill",
        "--max-num-batched-tokens=4096",
    ],
    "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
    "start_timeout": 240,
    "concurrency": 16,
    "linger": 10,
}


def real_recipe() -> dict[str, Any]:
    recipe = load_recipe()
    recipe["weights"] = {"tiny": {"kind": "local", "path": "tiny"}}
    for model in recipe["models"].values():
        model |= {"engine": ENGINE, "weights": "tiny"}
    recipe["models"]["student"] = {"engine": ENGINE, "weights": "student"}
    recipe["students"] = {
        "student": {
            "base": "tiny",
            "dataset": "everything",
            "training": {
                "epochs": 1,
                "learning_rate": 1e-3,
                "batch_size": 4,
                "micro_batch_size": 4,
                "max_length": 512,
                "over_length": "drop",
            },
        }
    }
    recipe["benchmarks"]["sums"]["models"].append("student")
    return recipe


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    path = check_out(tmp_path_factory.mktemp("real"))
    build(path / "tiny")
    checkout = Checkout(path, real_recipe())
    checkout.snakemake()
    return checkout


def test_every_artefact_is_there_and_nothing_is_left_to_do(real: Checkout) -> None:
    assert real.plan() == {}
    scores = {path.parent.name for path in (real.path / "scores").rglob("*.json")}
    assert scores == {"plain", "teacher", "student"}
    assert "<html" in (real.path / "reports/tiny.html").read_text("utf-8")


def test_every_trace_is_judged_and_says_what_ran_it(real: Checkout) -> None:
    for traces in (real.path / "data/traces").rglob("*.jsonl"):
        verdicts = (
            real.path / "data/verdicts" / traces.relative_to(real.path / "data/traces")
        )
        asked = [row.trace_id for row in read_rows(traces, Trace)]
        assert asked
        assert asked == [row.trace_id for row in read_rows(verdicts, Verdict)]
        contract = traces.with_suffix("").with_suffix(".engine.json").read_text("utf-8")
        assert '"engine"' in contract
        assert "vllm" in contract


def test_the_student_was_trained_and_is_a_model_like_any_other(real: Checkout) -> None:
    student = real.path / "models/student"
    manifest = weights.verify(student)
    taught = list(
        read_rows(real.path / "data/datasets/everything/train.jsonl", TrainingRow)
    )
    training = manifest["training"]
    assert training["rows"] + len(training["rows_dropped"]) == len(taught)
    steps = [
        json.loads(line)
        for line in (student / "metrics.jsonl").read_text("utf-8").splitlines()
    ]
    assert [step["step"] for step in steps] == list(range(1, training["steps"] + 1))
    assert steps[-1]["loss"] < steps[0]["loss"]
    loaded = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; from transformers import AutoModelForCausalLM as M;"
            "M.from_pretrained(sys.argv[1])",
            str(student),
        ],
        check=False,
        capture_output=True,
    )
    assert loaded.returncode == 0, loaded.stderr[-2000:]


def test_no_engine_outlives_the_run(real: Checkout) -> None:
    def engines() -> list[list[str]]:
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()) == real.path:
                    found.append(process.cmdline())
            except psutil.Error:
                continue
        return found

    until = time.monotonic() + 20
    while engines() and time.monotonic() < until:
        time.sleep(0.2)
    assert engines() == []
