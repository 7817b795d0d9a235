"""What one key may send: requests and tokens in any 60 seconds, spread evenly."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from retrace.cost import bounds
from retrace.engines.base import Rates

# A second longer than the minute that is promised: a request reaches the server some
# time after it was let through, one sooner than the other.
WINDOW = 61.0
# Providers enforce their limits over shorter spans too: no more than a second's worth
# goes out at once.
BURST_SECONDS = 1.0
PACE = 0.94
LEARNED = 30


@dataclass(slots=True)
class Ticket:
    """A request that was let through: when, and the tokens it is counted with."""

    at: float
    tokens: float
    known: bool = False


class Limiter:
    """Lets requests through so that no window of 60 s holds more than the rates allow.

    A request's tokens are unknown until it is answered. Those in flight are counted
    with the mean of what was answered so far plus two and a half standard errors of
    their sum, never above their own bounds; each is corrected when its answer comes.
    """

    def __init__(
        self, rates: Rates, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = rates
        self._clock = clock
        self._tickets: deque[Ticket] = deque()
        self._known_tokens = 0.0
        self._bounds = 0.0
        self._flying = 0
        self._seen = 0
        self._mean = 0.0
        self._spread = 0.0
        self._next = -math.inf
        self._paused_until = -math.inf
        self._turn = asyncio.Lock()

    async def admit(self, body: dict[str, Any]) -> Ticket | None:
        """Wait until a request may go; None if nothing is limited."""
        if self._rates.requests is None and self._rates.tokens is None:
            while (wait := self._paused_until - self._clock()) > 0:
                await asyncio.sleep(wait)
            return None
        bound = token_bound(body)
        async with self._turn:
            while (wait := self.wait_for(bound)) > 0:
                await asyncio.sleep(wait)
            return self.take(bound)

    def wait_for(self, bound: int) -> float:
        """Seconds until a request with at most `bound` tokens may go; 0 is now."""
        now = self._clock()
        self._forget(now)
        wait = max(self._next - now, self._paused_until - now, 0.0)
        requests, tokens = self._rates.requests, self._rates.tokens
        if requests is not None and len(self._tickets) >= requests:
            wait = max(wait, self._tickets[0].at + WINDOW - now, 1e-3)
        if tokens is not None and self._tickets:
            over = self._used() + self._expected(self._flying + 1, bound) > tokens
            if over:
                # An answer may come any time and give tokens back.
                wait = max(wait, 0.02)
        return wait

    def take(self, bound: int) -> Ticket:
        now = self._clock()
        ticket = Ticket(now, bound)
        self._tickets.append(ticket)
        self._flying += 1
        self._bounds += bound
        step = self._step(bound)
        # Time not used earns at most a burst.
        self._next = max(self._next, now - max(BURST_SECONDS, step)) + step
        return ticket

    def _step(self, bound: int) -> float:
        """Seconds between two requests that are spread evenly."""
        step = 0.0
        if self._rates.requests is not None:
            step = WINDOW / self._rates.requests
        if self._rates.tokens is not None:
            tokens = self._mean
            if self._seen < LEARNED:
                # From the bound to the mean: the first answers may be short ones.
                tokens = (bound + self._seen * self._mean) / (self._seen + 1)
            # A little faster than the rate, which the window keeps anyway.
            step = max(step, PACE * WINDOW / self._rates.tokens * tokens)
        return min(step, WINDOW)

    def settle(self, ticket: Ticket | None, tokens: int) -> None:
        """Correct a request's tokens once it is answered (0: it was not)."""
        if ticket is None or ticket.known:
            return
        self._flying -= 1
        self._bounds -= ticket.tokens
        if tokens:
            self._learn(tokens)
        ticket.tokens, ticket.known = tokens, True
        if self._tickets and ticket.at >= self._tickets[0].at:
            self._known_tokens += tokens

    def pause(self, seconds: float) -> None:
        """Let nothing through for a while: the server said so."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _forget(self, now: float) -> None:
        while self._tickets and self._tickets[0].at <= now - WINDOW:
            ticket = self._tickets.popleft()
            if ticket.known:
                self._known_tokens -= ticket.tokens

    def _used(self) -> float:
        return self._known_tokens

    def _expected(self, flying: int, bound: int) -> float:
        """Tokens of the requests in flight, the next one with them."""
        most = self._bounds + bound
        if self._seen < LEARNED:
            return most
        deviation = math.sqrt(self._spread / (self._seen - 1))
        # Of their sum: each scatters, and the mean itself is known from a sample.
        doubt = deviation * math.sqrt(flying + flying**2 / self._seen)
        return min(most, flying * self._mean + 2.5 * doubt)

    def _learn(self, tokens: int) -> None:
        self._seen += 1
        step = tokens - self._mean
        self._mean += step / self._seen
        self._spread += step * (tokens - self._mean)


def token_bound(body: dict[str, Any]) -> int:
    """The most tokens a request may be counted with: its bytes and its max_tokens."""
    return sum(bounds(body))
