"""What a journal says of its runs: how far, how fast, how many failures, how dear."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrace.cost import Prices
from retrace.journal import follow

RECENT = 60.0


@dataclass
class Progress:
    """The state of one journal, kept up to date by reading on where it grew."""

    path: Path
    prices: Prices | None = None
    """Prices to count with; those that the run noted when absent."""
    run: dict[str, Any] = field(default_factory=dict)
    outcome: str = ""
    answered: int = 0
    answered_in_run: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    token_dollars: float = 0.0
    gpu_seconds: float = 0.0
    last_time: float = 0.0
    _offset: int = 0
    _batch_contracts: set[str] = field(default_factory=set)
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def read_on(self) -> Progress:
        """Read what was appended since the last time."""
        if self.path.exists() and self.path.stat().st_size > self._offset:
            for behind, line in follow(self.path, self._offset):
                self._take(line)
                self._offset = behind
        return self

    @property
    def dollars(self) -> float:
        used = self._used_prices()
        return self.token_dollars + used.of_gpus(self.gpu_seconds, 1)

    @property
    def total(self) -> int:
        """Answers that the last run wants, those that were already there included."""
        return int(self.run.get("total", self.answered))

    @property
    def done(self) -> int:
        return int(self.run.get("known", 0)) + self.answered_in_run

    def tokens_per_second(self, now: float) -> float:
        """Completion tokens a second over the last minute of answers."""
        self._forget(now)
        if not self._recent:
            return 0.0
        seconds = max(min(now - float(self.run.get("time", now)), RECENT), 1.0)
        return sum(tokens for _, tokens in self._recent) / seconds

    def seconds_left(self, now: float) -> float | None:
        """From the mean pace of this run; None before its first answer."""
        if not self.answered_in_run:
            return None
        spent = now - float(self.run["time"])
        return (self.total - self.done) * spent / self.answered_in_run

    def projected_dollars(self) -> float:
        """Dollars once everything is answered, at the mean cost of an answer so far."""
        if not self.answered:
            return self.dollars
        return self.dollars * (1 + max(self.total - self.done, 0) / self.answered)

    def _take(self, line: Mapping[str, Any]) -> None:
        if "key" in line:
            self._take_answer(line)
        elif "contract_id" in line:
            if line["contract"].get("mode") == "batch":
                self._batch_contracts.add(line["contract_id"])
        elif line["note"] == "run":
            self.run, self.outcome = dict(line), ""
            self.answered_in_run = 0
            self.failures.clear()
            self.last_time = line["time"]
        else:
            self._pass(line["time"])
            if line["note"] == "repeated":
                self._spend(line, line["usage"])
            elif line["note"] == "failure":
                self.failures[line["kind"]] += 1
            elif line["note"] == "end":
                self.outcome = line["outcome"]

    def _take_answer(self, line: Mapping[str, Any]) -> None:
        usage = line["answer"].get("usage") or {}
        completion = usage.get("completion_tokens", 0)
        self.answered += 1
        self.answered_in_run += 1
        self.prompt_tokens += usage.get("prompt_tokens", 0)
        self.completion_tokens += completion
        self._spend(line, line["stats"].get("at_most", usage))
        at = line["stats"].get("time", self.last_time)
        self._recent.append((at, completion))
        self._forget(at)
        self._pass(at)

    def _spend(self, line: Mapping[str, Any], usage: Mapping[str, int]) -> None:
        is_batch = line["contract"] in self._batch_contracts
        self.token_dollars += self._used_prices().of_usage(usage, is_batch)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - RECENT:
            self._recent.popleft()

    def _pass(self, time: float) -> None:
        """GPUs are paid for from a run's start to its last line."""
        if self.last_time and time > self.last_time:
            self.gpu_seconds += (time - self.last_time) * self.run.get("gpus", 0)
        self.last_time = max(self.last_time, time)

    def _used_prices(self) -> Prices:
        return self.prices or Prices.model_validate(self.run.get("prices", {}))
