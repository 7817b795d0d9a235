"""With SLURM's accounting database: accounts, and states of jobs by `sacct`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trials
from fault_server import FaultServer
from loopback import Cluster, unavailable
from runs import SITE, Checkout
from trials import Trial

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(unavailable(True)), reason=unavailable(True)),
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
    with Cluster(tmp_path_factory.mktemp("slurm")).start(accounting=True) as cluster:
        yield cluster


@pytest.fixture
def trial(
    undisturbed: Checkout, cluster: Cluster, server: FaultServer, tmp_path: Path
) -> Iterator[Trial]:
    with trials.trial(undisturbed, cluster, server, tmp_path, ()) as trial:
        trial.checkout.write_site(SITE | {"account": "llm"})
        yield trial


def test_an_account_of_somebody_else(trial: Trial) -> None:
    trial.checkout.write_site(SITE | {"account": "theirs"})
    assert trial.start().wait(timeout=120) == 1
    told = trial.told()
    assert "preflight: account theirs is not yours" in told
    assert "may say llm" in told
    assert "has been submitted" not in told


@pytest.mark.long
def test_accounting_is_away_for_25_seconds(trial: Trial) -> None:
    without(trial, "slurmdbd", 25, trial.cluster.start_accounting)


@pytest.mark.long
def test_the_controller_is_started_again(trial: Trial) -> None:
    without(trial, "slurmctld", 15, trial.cluster.start_controller)


def without(
    trial: Trial, daemon: str, seconds: float, start: Callable[[], object]
) -> None:
    """A run that is as if nothing had been, though a daemon was away for a while."""
    process = trial.start_sampling("--max-status-checks-per-second", "0.1")
    trial.cluster.stop_daemon(daemon)
    time.sleep(seconds)
    start()
    trial.finish(process)
    trial.check(repeats=0)
