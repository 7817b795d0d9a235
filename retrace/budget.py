"""A budget that holds: no request is sent that could pass it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from retrace.cost import Prices
from retrace.progress import Progress


class BudgetError(RuntimeError):
    """The next request could pass the budget; every answer so far is kept."""


class Budget:
    """Dollars that all journals of a model may cost together.

    What the journals hold when the job starts is spent. What other jobs spend meanwhile
    is read from their journals by `refresh`, so several jobs side by side can pass the
    budget by what each has in flight.
    """

    def __init__(
        self,
        prices: Prices | None = None,
        dollars: float = math.inf,
        journals: Iterable[Path] = (),
        own: Path | None = None,
    ) -> None:
        self.prices = prices or Prices()
        self.dollars = dollars
        self._own = 0.0
        self._held = 0.0
        self._gpus = 0
        self._started = 0.0
        others = set(journals) - {own} if math.isfinite(dollars) else set()
        self._others = [Progress(path, self.prices) for path in sorted(others)]
        if own is not None and math.isfinite(dollars):
            self._own = Progress(own, self.prices).read_on().dollars
        self.refresh()

    @property
    def spent(self) -> float:
        running = time.monotonic() - self._started if self._gpus else 0.0
        return self._own + self._elsewhere + self.prices.of_gpus(running, self._gpus)

    def start_gpus(self, gpus: int) -> None:
        """Count GPU time from now on."""
        self._gpus, self._started = gpus, time.monotonic()

    def hold(self, body: Mapping[str, Any]) -> float | None:
        """Set aside the most that a request can cost, before it is sent.

        None: it would fit if those in flight cost less than was set aside for them;
        ask again when one is answered.

        Raises:
            BudgetError: it could pass the budget whatever those in flight cost.
        """
        if not math.isfinite(self.dollars):
            return 0.0
        most = self.prices.most(body)
        if self.spent + self._held + most <= self.dollars:
            self._held += most
            return most
        if self._held > 0 and self.spent + most <= self.dollars:
            return None
        raise self._passed(most)

    def hold_in_batch(self, body: Mapping[str, Any], is_out: bool) -> float:
        """Set aside the most that a request of a batch can cost; returns that.

        Raises:
            BudgetError: it could pass the budget, and is not out already.
        """
        if not math.isfinite(self.dollars):
            return 0.0
        most = self.prices.most(body, is_batch=True)
        if not is_out and self.spent + self._held + most > self.dollars:
            raise self._passed(most)
        self._held += most
        return most

    def _passed(self, most: float) -> BudgetError:
        return BudgetError(
            f"${self.spent:.4f} are spent and ${self._held:.4f} set aside for requests"
            f" in flight; the next one may cost ${most:.4f}, which could pass the"
            f" budget of ${self.dollars:.2f}. Every answer is kept: raise the budget"
            " and run the same command to go on"
        )

    def settle(
        self, held: float, usage: Mapping[str, int] | None, is_batch: bool = False
    ) -> None:
        """Replace what was set aside by what the answer cost (None: nothing)."""
        self._held -= held
        if usage is not None:
            self._own += self.prices.of_usage(usage, is_batch)

    def refresh(self) -> None:
        """Count what other jobs have been answered meanwhile."""
        self._elsewhere = sum(journal.read_on().dollars for journal in self._others)
