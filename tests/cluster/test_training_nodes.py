"""A training on two nodes of a cluster: it meets, stops at its limit, and goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from loopback import Cluster, unavailable
from tiny_model import build

from retrace import weights
from retrace.rows import write_rows
from retrace.stopping import EXIT_AGAIN, LIMIT_VARIABLE
from tests.unit.training_rows import rows

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "learning_rate": 1e-3,
    "batch_size": 8,
    "max_length": 1024,
    "save_steps": 100,
    "gradient_checkpointing": False,
    "precision": "float32",
}

# The nodes' names are SLURM's alone: no resolver of this machine knows them.
SCONTROL = """#!/bin/sh
{scontrol} "$@" | sed s/^gpu.$/127.0.0.1/
"""

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm")).start() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    build(folder / "base")
    write_rows(folder / "train.jsonl", rows(40, longest=4))
    shim = folder / "scontrol"
    shim.write_text(SCONTROL.format(scontrol=shutil.which("scontrol")))
    shim.chmod(0o755)
    return folder


def start(
    cluster: Cluster, inputs: Path, folder: Path, epochs: int, limit: float = 0
) -> subprocess.Popen[str]:
    """A launcher on the first node of an allocation of two, as `sbatch` starts it."""
    settings = json.dumps(SETTINGS | {"epochs": epochs})
    command = [
        *("salloc", "--partition=gpu", "--nodes=2", "--ntasks-per-node=1"),
        *(sys.executable, "-m", "retrace.training.launch"),
        *("--ranks", "1", "--nodes", "2"),
        *("scripts/train_student.py", "--student", "pupil", "--training", settings),
        *("--dataset", str(inputs / "train.jsonl"), "--weights", str(inputs / "base")),
        *("--threads", "1", "--checkpoints", str(folder / "checkpoints")),
        *("--shards", "1", "--out", str(folder / "model")),
        *("--metrics", str(folder / "model/metrics.jsonl")),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment["SLURM_CONF"] = str(cluster.config)
    environment["PATH"] = f"{inputs}:{environment['PATH']}"
    if limit:
        environment[LIMIT_VARIABLE] = str(time.time() + limit)
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str]:
    told, _ = process.communicate(timeout=seconds)
    return process.returncode, told


@pytest.mark.timeout(900)
def test_two_nodes_stop_at_their_limit_and_go_on(
    cluster: Cluster, inputs: Path, tmp_path: Path
) -> None:
    code, told = finish(start(cluster, inputs, tmp_path, epochs=2, limit=1))
    assert code == EXIT_AGAIN, told
    (run,) = (tmp_path / "checkpoints").iterdir()
    assert len(list(run.glob("checkpoint-*/complete.json"))) == 1
    code, told = finish(start(cluster, inputs, tmp_path, epochs=2))
    assert code == 0, told
    assert "step 1/10 " not in told
    manifest = weights.verify(tmp_path / "model")
    assert manifest["training"]["ranks"] == 2
    assert manifest["training"]["steps"] == 10


@pytest.mark.timeout(900)
@pytest.mark.parametrize("node", [0, 1])
def test_a_rank_that_dies_ends_both_nodes(
    cluster: Cluster, inputs: Path, tmp_path: Path, node: int
) -> None:
    process = start(cluster, inputs, tmp_path, epochs=5000)
    ranks: dict[str, Any] = {}
    until = time.monotonic() + 200
    while time.monotonic() < until and not list(tmp_path.glob("*/*/progress.json")):
        time.sleep(0.2)
    for one in psutil.process_iter(["cmdline"]):
        line = one.info["cmdline"] or []
        if str(tmp_path / "model") in line and "-u" in line:
            ranks[one.environ()["GROUP_RANK"]] = one
    assert sorted(ranks) == ["0", "1"], finish(process)
    ranks[str(node)].kill()
    code, told = finish(process, seconds=60)
    assert code not in (0, EXIT_AGAIN), told
    assert not psutil.wait_procs(list(ranks.values()), 10)[1]
