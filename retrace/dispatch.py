"""Carries requests to an engine: concurrency, retries, the circuit, the graceful stop.

Knows bodies and journal lines; what is asked and why is `retrace.sampling`'s business.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import selectors
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from retrace.budget import Budget, BudgetError
from retrace.engines.base import (
    BatchEngine,
    Desk,
    Endpoint,
    Engine,
    EngineError,
    Job,
    sent,
)
from retrace.journal import Journal
from retrace.limiter import Limiter
from retrace.replies import (
    MalformedReplyError,
    classify,
    read_completion,
    read_json,
    sum_of,
    usage_of,
)
from retrace.stopping import Stopped, Stopper

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

# httpx looks through all connections of a pool for each request: several small pools
# are faster than a large one.
POOL = 64
RAMP = 8
EVENTS_PER_TURN = 4
SYNC_EVERY = 5.0
TELL_EVERY = 30.0
BUDGET_POLL = 0.05
STOP_POLL = 0.2
LOGGED_FAILURES = 20


class Effort(BaseModel):
    """How hard a request is tried. Changes no answer, so it is part of no key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout: float = Field(
        default=3600.0, gt=0, description="seconds for one attempt at one request"
    )
    attempts: int = Field(
        default=6, gt=0, description="attempts at a request before it is given up"
    )
    backoff: float = Field(
        default=1.0, ge=0, description="seconds before the second attempt; doubles"
    )
    backoff_limit: float = Field(
        default=60.0, ge=0, description="longest wait between two attempts, in seconds"
    )
    patience: float = Field(
        default=3600.0,
        ge=0,
        description="seconds that a request may be turned away (429) before it fails;"
        " a server that asks for a longer wait is not waited for",
    )
    failure_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="share of failed requests, among the last `failure_window` ones,"
        " above which the job stops",
    )
    failure_window: int = Field(
        default=50, gt=0, description="finished requests that the share is taken over"
    )
    grace: float = Field(
        default=10.0,
        ge=0,
        description="seconds for requests in flight to finish after a signal",
    )
    margin: float = Field(
        default=120.0,
        ge=0,
        description="seconds before the job's time limit at which it stops sending;"
        " half of them are for the requests in flight",
    )


class CircuitOpenError(RuntimeError):
    """Too many requests failed for the rest to be worth sending."""


# Faults after which the answers in flight are still worth waiting for.
KEEPING = (BudgetError, CircuitOpenError)


@dataclass
class Tally:
    """What a run has done so far."""

    total: int = 0
    done: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        seconds = max(time.monotonic() - self.started, 1e-9)
        finished = self.done + self.failed
        left = (self.total - finished) * seconds / finished if finished else 0.0
        retries = ", ".join(f"{n} {kind}" for kind, n in sorted(self.retries.items()))
        return (
            f"{finished}/{self.total} requests, {self.failed} failed,"
            f" {self.completion_tokens / seconds:.0f} tokens/s,"
            f" about {left / 60:.1f} min left"
            + (f", retried: {retries}" if retries else "")
        )


