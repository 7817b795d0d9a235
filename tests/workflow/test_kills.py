"""A killed run goes on where it was, to the same bytes, asking nothing twice."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from conftest import Checkout, check_out, end, served
from fault_server import FaultServer

pytestmark = pytest.mark.slow


def wait_for_requests(
    server: FaultServer, count: int, process: subprocess.Popen[str]
) -> None:
    while server.seen()["requests"] < count:
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.02)


def children_of(checkout: Checkout) -> list[psutil.Process]:
    """Every process that works in this checkout."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == checkout.path:
                found.append(process)
        except psutil.Error:
            continue
    return found


def addressed(checkout: Checkout) -> dict[str, bytes]:
    """The results, whatever the address of the server was."""
    url = checkout.recipe["models"]["plain"]["engine"]["base_url"].encode()
    return {
        name: content.replace(url, b"SERVER")
        for name, content in checkout.results().items()
    }


@pytest.mark.long
@pytest.mark.parametrize("moment", [1, 9, 40])
def test_a_killed_run_continues_to_the_same_bytes(
    finished: Checkout, tmp_path: Path, moment: int
) -> None:
    with FaultServer(latency=0.05) as server:
        checkout = served(check_out(tmp_path), server)
        process = checkout.start()
        wait_for_requests(server, moment, process)
        end(process, signal.SIGKILL)
        checkout.snakemake("--unlock")
        checkout.snakemake()
        assert addressed(checkout) == addressed(finished)
        # What was in flight at the kill: two jobs at a time, four requests each.
        assert server.seen()["repeats"] <= 8


def test_one_ctrl_c_ends_every_child(tmp_path: Path) -> None:
    with FaultServer(latency=0.5) as server:
        checkout = served(check_out(tmp_path), server)
        process = checkout.start()
        wait_for_requests(server, 3, process)
        assert len(children_of(checkout)) > 1
        end(process, signal.SIGINT)
        until = time.monotonic() + 30
        while children_of(checkout) and time.monotonic() < until:
            time.sleep(0.1)
        assert children_of(checkout) == []


@pytest.mark.long
def test_a_killed_sampling_job_fails_the_run_and_the_next_one_finishes(
    tmp_path: Path,
) -> None:
    with FaultServer(latency=0.2) as server:
        checkout = served(check_out(tmp_path), server)
        process = checkout.start()
        wait_for_requests(server, 5, process)
        jobs = [
            child
            for child in children_of(checkout)
            if "scripts/sample_traces.py" in child.cmdline()
        ]
        assert jobs
        for job in jobs:
            job.kill()
        output, _ = process.communicate(timeout=120)
        assert process.returncode != 0
        assert "sample_traces" in output
        checkout.snakemake()
        assert checkout.plan() == {}
