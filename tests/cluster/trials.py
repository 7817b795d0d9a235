"""Sampling and judging a set on a cluster, to be disturbed.

An undisturbed checkout is made once and on this machine; each trial is a copy of it
without traces, verdicts and journals, which asks the same server again.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from fault_server import FaultServer
from loopback import Cluster
from runs import Checkout, check_out

VERDICTS = "data/verdicts/teacher/sums/0000.jsonl"
REQUESTS = 48
AT_ONCE = 4
# Twelve rounds of so many seconds: sampling takes about 20 s.
LATENCY = 1.6


def undisturbed(server: FaultServer, folder: Path) -> Checkout:
    """A checkout with the verdicts of a set, made here and without a fault."""
    checkout = check_out(folder, server)
    checkout.recipe["sets"]["sums"]["shards"] = 1
    teacher = checkout.recipe["models"]["teacher"]
    teacher["terms"] = {"effort": {"margin": 20, "grace": 10}}
    checkout.here("--rerun-incomplete", VERDICTS)
    assert server.seen()["requests"] == REQUESTS
    return checkout


@dataclass
class Trial:
    """A checkout whose sampling and judging are to be done again, on the cluster."""

    checkout: Checkout
    cluster: Cluster
    server: FaultServer
    wanted: bytes
    log: Path
    options: tuple[str, ...]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        with open(self.log, "a") as log:
            process = self.checkout.start(
                VERDICTS, *self.options, *arguments, stdout=log
            )
        self.started.append(process)
        return process

    def start_sampling(self, *arguments: str) -> subprocess.Popen[str]:
        """Start, and return when some answers are there and more are to come."""
        process = self.start(*arguments)
        until = time.monotonic() + 200
        # Those of a third round were sent, so two were answered.
        while self.server.seen()["requests"] <= 2 * AT_ONCE:
            assert process.poll() is None, self.told()
            assert time.monotonic() < until, self.told()
            time.sleep(0.1)
        return process

    def finish(self, process: subprocess.Popen[str]) -> None:
        assert process.wait(timeout=400) == 0, self.told()

    def told(self) -> str:
        return self.log.read_text("utf-8", "replace")[-6000:]

    def job(self, rule: str = "sample_traces") -> str:
        """The SLURM job of a rule that waits or runs."""
        jobs = [line.split("|") for line in self.cluster.queue("%i|%k")]
        return next(number for number, comment in jobs if rule in comment)

    def state(self, job: str) -> str:
        return self.cluster.run("squeue", "-h", "-j", job, "-o", "%T").strip()

    def ends(self, rule: str = "sample_traces") -> list[str]:
        """How each job of a rule ended, the first one first."""
        columns = ("--states=all", "-h", "-o", "%i %T %Z %k")
        told = [
            line.split() for line in self.cluster.run("squeue", *columns).split("\n")
        ]
        found = [
            (int(number), state)
            for number, state, folder, comment in (t for t in told if len(t) == 4)
            if rule in comment and Path(folder) == self.checkout.path
        ]
        return [state for _, state in sorted(found)]

    def hurry(self, job: str) -> None:
        """SLURM starts a requeued job two minutes later: once nothing of it is left."""
        self.cluster.wait(lambda: not processes_of(job), "end of the first attempt")
        self.cluster.run("scontrol", "update", f"jobid={job}", "StartTime=now")

    def check(self, repeats: int) -> None:
        assert (self.checkout.path / VERDICTS).read_bytes() == self.wanted, self.told()
        seen = self.server.seen()
        assert seen["distinct"] == REQUESTS
        assert seen["repeats"] <= repeats, self.told()
        assert self.cluster.queue() == []


def processes_of(job: str) -> list[int]:
    """What runs on this machine, all nodes of the cluster, for a SLURM job."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            of_job = process.environ().get("SLURM_JOB_ID") == job
            # Its keeper on the node, by the title that it gives itself.
            if of_job or f"[{job}." in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


@contextmanager
def trial(
    origin: Checkout,
    cluster: Cluster,
    server: FaultServer,
    folder: Path,
    options: tuple[str, ...],
) -> Iterator[Trial]:
    tree = folder / "tree"
    shutil.copytree(origin.path, tree, symlinks=True)
    wanted = (tree / VERDICTS).read_bytes()
    for name in ("data/traces", "data/verdicts", "journals"):
        shutil.rmtree(tree / name)
    checkout = Checkout(tree, origin.recipe, origin.environment)
    server.change(latency=LATENCY)
    server.forget()
    log = folder / "log"
    log.touch()
    made = Trial(checkout, cluster, server, wanted, log, options)
    try:
        yield made
    finally:
        # One that is left of a trial that failed would disturb the next.
        for process in made.started:
            process.kill()
            process.wait()
        for job in cluster.queue():
            cluster.run("scancel", job)
        cluster.wait(lambda: not cluster.queue(), "empty queue")
