"""The Batch API engine against a stand-in that expires, refuses and forgets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from retrace import engines
from retrace.budget import Budget, BudgetError
from retrace.cost import Prices
from retrace.dispatch import Effort
from retrace.engines import openai_batch
from retrace.engines.base import EngineError
from retrace.journal import Journal, read_lines
from retrace.progress import Progress
from retrace.sampling import Answer, Request, Sampling, ask
from tests.batch_server import BatchServer

# An answer has 2 prompt tokens and 3 completion tokens: $2.50 in a batch.
PRICES = Prices(prompt=1e6, completion=1e6)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer() as server:
        yield server


def requests(texts: Sequence[str]) -> list[Request]:
    sampling = Sampling(temperature=1.0, max_tokens=9)
    return [Request([{"role": "user", "content": text}], sampling) for text in texts]


def sample(
    server: BatchServer,
    folder: Path,
    asked: Sequence[Request],
    dollars: float = math.inf,
    **settings: Any,
) -> list[Answer]:
    chosen = {
        "kind": "openai_batch",
        "base_url": server.base_url,
        "provider": "told",
        "key_variable": "PATH",
        "poll": 0.02,
        **settings,
    }
    own = folder / "0.jsonl"
    with (
        Journal(own) as journal,
        engines.load(chosen, "m", "r", folder / "log") as engine,
    ):
        effort = Effort(failure_share=0.9)
        budget = Budget(PRICES, dollars, own=own)
        return list(ask(asked, engine, journal, effort, budget=budget))


def test_answers_come_in_order_from_as_few_batches_as_fit(
    server: BatchServer, tmp_path: Path
) -> None:
    asked = requests([f"q{i}" for i in range(10)])
    answers = sample(server, tmp_path, asked, requests_per_batch=4)
    assert [answer.text for answer in answers] == [f"answer to q{i}" for i in range(10)]
    assert len(server.batches) == 3
    assert sample(server, tmp_path, asked) == answers
    assert len(server.batches) == 3


def test_batches_are_divided_by_size_too(server: BatchServer, tmp_path: Path) -> None:
    sample(server, tmp_path, requests(["a" * 500, "b" * 500]), bytes_per_batch=900)
    assert len(server.batches) == 2


def test_expired_failed_and_forgotten_requests_go_out_again(
    server: BatchServer, tmp_path: Path
) -> None:
    texts = ["good", "expire 1", "busy 2", "vanish 3", "garble 4"]
    answers = sample(server, tmp_path, requests(texts))
    assert [answer.text for answer in answers] == [f"answer to {t}" for t in texts]
    assert sorted(server.runs.values()) == [1, 2, 2, 2, 2]


def test_a_refused_request_is_an_error_and_goes_out_once(
    server: BatchServer, tmp_path: Path
) -> None:
    good, bad = sample(server, tmp_path, requests(["good", "refuse"]))
    assert good.text == "answer to good"
    assert (bad.text, bad.finish_reason) == ("", "error")
    assert "status 400" in bad.error
    assert sorted(server.runs.values()) == [1, 1]


def test_a_killed_job_leaves_its_batch_to_the_next(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(["one", "two"])
    monkeypatch.setattr(openai_batch._Run, "_wait", die)
    with pytest.raises(SystemExit):
        sample(server, tmp_path, asked)
    monkeypatch.undo()
    answers = sample(server, tmp_path, [*asked, *requests(["three"])])
    assert [answer.text[-3:] for answer in answers] == ["one", "two", "ree"]
    assert len(server.batches) == 2
    assert set(server.runs.values()) == {1}


def die(*_: object) -> None:
    raise SystemExit


def test_a_batch_whose_creation_was_not_noted_is_found(
    server: BatchServer, tmp_path: Path
) -> None:
    server.lose_answers = 1
    answers = sample(server, tmp_path, requests(["one", "two"]))
    assert [answer.text[-3:] for answer in answers] == ["one", "two"]
    assert len(server.batches) == 1


def test_an_outage_meanwhile_is_waited_for(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_batch, "RETRIES", 0)
    server.look_faults = [500, 503, 429]
    (answer,) = sample(server, tmp_path, requests(["one"]))
    assert answer.text == "answer to one"
    assert len(server.batches) == 1


def test_a_batch_that_is_gone_goes_out_again(
    server: BatchServer, tmp_path: Path
) -> None:
    server.look_faults = [404]
    (answer,) = sample(server, tmp_path, requests(["one"]))
    assert answer.text == "answer to one"
    assert len(server.batches) == 2


def test_a_key_that_is_refused_meanwhile_stops_and_the_batch_is_found(
    server: BatchServer, tmp_path: Path
) -> None:
    server.look_faults = [401]
    with pytest.raises(EngineError, match=r"batch_0, which goes on: check the key"):
        sample(server, tmp_path, requests(["one"]))
    (answer,) = sample(server, tmp_path, requests(["one"]))
    assert answer.text == "answer to one"
    assert len(server.batches) == 1


def test_a_full_queue_passes_and_other_refusals_stop(
    server: BatchServer, tmp_path: Path
) -> None:
    server.refuse_with = ["token_limit_exceeded"]
    assert sample(server, tmp_path, requests(["one"]))[0].text == "answer to one"
    server.refuse_with = ["invalid_model"]
    with pytest.raises(EngineError, match="invalid_model: told to refuse"):
        sample(server, tmp_path, requests(["two"]))


def test_an_answer_is_reused_by_the_direct_engine_at_its_own_price(
    server: BatchServer, tmp_path: Path
) -> None:
    asked = requests(["one"])
    (batched,) = sample(server, tmp_path, asked)
    settings = {
        "kind": "openai",
        "base_url": "http://127.0.0.1:9/v1",
        "provider": "told",
        "key_variables": ["PATH"],
    }
    with (
        Journal(tmp_path / "0.jsonl") as journal,
        engines.load(settings, "m", "r", tmp_path / "log") as engine,
    ):
        assert list(ask(asked, engine, journal)) == [batched]
    progress = Progress(tmp_path / "0.jsonl", PRICES).read_on()
    assert progress.dollars == pytest.approx(2.5)
    assert '"mode":"batch"' in batched.contract


def test_batches_are_noted_in_the_journal(server: BatchServer, tmp_path: Path) -> None:
    sample(server, tmp_path, requests(["one"]))
    notes = [
        line for line in read_lines(tmp_path / "0.jsonl") if line.get("note") == "batch"
    ]
    assert [note["id"] for note in notes] == ["batch_0", "batch_0"]
    assert notes[1]["status"] == "completed"


def test_every_state_before_the_end_is_waited_for(
    server: BatchServer, tmp_path: Path
) -> None:
    server.looks = 6
    (answer,) = sample(server, tmp_path, requests(["one"]))
    assert answer.text == "answer to one"
    assert len(server.batches) == 1


def test_a_cancelled_batch_keeps_what_it_answered(
    server: BatchServer, tmp_path: Path
) -> None:
    server.cancel = 1
    asked = requests([f"q{i}" for i in range(6)])
    answers = sample(server, tmp_path, asked)
    assert [answer.text for answer in answers] == [f"answer to q{i}" for i in range(6)]
    assert set(server.runs.values()) == {1}


def test_a_wrong_key_is_a_line(server: BatchServer, tmp_path: Path) -> None:
    server.key = "another"
    with pytest.raises(EngineError, match="check the key and the base URL"):
        sample(server, tmp_path, requests(["one"]))


def test_a_budget_stops_before_the_batch_that_could_pass_it(
    server: BatchServer, tmp_path: Path
) -> None:
    """Each request may cost (10 + 9) / 2 dollars and does cost 2.50."""
    asked = requests([f"q{i}" for i in range(8)])
    settings = {"dollars": 30.0, "requests_per_batch": 2}
    with pytest.raises(BudgetError, match=r"budget of \$30\.00"):
        sample(server, tmp_path, asked, **settings)
    # What was out when the budget ended is collected, and its true cost is known.
    assert sorted(server.runs.values()) == [1, 1, 1]
    progress = Progress(tmp_path / "0.jsonl", PRICES).read_on()
    assert (progress.answered, progress.dollars) == (3, pytest.approx(7.5))
    # The rest of the budget is worth two more.
    with pytest.raises(BudgetError):
        sample(server, tmp_path, asked, **settings)
    assert len(server.runs) == 5


def test_a_batch_that_is_out_counts_against_the_budget_of_the_next_job(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests([f"q{i}" for i in range(4)])
    with monkeypatch.context() as patch:
        patch.setattr(openai_batch._Run, "_wait", die)
        with pytest.raises(SystemExit):
            sample(server, tmp_path, asked[:3], dollars=30.0)
    with pytest.raises(BudgetError):
        sample(server, tmp_path, asked, dollars=30.0)
    assert len(server.runs) == 3
    assert len(sample(server, tmp_path, asked, dollars=40.0)) == 4
