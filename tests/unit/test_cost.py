"""Prices, and a budget that is never passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrace import engines
from retrace.budget import Budget, BudgetError
from retrace.cost import Prices
from retrace.dispatch import Effort
from retrace.journal import Journal, compact, journals_under
from retrace.progress import Progress
from retrace.sampling import Request, Sampling, ask
from tests.fault_server import FaultServer

# The fault server's answers have 5 completion tokens; the prompts below 2.
PRICES = Prices(prompt=1e6, completion=1e6)


def test_tokens_have_three_prices_and_batches_a_discount() -> None:
    prices = Prices(prompt=2.0, cached=0.5, completion=8.0)
    usage = {
        "prompt_tokens": 1_000_000,
        "cached_tokens": 400_000,
        "completion_tokens": 250_000,
    }
    assert prices.of_usage(usage) == pytest.approx(1.2 + 0.2 + 2.0)
    assert prices.of_usage(usage, is_batch=True) == pytest.approx(1.7)
    no_cached_price = prices.model_copy(update={"cached": None})
    assert no_cached_price.of_usage(usage) == pytest.approx(2.0 + 2.0)
    assert Prices(gpu_hour=2.0).of_gpus(1800, 8) == pytest.approx(8.0)


def test_the_most_a_request_can_cost_is_never_less_than_it_costs() -> None:
    body = {"messages": [{"role": "user", "content": "Σ" * 10}], "max_tokens": 5}
    usage = {"prompt_tokens": 25, "completion_tokens": 5}
    assert PRICES.most(body) >= PRICES.of_usage(usage)


def sample(
    server: FaultServer,
    folder: Path,
    shard: str,
    numbers: range,
    dollars: float,
    grace: float = 10.0,
) -> Budget:
    own = folder / f"{shard}.jsonl"
    settings = {
        "kind": "openai",
        "base_url": server.base_url,
        "key_variables": ["PATH"],
        "concurrency": 4,
    }
    sampling = Sampling(temperature=1.0, max_tokens=9)
    asked = [
        Request([{"role": "user", "content": f"question {i}"}], sampling)
        for i in numbers
    ]
    budget = Budget(PRICES, dollars, journals_under(folder), own)
    with (
        Journal(own, journals_under(folder)) as journal,
        engines.load(settings, "m", "r", folder / "log") as engine,
    ):
        effort = Effort(backoff=0.01, grace=grace)
        ask(asked, engine, journal, effort, budget=budget)
    return budget


def test_a_budget_stops_before_the_request_that_could_pass_it(tmp_path: Path) -> None:
    with FaultServer(latency=0.01) as server:
        with pytest.raises(BudgetError, match=r"budget of \$200\.00"):
            sample(server, tmp_path, "0", range(100), dollars=200)
        progress = Progress(tmp_path / "0.jsonl", PRICES).read_on()
        # An answer costs 7; the next may cost 32, four are in flight.
        assert 200 - 5 * 32 < progress.dollars <= 200
        assert progress.answered == server.seen()["requests"]
        assert progress.outcome == "BudgetError"
        # What other shards and earlier runs spent counts too.
        with pytest.raises(BudgetError, match="are spent"):
            sample(server, tmp_path, "1", range(100, 200), dollars=200)
        budget = sample(server, tmp_path, "0", range(100), dollars=10_000)
        assert budget.spent == pytest.approx(
            7 * len([1 for _ in range(100)])
            + Progress(tmp_path / "1.jsonl", PRICES).read_on().dollars
        )
        assert server.seen()["repeats"] == 0


def test_a_journal_tells_its_progress(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    progress = Progress(path)
    with Journal(path) as journal:
        assert progress.read_on().total == 0
        journal.sign({"engine": "e"})
        prices = {"completion": 1e6, "gpu_hour": 3600.0}
        journal.note("run", total=10, known=4, gpus=2, prices=prices)
        began = progress.read_on().last_time
        for number in range(3):
            answer = {"usage": {"prompt_tokens": 5, "completion_tokens": 10}}
            stats = {"time": began + 10 + number}
            journal.append(f"{number:032x}", answer, stats)
        journal.note("failure", kind="timeout", message="slow")
        progress.read_on()
    assert (progress.total, progress.done, progress.answered) == (10, 7, 3)
    assert progress.failures == {"timeout": 1}
    assert progress.token_dollars == pytest.approx(30.0)
    assert progress.gpu_seconds == pytest.approx(24.0, abs=0.1)
    assert progress.dollars == pytest.approx(54.0, abs=0.1)
    assert progress.projected_dollars() == pytest.approx(108.0, abs=0.2)
    assert progress.tokens_per_second(began + 15) == pytest.approx(2.0)
    assert progress.seconds_left(began + 12) == pytest.approx(12.0)


@pytest.mark.slow
def test_what_is_in_flight_when_the_budget_ends_is_kept(tmp_path: Path) -> None:
    """It is billed whether it is kept or not, so it has more than the `grace`."""
    with FaultServer(latency=1.0) as server:
        with pytest.raises(BudgetError):
            sample(server, tmp_path, "0", range(100), dollars=150, grace=0.0)
        progress = Progress(tmp_path / "0.jsonl", PRICES).read_on()
        assert progress.answered == server.seen()["requests"] > 4


def test_a_server_that_states_no_usage_does_not_answer_for_nothing(
    tmp_path: Path,
) -> None:
    with FaultServer(usage={}) as server:
        with pytest.raises(BudgetError):
            sample(server, tmp_path, "0", range(100), dollars=300)
        progress = Progress(tmp_path / "0.jsonl", PRICES).read_on()
        # A request counts with up to 19 prompt bytes and its 9 completion tokens.
        assert 9 < progress.answered == server.seen()["requests"] < 100
        assert 270 < progress.dollars <= 300
        assert progress.completion_tokens == 0
        # The next job knows what was spent.
        with pytest.raises(BudgetError):
            sample(server, tmp_path, "1", range(100, 200), dollars=progress.dollars)


def test_compaction_forgets_no_dollar(tmp_path: Path) -> None:
    with FaultServer() as server:
        # Two jobs side by side ask for the same, and each pays.
        sample(server, tmp_path / "one", "0", range(10), 1000)
        sample(server, tmp_path / "two", "0", range(5, 15), 1000)
        sample(server, tmp_path / "two", "0", range(20), 1000)
    paths = journals_under(tmp_path)
    before = [Progress(path, PRICES).read_on().dollars for path in paths]
    noted = [Progress(path).read_on().dollars for path in paths]
    for _ in range(2):
        assert compact(tmp_path).kept == 20
        after = [Progress(path, PRICES).read_on().dollars for path in paths]
        assert after == pytest.approx(before)
        assert [Progress(path).read_on().dollars for path in paths] == noted
    assert sum(before) == pytest.approx(7 * 30)
