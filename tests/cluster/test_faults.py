"""What clusters do to jobs, on the real scheduler.

Each time the run must end with the bytes of an undisturbed one, nothing asked twice
that was answered, and nothing left in the queue.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trials
from fault_server import FaultServer
from loopback import Cluster, unavailable
from runs import WITHOUT_ACCOUNTING, Checkout
from trials import AT_ONCE, Trial

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(
    server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Checkout:
    return trials.undisturbed(server, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm")).start() as cluster:
        yield cluster


@pytest.fixture
def trial(
    undisturbed: Checkout, cluster: Cluster, server: FaultServer, tmp_path: Path
) -> Iterator[Trial]:
    made = trials.trial(undisturbed, cluster, server, tmp_path, WITHOUT_ACCOUNTING)
    with made as trial:
        yield trial


def test_sampling_ends_before_its_time_limit_and_goes_on(trial: Trial) -> None:
    trial.server.change(latency=4.0)
    trial.finish(trial.start("--set-resources", "sample_traces:runtime=attempt"))
    # It ended itself: otherwise SLURM would have said TIMEOUT.
    assert trial.ends() == ["FAILED", "COMPLETED"]
    # What was in flight had the time to end.
    trial.check(repeats=0)


@pytest.mark.long
def test_a_cancelled_job_is_tried_again_and_goes_on(trial: Trial) -> None:
    process = trial.start_sampling()
    trial.cluster.run("scancel", trial.job())
    trial.finish(process)
    assert trial.ends() == ["CANCELLED", "COMPLETED"]
    trial.check(repeats=AT_ONCE)


@pytest.mark.long
def test_a_node_that_fails(trial: Trial) -> None:
    process = trial.start_sampling()
    job = trial.job()
    node = ("scontrol", "update", "nodename=cpu1")
    trial.cluster.run(*node, "state=down", "reason=test")
    trial.cluster.wait(lambda: trial.state(job) == "PENDING", "requeued job")
    trial.cluster.wait(lambda: in_service(trial.cluster, "cpu1"), "node in service")
    trial.hurry(job)
    trial.finish(process)
    trial.check(repeats=AT_ONCE)


@pytest.mark.long
def test_ctrl_c_and_the_same_command_again(trial: Trial) -> None:
    process = trial.start_sampling()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    trial.cluster.wait(lambda: not trial.cluster.queue(), "empty queue")
    trial.finish(trial.start())
    trial.check(repeats=AT_ONCE)


@pytest.mark.long
def test_snakemake_killed_and_the_same_command_again(trial: Trial) -> None:
    process = trial.start_sampling()
    process.kill()
    process.wait()
    # The job goes on without it, to its end.
    trial.cluster.wait(lambda: not trial.cluster.queue(), "empty queue", 120)
    assert trial.start("--unlock").wait(timeout=60) == 0
    trial.finish(trial.start())
    trial.check(repeats=0)


@pytest.mark.long
def test_a_job_out_of_memory_gets_more(trial: Trial) -> None:
    trial.server.change(latency=0.0)
    trial.finish(trial.start("--set-resources", "sample_traces:mem_mb=attempt * 150"))
    assert trial.ends()[0] in ("FAILED", "OUT_OF_MEMORY")
    assert trial.ends()[-1] == "COMPLETED"
    trial.check(repeats=AT_ONCE)


@pytest.mark.long
def test_a_preempted_job_goes_on(trial: Trial) -> None:
    where = ("--set-resources", "sample_traces:slurm_partition=scavenge")
    process = trial.start_sampling(*where)
    job = trial.job()
    # Somebody who goes before everybody takes both nodes for a while.
    whole = ("-p", "gpu", "--nodes=2", "--exclusive", "--time=1", "--output=/dev/null")
    trial.cluster.run("sbatch", *whole, "--wrap=sleep 5")
    trial.cluster.wait(lambda: trial.state(job) == "PENDING", "requeued job")
    trial.cluster.wait(lambda: len(trial.cluster.queue()) == 1, "end of the other job")
    trial.hurry(job)
    trial.finish(process)
    trial.check(repeats=AT_ONCE)


def in_service(cluster: Cluster, node: str) -> bool:
    """Resume a node, unless it has registered again by itself."""
    if "DOWN" in cluster.run("scontrol", "show", "node", node):
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    return True
