"""A training that meets its time limit ends with the same bits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer
from loopback import Cluster, unavailable
from runs import WITHOUT_ACCOUNTING, Checkout, check_out
from tiny_model import build

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]

MANIFEST = "models/taught/manifest.json"
# Longer than the minute that the first attempt has, by far.
TRAINING = {
    "epochs": 30,
    "learning_rate": 1e-4,
    "batch_size": 4,
    "max_length": 512,
    "save_steps": 10_000,
}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "slurm").start() as cluster:
        yield cluster


@pytest.fixture
def undisturbed(tmp_path: Path) -> Checkout:
    """A checkout with a student that was trained here, at one stretch."""
    (tmp_path / "tree").mkdir()
    with FaultServer() as server:
        checkout = check_out(tmp_path / "tree", server)
        build(checkout.path / "tiny")
        recipe = checkout.recipe
        recipe["weights"] = {"tiny": {"kind": "local", "path": "tiny"}}
        everything = recipe["datasets"]["everything"]
        everything["mixture"] = {"names": 6}
        recipe["students"] = {
            "taught": {"base": "tiny", "dataset": "everything", "training": TRAINING}
        }
        checkout.here("--rerun-incomplete", MANIFEST)
    return checkout


@pytest.mark.timeout(1200)
def test_training_ends_before_its_time_limit_and_goes_on(
    undisturbed: Checkout, cluster: Cluster, tmp_path: Path
) -> None:
    wanted = weights(undisturbed.path)
    for name in ("models", "checkpoints"):
        shutil.rmtree(undisturbed.path / name)
    log = tmp_path / "log"
    limit = ("--set-resources", "train_student:runtime=attempt")
    with open(log, "w") as out:
        options = (MANIFEST, *WITHOUT_ACCOUNTING, *limit)
        process = undisturbed.start(*options, stdout=out)
        assert process.wait(timeout=900) == 0, log.read_text()[-6000:]
    assert weights(undisturbed.path) == wanted
    states = cluster.run("squeue", "--states=all", "-h", "-o", "%T").split()
    assert sorted(set(states)) == ["COMPLETED", "FAILED"], states
    assert cluster.queue() == []


def weights(root: Path) -> dict[str, bytes]:
    files = sorted((root / "models/taught").glob("*.safetensors"))
    assert files
    return {file.name: file.read_bytes() for file in files}