class Dispatcher:
    """One run of requests against one engine, into one journal."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        effort: Effort,
        budget: Budget | None = None,
    ) -> None:
        self.failed: dict[str, str] = {}
        self._engine = engine
        self._journal = journal
        self._effort = effort
        self._budget = budget or Budget()
        self._tally = Tally()
        self._recent: deque[bool] = deque(maxlen=effort.failure_window)
        self._stopper = Stopper(effort.margin)
        self._links: list[Link] = []
        self._generation = 0
        self._fatal: BaseException | None = None
        self._last_failure = ""
        self._held: dict[str, float] = {}

    def tell_start(self, missing: int, known: int, about: dict[str, Any]) -> None:
        self._tally.total = missing
        log.info("%d answers are in the journals, %d are asked for", known, missing)
        self._journal.note(
            "run",
            total=missing + known,
            known=known,
            engine=self._engine.contract(),
            gpus=self._engine.gpus,
            prices=self._budget.prices.model_dump(exclude_defaults=True),
            **about,
        )

    def tell_end(self, outcome: str) -> None:
        tally = self._tally
        log.info("%s: %s", outcome, tally.line())
        self._journal.note("end", outcome=outcome, done=tally.done, failed=tally.failed)

    def run(self, jobs: Sequence[Job]) -> None:
        """Answer every job, or raise with everything finished so far kept."""
        # GPUs cost from here on, while a server loads its weights too.
        self._budget.start_gpus(self._engine.gpus)
        endpoint = self._engine.start()
        self._journal.sign(self._engine.contract())
        if isinstance(self._engine, BatchEngine):
            self._run_batch(self._engine, jobs)
            return
        self._links = connect(endpoint, self._engine)
        _load_the_rest_of_the_client()
        self._tally.started = time.monotonic()
        # A request leaves no cycles behind, and with a thousand of them in flight a
        # collection stops the loop for some tenths of a second.
        gc.disable()
        try:
            with asyncio.Runner(loop_factory=_fair_loop) as runner:
                runner.run(self._run(jobs))
        finally:
            gc.enable()
        self._judge_the_end()

    def _run_batch(self, engine: BatchEngine, jobs: Sequence[Job]) -> None:
        with self._stopper.signals_outside_loop():
            engine.run(
                jobs,
                Desk(
                    take=self._take_completion,
                    give_up=self._give_up_in_batch,
                    hold=self._hold_in_batch,
                    free=self._settle_in_batch,
                    remember=self._remember,
                    recall=lambda: list(self._journal.notes("batch")),
                    must_stop=self._must_stop,
                ),
            )
        self._judge_the_end()

    def _hold_in_batch(self, job: Job, is_out: bool) -> None:
        body = sent(job.body, self._engine.extra())
        self._held[job.key] = self._budget.hold_in_batch(body, is_out)

    def _settle_in_batch(self, key: str, used: dict[str, int] | None = None) -> None:
        self._budget.settle(self._held.pop(key, 0.0), used, is_batch=True)

    def _give_up_in_batch(self, key: str, message: str, kind: str) -> None:
        self._settle_in_batch(key)
        self._give_up(key, message, kind)

    def _remember(self, fields: dict[str, Any]) -> None:
        self._journal.note("batch", **fields)
        self._journal.sync()

    def _must_stop(self) -> bool:
        self._stopper.look_at_the_clock()
        return self._stopper.stopping

    async def _run(self, jobs: Sequence[Job]) -> None:
        self._revival = asyncio.Lock()
        with self._stopper.signals():
            helpers = [
                asyncio.create_task(self._sync()),
                asyncio.create_task(self._tell()),
            ]
            try:
                await self._work(iter(jobs))
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
                for link in self._links:
                    await link.client.close()

    async def _work(self, queue: Iterator[Job]) -> None:
        """Workers take jobs until there are none, or until one says stop."""
        workers: list[asyncio.Task[None]] = []
        for number in range(min(self._engine.concurrency, self._tally.total)):
            workers.append(asyncio.create_task(self._worker(number, queue)))
            if number % RAMP == RAMP - 1:
                # Building a thousand first requests in one go would block the loop.
                await asyncio.sleep(0)
        everyone = asyncio.gather(*workers)
        # A second signal ends the loop, and nobody looks at this any more.
        everyone.add_done_callback(lambda done: done.cancelled() or done.exception())
        stop = asyncio.create_task(self._stopper.wait())
        first: set[asyncio.Future[Any]] = {everyone, stop}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not everyone.done():
            if self._fatal is None or isinstance(self._fatal, KEEPING):
                await self._let_finish(everyone)
            everyone.cancel()
        stop.cancel()
        await asyncio.gather(everyone, stop, return_exceptions=True)
        if self._fatal is not None:
            raise self._fatal

    async def _let_finish(self, everyone: asyncio.Future[Any]) -> None:
        """Wait for what is in flight: it is paid for, whether it is kept or not.

        At a full budget for as long as it takes, unless somebody waits for the end.
        """
        stopper, effort = self._stopper, self._effort
        unhurried = isinstance(self._fatal, BudgetError)
        longest = effort.timeout if unhurried else stopper.grace(effort.grace)
        told = "%s: up to %.0f s for the requests in flight"
        log.warning(told, stopper.reason, longest)
        until = time.monotonic() + longest
        while not everyone.done() and time.monotonic() < until:
            await asyncio.wait([everyone], timeout=STOP_POLL)
            if unhurried and stopper.is_urgent():
                unhurried = False
                until = time.monotonic() + stopper.grace(effort.grace)

    async def _worker(self, number: int, queue: Iterator[Job]) -> None:
        for job in queue:
            try:
                await self._answer(job, number)
            except Exception as error:
                # The first error is the one to report; the others follow from it.
                self._fatal = self._fatal or error
                self._stopper.stop(f"stopping after {type(error).__name__}: {error}")
            if self._stopper.stopping:
                return

    async def _answer(self, job: Job, number: int) -> None:
        """Attempt a job until it is answered or given up."""
        effort = self._effort
        attempt, crashes, refusals, turned_away = 0, 0, 0, 0.0
        began = time.monotonic()
        body = sent(job.body, self._engine.extra())
        while True:
            generation = self._generation
            link = self._links[number % len(self._links)]
            ticket = await link.limiter.admit(body)
            held = await self._hold(body)
            if held is None:
                return
            try:
                reply = await _attempt(link, body, effort.timeout)
            except Exception as error:
                link.limiter.settle(ticket, 0)
                self._budget.settle(held, None)
                failure = classify(error)
            else:
                used = usage_of(reply, body)
                link.limiter.settle(ticket, sum_of(used))
                self._budget.settle(held, used)
                self._take(job.key, reply, used, attempt + 1, began)
                return
            self._tally.retries[failure.kind] += 1
            if failure.fatal:
                raise EngineError(failure.message)
            if not failure.retry:
                self._give_up(job.key, failure.message, failure.kind)
                return
            if failure.kind == "rate_limit":
                refusals += 1
                wait = failure.after or self._pause(refusals)
                turned_away += wait
                if turned_away > effort.patience:
                    self._give_up(job.key, failure.message, failure.kind)
                    return
                link.limiter.pause(wait)
                continue
            if crashes < 2 and await self._revive(generation):
                crashes += 1
                continue
            attempt += 1
            if attempt >= effort.attempts:
                self._give_up(job.key, failure.message, failure.kind)
                return
            after = min(failure.after or 0.0, effort.patience)
            await self._sleep(after or self._pause(attempt))

    async def _hold(self, body: dict[str, Any]) -> float | None:
        """Dollars set aside for a request; None once nothing more may be sent."""
        while not self._stopper.stopping:
            held = self._budget.hold(body)
            if held is not None:
                return held
            await asyncio.sleep(BUDGET_POLL)
        return None

    async def _revive(self, generation: int) -> bool:
        """Restart a dead engine; whether the engine is a new one since `generation`."""
        async with self._revival:
            if self._generation != generation:
                return True
            if await asyncio.to_thread(self._engine.is_alive):
                return False
            if self._stopper.stopping:
                return False
            old = self._links
            endpoint = await asyncio.to_thread(self._engine.restart)
            self._links = await asyncio.to_thread(connect, endpoint, self._engine)
            self._generation += 1
            for link in old:
                await link.client.close()
            return True

    def _take_completion(self, job: Job, completion: Any) -> None:
        try:
            reply = read_completion(completion)
        except MalformedReplyError as error:
            self._give_up_in_batch(job.key, str(error), "malformed")
            return
        used = usage_of(reply, job.body)
        self._settle_in_batch(job.key, used)
        self._take(job.key, reply, used, 1, time.monotonic())

    def _take(
        self,
        key: str,
        reply: dict[str, Any],
        used: dict[str, int],
        attempts: int,
        began: float,
    ) -> None:
        usage = reply["usage"]
        self._tally.done += 1
        self._tally.prompt_tokens += usage.get("prompt_tokens", 0)
        self._tally.completion_tokens += usage.get("completion_tokens", 0)
        self._recent.append(True)
        stats: dict[str, Any] = {
            "time": round(time.time(), 3),
            "seconds": round(time.monotonic() - began, 3),
            "attempts": attempts,
        }
        if used is not usage:
            stats["at_most"] = used
        self._journal.append(key, reply, stats)

    def _give_up(self, key: str, message: str, kind: str) -> None:
        """Keep a failure for this run only: the next run asks again.

        Refusals too: what a server refuses may depend on its flags, which are no part
        of the key.
        """
        self.failed[key] = message
        # What was refused before says nothing new about the endpoint.
        is_news = kind != "refused" or not self._journal.was_refused(key)
        self._journal.note("failure", kind=kind, request=key, message=message[:500])
        self._tally.failed += 1
        if self._tally.failed <= LOGGED_FAILURES:
            log.warning("request failed for good (%s): %s", kind, message[:300])
        elif self._tally.failed == LOGGED_FAILURES + 1:
            log.warning("further failures are in the journal and in the counts only")
        if not is_news:
            return
        self._last_failure = message
        self._recent.append(False)
        if len(self._recent) == self._recent.maxlen:
            self._check_circuit()

    def _check_circuit(self) -> None:
        failures = self._recent.count(False)
        if failures > self._effort.failure_share * len(self._recent):
            raise CircuitOpenError(
                f"{failures} of the last {len(self._recent)} requests failed, more than"
                f" failure_share={self._effort.failure_share}: the job stops, every"
                " answer is kept, and the same command goes on from here. The last"
                f" failure: {self._last_failure}"
            )

    def _judge_the_end(self) -> None:
        if self._stopper.stopping:
            raise Stopped(self._stopper.reason)
        if self._recent:
            # A short run never fills the window; judge what it has.
            self._check_circuit()

    def _pause(self, attempt: int) -> float:
        effort = self._effort
        longest = min(effort.backoff_limit, effort.backoff * 2.0 ** max(attempt - 1, 0))
        return longest * random.uniform(0.5, 1.0)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not past a stop: an attempt after it would be abandoned."""
        sleeper = asyncio.create_task(self._stopper.wait())
        await asyncio.wait([sleeper], timeout=seconds)
        sleeper.cancel()

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_EVERY)
            try:
                await asyncio.to_thread(self._journal.sync)
                await asyncio.to_thread(self._budget.refresh)
            except Exception as error:
                # Some file systems tell of a full disk only here, and only once.
                self._fatal = self._fatal or error
                self._stopper.stop(f"stopping after {type(error).__name__}: {error}")
                return

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY)
            log.info("%s", self._tally.line())


