"""The limiter, over simulated hours: never above its rates, and close to them."""

from __future__ import annotations

import asyncio
import heapq
import random
import time

import pytest

from retrace.engines.base import Rates
from retrace.limiter import Limiter, token_bound


def simulate(
    rates: Rates, tokens: tuple[int, int], bound: int, latency: float, minutes: float
) -> list[tuple[float, int]]:
    """Send as fast as the limiter allows; the times and true tokens of what was sent.

    A clock of our own: hours pass in a second. Tokens are drawn evenly between two
    values, answers take between half of `latency` and one and a half of it.
    """
    now = 0.0
    limiter = Limiter(rates, clock=lambda: now)
    draw = random.Random(1)
    sent: list[tuple[float, int]] = []
    flying: list[tuple[float, int, object]] = []
    while now < minutes * 60:
        wait = limiter.wait_for(bound)
        if wait <= 0:
            ticket = limiter.take(bound)
            used = draw.randint(*tokens)
            sent.append((now, used))
            back = now + latency * draw.uniform(0.5, 1.5)
            heapq.heappush(flying, (back, len(sent), (ticket, used)))
            continue
        later = now + wait
        if flying and flying[0][0] <= later:
            later, _, (ticket, used) = heapq.heappop(flying)  # type: ignore[misc]
            limiter.settle(ticket, used)
        now = later
    return sent


def busiest(sent: list[tuple[float, int]]) -> tuple[int, int]:
    """The most requests and the most tokens in any window."""
    first = requests = tokens = held = 0
    for last, (at, used) in enumerate(sent):
        held += used
        while sent[first][0] <= at - 60.0:
            held -= sent[first][1]
            first += 1
        requests = max(requests, last - first + 1)
        tokens = max(tokens, held)
    return requests, tokens


@pytest.mark.parametrize("limit", [10, 500, 6000])
@pytest.mark.parametrize("latency", [0.2, 20.0])
def test_requests_stay_below_their_rate_and_use_it(limit: int, latency: float) -> None:
    sent = simulate(Rates(requests=limit), (5, 5), 5, latency, minutes=10)
    assert busiest(sent)[0] <= limit
    steady = [at for at, _ in sent if at >= 60]
    assert len(steady) >= 0.95 * limit * 9


@pytest.mark.parametrize("latency", [0.5, 5.0, 30.0])
def test_tokens_stay_below_their_rate_and_use_it(latency: float) -> None:
    # Answers use a fifth to four fifths of what they may: 300 requests a minute.
    sent = simulate(Rates(tokens=150_000), (200, 800), 1000, latency, minutes=12)
    assert busiest(sent)[1] <= 150_000
    steady = sum(used for at, used in sent if at >= 120)
    # With half a minute in flight, half of a window's tokens are only estimated.
    assert steady >= (0.95 if latency < 10 else 0.92) * 150_000 * 10


def test_a_burst_is_no_more_than_a_seconds_worth() -> None:
    sent = simulate(Rates(requests=600), (1, 1), 1, 0.1, minutes=1)
    seconds = [int(at) for at, _ in sent]
    assert max(seconds.count(second) for second in range(60)) <= 21


def test_a_request_larger_than_the_rate_goes_alone() -> None:
    sent = simulate(Rates(tokens=100), (50, 50), 1000, 1.0, minutes=5)
    assert len(sent) >= 4


def test_a_pause_holds_everything_back() -> None:
    async def admit() -> float:
        limiter = Limiter(Rates())
        body = {"messages": [], "max_tokens": 1}
        assert await limiter.admit(body) is None
        limiter.pause(0.2)
        began = time.monotonic()
        await limiter.admit(body)
        return time.monotonic() - began

    assert asyncio.run(admit()) >= 0.19


def test_the_bound_covers_every_byte() -> None:
    body = {"messages": [{"role": "user", "content": "é" * 10}], "max_tokens": 100}
    assert token_bound(body) == 20 + 8 + 100
