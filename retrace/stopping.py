"""The graceful stop: on SIGTERM and SIGINT, and before the job's time limit.

A job that stops this way has kept every finished answer and exits with `EXIT_AGAIN`:
the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

log = logging.getLogger(__name__)

# EX_TEMPFAIL of sysexits.h: try again later.
EXIT_AGAIN = 75
LIMIT_VARIABLE = "RETRACE_STOP_AT"


class Stopped(Exception):  # noqa: N818 - not an error of the program
    """The job was asked to stop, and did, with everything finished kept."""


def set_time_limit(minutes: float) -> None:
    """Say that the job is killed after so many minutes from now.

    Kept in the environment as a time of the wall clock, so that every part of this
    process reads it. A batch system that knows the end better sets the variable itself.
    """
    os.environ.setdefault(LIMIT_VARIABLE, str(time.time() + minutes * 60))


class Stopper:
    """Why and when a run must stop: `margin` seconds before the limit at the latest."""

    def __init__(self, margin: float) -> None:
        self.stopping = False
        self._margin = margin
        self.reason = ""
        self._event = asyncio.Event()
        limit = os.environ.get(LIMIT_VARIABLE)
        self._stop_at = float(limit) - margin if limit else None
        self._at_limit = False
        self._received: set[int] = set()

    def stop(self, reason: str) -> None:
        if not self.stopping:
            self.stopping = True
            self.reason = reason
            self._event.set()

    def grace(self, seconds: float) -> float:
        """How long requests in flight may take, once stopping."""
        return self._margin / 2 if self._at_limit else seconds

    def look_at_the_clock(self) -> None:
        """Stop if the limit is near; for work outside an event loop."""
        if self._stop_at is not None and time.time() >= self._stop_at:
            self._at_limit = True
            self.stop("the job's time limit is near")

    def is_urgent(self) -> bool:
        """Whether somebody ends this job soon: by a signal, or at the time limit."""
        self.look_at_the_clock()
        return self._at_limit or bool(self._received)

    async def wait(self) -> None:
        """Return once the run must stop."""
        if self._stop_at is None:
            await self._event.wait()
            return
        while not self.stopping:
            left = max(self._stop_at - time.time(), 0.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), left + 0.01)
            self.look_at_the_clock()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Inside an event loop: a first signal stops gracefully, its second at once."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        earlier = [signal.getsignal(number) for number in numbers]
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number, handler in zip(numbers, earlier, strict=True):
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    @contextlib.contextmanager
    def signals_outside_loop(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT)
        earlier = [
            signal.signal(number, lambda n, _frame: self._on_signal(signal.Signals(n)))
            for number in numbers
        ]
        try:
            yield
        finally:
            for number, handler in zip(numbers, earlier, strict=True):
                signal.signal(number, handler)

    def _on_signal(self, number: signal.Signals) -> None:
        # A terminal's SIGINT and a scheduler's SIGTERM may both come of one wish.
        if number in self._received:
            raise KeyboardInterrupt
        self._received.add(number)
        self.stop(f"received {number.name}")


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turn SIGTERM into `Stopped`, so that engines are ended and files closed."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(f"received {signal.Signals(number).name}")

    earlier = {
        number: signal.signal(number, stop)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def command(main: Callable[[], int], failures: tuple[type[Exception], ...] = ()) -> int:
    """Run a script's main: a graceful stop becomes `EXIT_AGAIN`.

    Of `failures` the message is logged, without the way there.
    """
    # Only our own progress: the HTTP client would log a line for every request.
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("retrace").setLevel(logging.INFO)
    try:
        with stop_on_signals():
            return main()
    except Stopped as stopped:
        log.warning("stopped (%s); the same command goes on from here", stopped)
        return EXIT_AGAIN
    except KeyboardInterrupt:
        log.warning("stopped at once; the same command goes on from here")
        return EXIT_AGAIN
    except failures as error:
        log.error("failed: %s", error)
        return 1
