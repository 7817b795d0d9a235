"""The shape of a whole recipe through the real scheduler, and what it was told."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import hub_server
import psutil
import pytest
from fault_server import FaultServer
from loopback import Cluster, unavailable
from recipe import extend
from runs import WITHOUT_ACCOUNTING, Checkout, check_out

from retrace import slurm

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]

# What a SLURM job is asked for, by its group or rule: partition, processors, memory in
# MB, minutes, GPUs. The same numbers stand in docs/cluster.md.
ASKED = {
    "problems-cpu": ("cpu", 1, 4000, 30 * 5 + 30, ""),
    "import_traces": ("cpu", 1, 2000, 60, ""),
    "sample_traces": ("cpu", 8, 32000, 1440, ""),
    "sample-cpu-plain": ("cpu", 8, 32000, 120, ""),
    "judge-cpu-plain": ("cpu", 8, 8000, 120, ""),
    "build_dataset": ("cpu", 8, 8000, 240, ""),
    "train_student": ("gpu", 64, 800000, 1440, "gpu:h100:8"),
    "build_report": ("cpu", 1, 4000, 60, ""),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm")).start() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def run(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Checkout, list[list[str]]]]:
    """A finished run, and the cards that its training saw."""
    with FaultServer() as server, hub_server.serve() as hub:
        (tree := tmp_path_factory.mktemp("run") / "tree").mkdir()
        checkout = check_out(tree, server)
        extend(checkout, hub)
        with open(tree.with_name("log"), "w") as log:
            process = checkout.start(*WITHOUT_ACCOUNTING, stdout=log)
            cards = watch(checkout, process)
        assert process.returncode == 0, tree.with_name("log").read_text()[-6000:]
        yield checkout, cards


def watch(checkout: Checkout, process: subprocess.Popen[str]) -> list[list[str]]:
    """Wait for a run; returns the GPUs that each training process was given."""
    seen: dict[int, list[str]] = {}
    while process.poll() is None:
        for one in psutil.process_iter():
            try:
                if "scripts/train_student.py" in one.cmdline() and one.pid not in seen:
                    devices = one.environ().get("CUDA_VISIBLE_DEVICES", "")
                    seen[one.pid] = devices.split(",")
            except psutil.Error:
                continue
        time.sleep(0.5)
    return list(seen.values())


def submitted(cluster: Cluster) -> dict[str, tuple[Any, ...]]:
    """What each SLURM job asked for, by its rule or group."""
    cards = dict(
        line.split("|")
        for line in cluster.run(
            *("squeue", "--states=all", "-h"), "-O", "jobid:|,tres-per-job:"
        )
        .replace(" ", "")
        .splitlines()
    )
    columns = ("--states=all", "-h", "-o", "%i|%k|%P|%C|%m|%l")
    found = {}
    for line in cluster.run("squeue", *columns).splitlines():
        number, comment, partition, processors, memory, limit = line.split("|")
        name = comment.removeprefix("rule_").partition("_wildcards_")[0]
        found[name.partition("_")[0] if "-" in name else name] = (
            partition,
            int(processors),
            int(memory.removesuffix("M")),
            slurm.minutes_of(limit),
            cards[number].removeprefix("gres:").removesuffix("N/A"),
        )
    return found


def test_every_rule_ran_and_nothing_is_left(
    run: tuple[Checkout, list[list[str]]], cluster: Cluster
) -> None:
    checkout, _ = run
    assert checkout.plan() == {}
    assert cluster.queue() == []
    assert set(cluster.states().values()) == {"idle"}
    scores = {path.parent.name for path in (checkout.path / "scores").rglob("*.json")}
    assert scores == {"plain", "teacher", "student"}


def test_jobs_ask_for_what_the_documentation_says(
    run: tuple[Checkout, list[list[str]]], cluster: Cluster
) -> None:
    found = submitted(cluster)
    assert {name: found.get(name) for name in ASKED} == ASKED


def test_training_sees_eight_cards(run: tuple[Checkout, list[list[str]]]) -> None:
    _, cards = run
    assert cards
    assert all(len(seen) == 8 for seen in cards)


def test_a_recipe_is_few_jobs(run: tuple[Checkout, list[list[str]]]) -> None:
    checkout, _ = run
    logs = list((checkout.path / "logs/slurm").rglob("*.log"))
    assert 10 < len(logs) < 30
