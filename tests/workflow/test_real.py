"""The recipe with a real engine, on a model built here.

1.6 million random parameters write nonsense, so nothing of it could be taught: training
is seen in the demo. This says that vLLM, the judges and the report work together.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Checkout, check_out, load_recipe
from tiny_model import build

from retrace.rows import Trace, Verdict, read_rows

pytestmark = pytest.mark.slow

ENGINE: dict[str, Any] = {
    "kind": "vllm",
    "dtype": "float32",
    "args": [
        "--max-model-len=1024",
        "--enforce-eager",
        "--no-enable-chunked-prefill",
        "--max-num-batched-tokens=4096",
    ],
    "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
    "start_timeout": 240,
    "concurrency": 16,
    "linger": 10,
}


def real_recipe() -> dict[str, Any]:
    recipe = load_recipe()
    recipe["weights"] = {"tiny": {"kind": "local", "path": "tiny"}}
    for model in recipe["models"].values():
        model |= {"engine": ENGINE, "weights": "tiny"}
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
    assert scores == {"plain", "teacher"}
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
