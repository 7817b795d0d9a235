"""What clusters do to jobs, on the real scheduler.

Each time the run must end with the bytes of an undisturbed one, nothing asked twice
that was answered, and nothing left in the queue.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_server import FaultServer
from loopback import Cluster, unavailable
from runs import WITHOUT_ACCOUNTING, Checkout, check_out

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]

TRACES = "data/traces/teacher/sums/0000.jsonl"
VERDICTS = "data/verdicts/teacher/sums/0000.jsonl"
REQUESTS = 48
# Four requests at a time of so many seconds: sampling takes about 20 s.
LATENCY = 1.6
AT_ONCE = 4


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(
    server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Checkout:
    """A checkout in which the verdicts of a set were made, here and without a fault."""
    checkout = check_out(tmp_path_factory.mktemp("undisturbed"), server)
    checkout.recipe["sets"]["sums"]["shards"] = 1
    teacher = checkout.recipe["models"]["teacher"]
    teacher["terms"] = {"effort": {"margin": 20, "grace": 10}}
    checkout.here("--rerun-incomplete", VERDICTS)
    assert server.seen()["requests"] == REQUESTS
    return checkout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm")).start() as cluster:
        yield cluster


@dataclass
class Trial:
    """A checkout whose sampling and judging are to be done again, on the cluster."""

    checkout: Checkout
    cluster: Cluster
    server: FaultServer
    wanted: bytes
    log: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        options = (VERDICTS, *WITHOUT_ACCOUNTING, *arguments)
        with open(self.log, "a") as log:
            return self.checkout.start(*options, stdout=log)

    def start_sampling(self, *arguments: str) -> subprocess.Popen[str]:
        """Start, and return when some answers are there and more are to come."""
        process = self.start(*arguments)
        self.wait_for_answers(process, 2 * AT_ONCE)
        return process

    def wait_for_answers(self, process: subprocess.Popen[str], count: int) -> None:
        until = time.monotonic() + 200
        while self.server.seen()["answered"] < count:
            assert process.poll() is None, self.told()
            assert time.monotonic() < until, self.told()
            time.sleep(0.1)

    def finish(self, process: subprocess.Popen[str]) -> None:
        assert process.wait(timeout=400) == 0, self.told()

    def told(self) -> str:
        return self.log.read_text("utf-8", "replace")[-6000:]

    def job(self, rule: str = "sample_traces") -> str:
        """The SLURM job of a rule that waits or runs."""
        jobs = [line.split("|") for line in self.cluster.queue("%i|%k")]
        return next(number for number, comment in jobs if rule in comment)

    def check(self, repeats: int) -> None:
        assert (self.checkout.path / VERDICTS).read_bytes() == self.wanted, self.told()
        seen = self.server.seen()
        assert seen["distinct"] == REQUESTS
        assert seen["repeats"] <= repeats, self.told()
        assert self.cluster.queue() == []


@pytest.fixture
def trial(
    undisturbed: Checkout, cluster: Cluster, server: FaultServer, tmp_path: Path
) -> Iterator[Trial]:
    tree = tmp_path / "tree"
    shutil.copytree(undisturbed.path, tree, symlinks=True)
    wanted = (tree / VERDICTS).read_bytes()
    for name in ("data/traces", "data/verdicts", "journals"):
        shutil.rmtree(tree / name)
    checkout = Checkout(tree, undisturbed.recipe, undisturbed.environment)
    server.change(latency=LATENCY)
    server.forget()
    yield Trial(checkout, cluster, server, wanted, tmp_path / "log")
    for job in cluster.queue():
        cluster.run("scancel", job)
    cluster.wait(lambda: not cluster.queue(), "empty queue")


def test_sampling_ends_before_its_time_limit_and_goes_on(trial: Trial) -> None:
    trial.server.change(latency=4.0)
    process = trial.start("--set-resources", "sample_traces:runtime=attempt")
    trial.finish(process)
    # Each ended itself: SLURM would have said TIMEOUT.
    ends = trial.cluster.run("squeue", "--states=all", "-h", "-o", "%k %T").splitlines()
    assert [end.split()[1] for end in ends if "sample_traces" in end][-2:] == [
        "COMPLETED",
        "FAILED",
    ]
    # What was in flight had the time to end.
    trial.check(repeats=0)


def test_a_cancelled_job_is_tried_again_and_goes_on(trial: Trial) -> None:
    process = trial.start_sampling()
    trial.cluster.run("scancel", trial.job())
    trial.finish(process)
    trial.check(repeats=AT_ONCE)


def test_a_node_that_fails(trial: Trial) -> None:
    process = trial.start_sampling()
    job = trial.job()
    trial.cluster.run(
        "scontrol", "update", "nodename=cpu1", "state=down", "reason=test"
    )
    trial.cluster.wait(lambda: state(trial, job) == "PENDING", "requeued job")
    trial.cluster.run("scontrol", "update", "nodename=cpu1", "state=resume")
    hurry(trial.cluster, job)
    trial.finish(process)
    trial.check(repeats=AT_ONCE)


def test_ctrl_c_and_the_same_command_again(trial: Trial) -> None:
    process = trial.start_sampling()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    trial.cluster.wait(lambda: not trial.cluster.queue(), "empty queue")
    trial.finish(trial.start())
    trial.check(repeats=AT_ONCE)


def test_snakemake_killed_and_the_same_command_again(trial: Trial) -> None:
    process = trial.start_sampling()
    process.kill()
    process.wait()
    # The job goes on without it, to its end.
    trial.cluster.wait(lambda: not trial.cluster.queue(), "empty queue", 120)
    unlock = trial.start("--unlock")
    assert unlock.wait(timeout=60) == 0
    trial.finish(trial.start())
    trial.check(repeats=0)


@pytest.mark.long
def test_the_controller_is_started_again(trial: Trial) -> None:
    process = trial.start_sampling()
    trial.cluster.stop_daemon("slurmctld")
    time.sleep(15)
    trial.cluster.start_controller()
    trial.finish(process)
    trial.check(repeats=0)


def state(trial: Trial, job: str) -> str:
    return trial.cluster.run("squeue", "-h", "-j", job, "-o", "%T").strip()


def hurry(cluster: Cluster, job: str) -> None:
    """SLURM starts a requeued job two minutes later; now is as good."""
    cluster.run("scontrol", "update", f"jobid={job}", "StartTime=now")
