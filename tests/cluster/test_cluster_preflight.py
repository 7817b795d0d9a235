"""What would fail on a real scheduler is said before anything is submitted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer
from loopback import Cluster, unavailable
from runs import SITE, WITHOUT_ACCOUNTING, Checkout, check_out

from retrace import slurm

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm")).start() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    with FaultServer() as server:
        yield check_out(tmp_path_factory.mktemp("tree"), server)


def stopped(checkout: Checkout, site: dict[str, Any], *arguments: str) -> list[str]:
    """The lines of the preflight of a run that it stops."""
    checkout.write_site(site)
    output = checkout.snakemake(*arguments, ok=False)
    assert "Nothing was started." in output
    assert "has been submitted" not in output
    return [
        line.removeprefix("preflight: ")
        for line in output.splitlines()
        if line.startswith("preflight: ")
    ]


def test_an_empty_site(checkout: Checkout, cluster: Cluster) -> None:
    lines = stopped(checkout, {}, *WITHOUT_ACCOUNTING)
    assert [line.split(":")[0] for line in lines] == [
        "profiles/slurm/site.yaml does not say account",
        "profiles/slurm/site.yaml does not say cpu.partition",
    ]
    assert cluster.queue() == []


def test_no_accounting_and_a_partition_of_another_name(
    checkout: Checkout, cluster: Cluster
) -> None:
    lines = stopped(checkout, SITE | {"cpu": {"partition": "main"}})
    assert [line.split(":")[0] for line in lines] == [
        "this cluster has no accounting, so `sacct` cannot say when a job ends",
        "there is no partition main",
    ]
    assert cluster.queue() == []


def test_a_partition_without_gpus(cluster: Cluster) -> None:
    asked = slurm.Request("train_student", "cpu", None, 64, 800_000, 60, 8, "h100")
    (line,) = slurm.objections([asked], "squeue")
    assert "those of partition cpu have none" in line
    assert "gpu.partition may be gpu, scavenge" in line


def test_what_the_cluster_has_is_enough(cluster: Cluster) -> None:
    asked = slurm.Request("train_student", "gpu", None, 64, 800_000, 2880, 8, "h100")
    assert list(slurm.objections([asked], "squeue")) == []


def test_no_slurm_at_all(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in Path("/usr/bin").iterdir():
        if program.name not in slurm.COMMANDS:
            (tmp_path / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    (line,) = stopped(checkout, SITE, *WITHOUT_ACCOUNTING)
    assert line.startswith("SLURM's sbatch, srun, squeue")


def test_the_doctor_asks_a_node_of_each_partition(
    checkout: Checkout, cluster: Cluster
) -> None:
    checkout.write_site(SITE | {"scratch": str(checkout.path / "scratch")})
    profile = checkout.path / "profiles/slurm/config.yaml"
    text = profile.read_text("utf-8")
    setting = "slurm-status-command: squeue"
    profile.write_text(text.replace(f"# {setting}", setting), "utf-8")
    environment = os.environ | {"PYTHONPATH": str(checkout.path)}
    command = [sys.executable, "-m", "retrace.cli", "doctor", "--profile", "slurm"]
    done = subprocess.run(
        [*command, "--environment", "envs/laptop.txt"],
        cwd=checkout.path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = done.stdout.splitlines()
    assert "ok      SLURM: settings: account and partitions are there" in lines
    for partition in ("cpu", "gpu"):
        told = [line for line in lines if f" partition {partition}, node " in line]
        assert len(told) == 5, done.stdout + done.stderr
        assert any("sandbox: " in line and line.startswith("ok") for line in told)
        assert any("scratch, " in line and line.startswith("ok") for line in told)
    # The cards of these nodes are pretended, which is what it is to notice.
    (problem,) = (line for line in lines if line.startswith("PROBLEM"))
    assert "GPUs: 1 given, but nvidia-smi shows none" in problem
    assert done.returncode == 1
    assert cluster.queue() == []
