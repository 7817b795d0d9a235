"""The sampler against a server that misbehaves on purpose."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from retrace import dispatch, engines
from retrace.dispatch import CircuitOpenError, Effort
from retrace.engines.base import EngineError
from retrace.journal import Journal, JournalError, journals_under, read_lines
from retrace.progress import Progress
from retrace.sampling import Answer, Request, Sampling, ask, split_reasoning
from tests.fault_server import FaultServer

QUICK = Effort(backoff=0.01, timeout=10.0)


_shared = FaultServer()


@pytest.fixture(autouse=True, scope="module")
def _one_server_for_all() -> Iterator[None]:
    with _shared:
        yield


@contextmanager
def server_with(**plan: Any) -> Iterator[FaultServer]:
    """The server as if it had just started with this plan."""
    _shared.again(**plan)
    yield _shared


def requests(numbers: Sequence[int], n: int = 1) -> list[Request]:
    sampling = Sampling(n=n, temperature=0.7, max_tokens=50, seed=3)
    return [
        Request([{"role": "user", "content": f"question {i}"}], sampling, sample)
        for i in numbers
        for sample in range(n)
    ]


def sample(
    server: FaultServer,
    folder: Path,
    asked: Sequence[Request],
    *,
    shard: str = "0",
    effort: Effort = QUICK,
    concurrency: int = 16,
    **settings: Any,
) -> list[Answer]:
    os.environ["RETRACE_TEST_KEY"] = "sesame"
    chosen = {
        "kind": "openai",
        "base_url": server.base_url,
        "key_variables": ["RETRACE_TEST_KEY"],
        "concurrency": concurrency,
        **settings,
    }
    path = folder / f"{shard}.jsonl"
    with (
        Journal(path, journals_under(folder)) as journal,
        engines.load(chosen, "some-model", "r1", folder / "log") as engine,
    ):
        return list(ask(asked, engine, journal, effort))


def test_answers_come_in_the_order_of_the_requests(tmp_path: Path) -> None:
    with server_with(latency=0.01) as server:
        asked = requests(range(20), n=3)
        answers = sample(server, tmp_path, asked)
        assert len({answer.text for answer in answers}) == 60
        again = sample(server, tmp_path, asked[::-1])
        assert again == answers[::-1]
        assert server.seen()["requests"] == 60
        assert answers[0].usage.prompt_tokens == 2
        assert answers[0].usage.completion_tokens == 5


def test_one_more_problem_costs_one_more_request(tmp_path: Path) -> None:
    with server_with() as server:
        sample(server, tmp_path, requests(range(100)))
        sample(server, tmp_path, requests(range(101)))
        assert server.seen()["requests"] == 101


def test_other_shards_and_sets_ask_for_nothing(tmp_path: Path) -> None:
    with server_with() as server:
        sample(server, tmp_path, requests(range(30)))
        for shard in range(3):
            numbers = range(shard, 30, 3)
            sample(server, tmp_path, requests(numbers), shard=f"of3/{shard}")
        assert server.seen()["requests"] == 30


def test_more_samples_ask_only_for_those(tmp_path: Path) -> None:
    with server_with() as server:
        sample(server, tmp_path, requests(range(5), n=2))
        sample(server, tmp_path, requests(range(5), n=4))
        assert server.seen()["requests"] == 20


def test_an_engine_is_not_started_for_known_answers(tmp_path: Path) -> None:
    with server_with() as server:
        asked = requests(range(4))
        answers = sample(server, tmp_path, asked)
        base_url = server.base_url
    gone = FaultServer()
    gone.base_url = base_url
    settings = {"key_variables": ["NO_SUCH_VARIABLE"]}
    assert sample(gone, tmp_path, asked, **settings) == answers
    with pytest.raises(EngineError, match="NO_SUCH_VARIABLE is not set"):
        sample(gone, tmp_path, requests(range(5)), **settings)


@pytest.mark.parametrize(
    "fault", ["429", "500", "cut", "not_json", "nested", "no_choice"]
)
def test_a_fault_that_passes_leaves_no_trace_in_the_answers(
    tmp_path: Path, fault: str
) -> None:
    asked = requests(range(40))
    with server_with() as server:
        whole = sample(server, tmp_path / "whole", asked)
    with server_with(faults={fault: 0.5}) as server:
        found = sample(server, tmp_path / "faulty", asked, base_url=server.base_url)
        seen = server.seen()
        assert seen["repeats"] > 5
        assert seen["answered"] == 40
    assert [a.text for a in found] == [a.text for a in whole]
    assert [a.error for a in found] == [""] * 40


def test_a_hanging_request_is_given_up_after_its_timeout(tmp_path: Path) -> None:
    effort = QUICK.model_copy(update={"timeout": 1.0})
    with server_with(faults={"hang": 0.5}) as server:
        answers = sample(server, tmp_path, requests(range(10)), effort=effort)
        assert all(answer.text for answer in answers)
        assert server.seen()["repeats"] >= 1


def test_a_server_that_dies_and_comes_back_loses_nothing(tmp_path: Path) -> None:
    effort = QUICK.model_copy(update={"backoff": 0.3})
    with server_with(die_after=20, down=0.5, latency=0.01) as server:
        answers = sample(server, tmp_path, requests(range(60)), effort=effort)
        assert len({answer.text for answer in answers}) == 60
        assert 1 <= server.seen()["repeats"] <= 16


@pytest.mark.parametrize("fault", ["429", "500"])
@pytest.mark.parametrize("wait", ["nan", "inf", "-5", "soon"])
def test_a_wait_that_is_no_time_is_backed_off_from(
    tmp_path: Path, fault: str, wait: str
) -> None:
    with server_with(faults={fault: 1.0}, retry_after=wait) as server:
        answers = sample(server, tmp_path, requests(range(4)))
    assert all(answer.text for answer in answers)


def test_a_wait_without_end_holds_up_nobody_else(tmp_path: Path) -> None:
    effort = QUICK.model_copy(update={"failure_share": 1.0})
    faults = {"faults": {"429": 0.3}, "times": 10**6, "retry_after": "1e9"}
    with server_with(**faults) as server:
        answers = sample(server, tmp_path, requests(range(40)), effort=effort)
    turned_away = [answer for answer in answers if answer.error]
    assert 0 < len(turned_away) < 40
    assert all("429" in answer.error for answer in turned_away)


def test_a_disk_that_refuses_to_sync_stops_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> None:
        monkeypatch.undo()  # it is told once
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dispatch, "SYNC_EVERY", 0.05)
    with server_with(latency=0.05) as server:
        os.environ["RETRACE_TEST_KEY"] = "sesame"
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(JournalError, match="No space left on device"):
            sample(server, tmp_path, requests(range(400)), concurrency=4)
        assert server.seen()["requests"] < 400


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with server_with(faults={"429": 1.0}, retry_after="0.4") as server:
        sample(server, tmp_path, requests([1]))
        (first, _), (second, _) = server.seen()["arrivals"]
        assert second - first >= 0.4


def test_what_fails_for_good_is_an_error_and_asked_again_next_time(
    tmp_path: Path,
) -> None:
    asked = requests(range(50))
    with server_with(faults={"400": 0.1}, times=10**6) as server:
        answers = sample(server, tmp_path, asked)
        bad = [answer for answer in answers if answer.error]
        assert 1 <= len(bad) < 10
        assert {(a.text, a.finish_reason) for a in bad} == {("", "error")}
        assert all("told to fail" in answer.error for answer in bad)
        assert server.seen()["repeats"] == 0
        server.change(faults={})
        assert not any(a.error for a in sample(server, tmp_path, asked))
        assert server.seen()["repeats"] == len(bad)


def test_what_is_refused_each_time_does_not_stop_a_later_run(tmp_path: Path) -> None:
    asked = requests(range(60))
    with server_with(faults={"400": 0.1}, times=10**6) as server:
        first = sample(server, tmp_path, asked)
        assert 1 <= sum(bool(answer.error) for answer in first) < 12
        # Now only those are missing, and every one of them fails again.
        assert sample(server, tmp_path, asked) == first
        progress = Progress(tmp_path / "0.jsonl").read_on()
        assert progress.done + progress.failures["refused"] == progress.total == 60
        assert sample(server, tmp_path, asked, shard="other") == first
        # Another request that is refused is news.
        server.change(faults={"400": 1.0})
        with pytest.raises(CircuitOpenError, match="1 of the last 1 requests failed"):
            sample(server, tmp_path, [*asked, *requests([99])])


def test_the_circuit_opens_and_keeps_what_was_answered(tmp_path: Path) -> None:
    effort = QUICK.model_copy(update={"attempts": 2, "failure_window": 20})
    with server_with(faults={"500": 0.5}, times=10**6) as server:
        with pytest.raises(CircuitOpenError, match="of the last 20 requests failed"):
            sample(server, tmp_path, requests(range(400)), effort=effort)
        assert server.seen()["requests"] < 200
        kept = server.seen()["answered"]
        server.change(faults={})
        sample(server, tmp_path, requests(range(400)))
        assert server.seen()["answered"] == 400
        assert kept > 5


def test_a_dead_endpoint_is_not_an_output_of_errors(tmp_path: Path) -> None:
    with FaultServer() as server:
        base_url = server.base_url
    effort = QUICK.model_copy(update={"attempts": 2})
    with pytest.raises(CircuitOpenError, match="3 of the last 3 requests failed"):
        sample(server, tmp_path, requests(range(3)), effort=effort, base_url=base_url)


def test_a_wrong_key_stops_at_once(tmp_path: Path) -> None:
    with server_with(key="another") as server:
        with pytest.raises(EngineError, match="check the key"):
            sample(server, tmp_path, requests(range(100)), concurrency=4)
        assert sum(server.seen()["keys"].values()) <= 8


def test_a_web_page_is_told_as_one(tmp_path: Path) -> None:
    effort = QUICK.model_copy(update={"attempts": 2})
    with (
        server_with(faults={"html": 1.0}, times=10**6) as server,
        pytest.raises(CircuitOpenError, match=r"a web page.*'<html><body>Welcome"),
    ):
        sample(server, tmp_path, requests(range(3)), effort=effort)


@pytest.mark.parametrize("url", ["", "localhost:9/v1", "ftp://host/v1", "https:///v1"])
def test_an_address_that_is_none_is_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(EngineError, match=r"base_url.*expected one like https://"):
        sample(_shared, tmp_path, requests([1]), base_url=url)


@pytest.mark.parametrize(
    ("key", "is_key"), [("k\n", True), ("k k", False), ("ä", False)]
)
def test_a_key_with_blanks_around_is_one_and_stands_in_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, is_key: bool
) -> None:
    monkeypatch.setenv("KEY_ONE", key)
    settings = {"key_variables": ["KEY_ONE"]}
    with server_with(key="k") as server:
        if is_key:
            assert sample(server, tmp_path, requests([1]), **settings)[0].text
            return
        with pytest.raises(EngineError, match="KEY_ONE holds a blank") as failure:
            sample(server, tmp_path, requests([1]), **settings)
    assert key not in str(failure.value)


def test_a_field_that_an_api_does_not_know_is_taken_out(tmp_path: Path) -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 50, "seed": None}
    with server_with(unknown=["max_tokens", "seed"]) as server:
        with pytest.raises(CircuitOpenError, match="unsupported parameter"):
            sample(server, tmp_path, requests([1]))
        assert sample(server, tmp_path, requests([1]), extra=extra)[0].text


def test_concurrency_is_bounded(tmp_path: Path) -> None:
    with server_with(latency=0.02) as server:
        sample(server, tmp_path, requests(range(60)), concurrency=7)
        assert 1 < server.seen()["most_in_flight"] <= 7


def test_several_keys_share_the_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_ONE", "one")
    monkeypatch.setenv("KEY_TWO", "two")
    with server_with(latency=0.005) as server:
        sample(
            server,
            tmp_path,
            requests(range(100)),
            key_variables=["KEY_ONE", "KEY_TWO"],
        )
        keys = server.seen()["keys"]
        assert set(keys) == {"one", "two"}
        assert min(keys.values()) > 20


def test_lies_about_usage_are_kept_as_told_and_nonsense_is_zero(
    tmp_path: Path,
) -> None:
    with server_with(usage={"prompt_tokens": 10**9, "completion_tokens": "many"}) as s:
        (answer,) = sample(s, tmp_path, requests([1]))
        assert answer.usage.prompt_tokens == 10**9
        assert answer.usage.completion_tokens == 0


def test_half_a_surrogate_pair_does_not_reach_the_rows(tmp_path: Path) -> None:
    with server_with(faults={"surrogate": 1.0}) as server:
        (answer,) = sample(server, tmp_path, requests([1]))
        assert answer.text == "half \ufffd end"


def test_thought_and_answer_are_kept_apart(tmp_path: Path) -> None:
    with server_with(think=True, finish_reason="length") as server:
        (answer,) = sample(server, tmp_path, requests([1]))
        assert answer.reasoning.startswith("thought ")
        assert "think" not in answer.text
        assert answer.finish_reason == "length"


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>a</think>b", "a", "b"),
        ("\n<think>\na\n</think>\n\nb", "a", "b"),
        ("a</think>b", "a", "b"),
        ("<think>never closed", "never closed", ""),
        ("plain", "", "plain"),
        ("  spaces kept  ", "", "  spaces kept  "),
        (
            "The tags are <think> and </think>.",
            "",
            "The tags are <think> and </think>.",
        ),
        ("<think>a</think>b </think> c", "a", "b </think> c"),
        ("", "", ""),
    ],
)
def test_split_reasoning(text: str, thought: str, answer: str) -> None:
    assert split_reasoning(text) == (thought, answer)


def test_each_sample_has_its_own_seed_and_key() -> None:
    asked = requests([1], n=4)
    assert [request.body()["seed"] for request in asked] == [3, 4, 5, 6]
    assert len({request.key({}) for request in asked}) == 4


def test_the_key_is_of_what_is_asked_and_of_whom() -> None:
    base = requests([1])[0]
    whom = {"engine": "e", "version": "1", "revision": "r", "dtype": "bfloat16"}
    keys = {base.key(whom)}
    keys |= {base.key(whom | {name: "other"}) for name in whom}
    for change in (
        {"temperature": 0.8},
        {"top_p": 0.5},
        {"max_tokens": 51},
        {"seed": 4},
        {"stop": ["."]},
        {"extra": {"top_k": 5}},
    ):
        changed = base.sampling.model_copy(update=change)
        keys.add(Request(base.messages, changed, 0).key(whom))
    assert len(keys) == 1 + 4 + 6
    more = base.sampling.model_copy(update={"n": 9})
    assert Request(base.messages, more, 0).key(whom) == base.key(whom)


def test_greedy_samples_would_be_copies() -> None:
    with pytest.raises(ValidationError, match="draws the same answer 4 times"):
        Sampling(n=4, max_tokens=5)


def test_the_journal_tells_the_run(tmp_path: Path) -> None:
    with server_with() as server:
        sample(server, tmp_path, requests(range(3)))
        sample(server, tmp_path, requests(range(5)))
    runs = [line for line in read_lines(tmp_path / "0.jsonl") if "note" in line]
    told = [(run["note"], run.get("total"), run.get("known")) for run in runs]
    assert told == [
        ("run", 3, 0),
        ("end", None, None),
        ("run", 5, 3),
        ("end", None, None),
    ]
    assert "sesame" not in json.dumps(list(read_lines(tmp_path / "0.jsonl")))


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(EngineError, match=r"expected one of openai.*vllm"):
        engines.load({"kind": "vlm"}, "w", "r", Path("log"))