@dataclass
class Link:
    """A client with its own connections, under the limits of its key."""

    client: AsyncOpenAI
    limiter: Limiter
    model: str


def connect(endpoint: Endpoint, engine: Engine) -> list[Link]:
    """Clients enough for the engine's concurrency; those of one key share a limiter."""
    import httpx2
    import openai

    # Loading the certificates takes long enough to be done once for all pools.
    trusted = httpx2.create_ssl_context()
    keys = len(endpoint.keys)
    pools = keys * -(-engine.concurrency // (POOL * keys))
    limiters = [Limiter(engine.rates) for _ in endpoint.keys]
    links = []
    for number in range(pools):
        which = number % keys
        # A proxy of the environment is no way to a server on this machine.
        http = openai.DefaultAsyncHttpxClient(
            trust_env=not endpoint.is_local, verify=trusted
        )
        client = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.keys[which],
            max_retries=0,
            http_client=http,
        )
        links.append(Link(client, limiters[which], endpoint.model))
    return links


def _load_the_rest_of_the_client() -> None:
    """Import now what the client imports with its first request, inside the loop."""
    import anyio

    anyio.run(anyio.sleep, 0)


class _FairSelector(selectors.EpollSelector):
    """Hands over a few ready connections at a time.

    A thousand answers that arrive at once would otherwise be worked through in one
    turn of the loop, and timers, signals and the journal's sync would wait for it.
    """

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout)[:EVENTS_PER_TURN]


def _fair_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(_FairSelector())


async def _attempt(link: Link, body: dict[str, Any], timeout: float) -> dict[str, Any]:
    import httpx2

    # Not `chat.completions.create`: it walks every body through type hints and builds
    # an object of the answer, which costs as much as the rest of the request.
    async with asyncio.timeout(timeout):
        response = await link.client.post(
            "/chat/completions",
            cast_to=httpx2.Response,
            body={"model": link.model, **body},
            options={"timeout": timeout},
        )
    return read_completion(read_json(response.content))
