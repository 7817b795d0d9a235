"""On what terms a model is asked: prices, budget, retries, the running of its engine.

None of it changes an answer, so none of it makes a step stale.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from retrace.budget import Budget, BudgetError
from retrace.cost import Prices
from retrace.dispatch import Effort

# Where a run hands the terms of all its models to its jobs.
VARIABLE = "RETRACE_TERMS"


class Terms(BaseModel):
    """The terms of one model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prices: Prices = Field(default_factory=Prices, description="what answers cost")
    budget: float | None = Field(
        default=None,
        ge=0,
        description="dollars that all answers of this model may cost together",
    )
    effort: Effort = Field(default_factory=Effort, description="retries and patience")
    operation: dict[str, Any] = Field(
        default_factory=dict,
        description="settings of the engine that change no answer; a run moves them"
        " here from `engine`",
    )

    def open_budget(self, journals: Sequence[Path], own: Path) -> Budget:
        """The budget, with what the model's journals hold already spent.

        Raises:
            BudgetError: there are no prices, so it would hold nothing back.
        """
        if self.budget is None:
            return Budget(self.prices)
        prices = self.prices
        if not (prices.prompt or prices.completion or prices.gpu_hour):
            raise BudgetError(
                f"a budget of ${self.budget:.2f}, and nothing costs anything: give"
                " `prices` beside `budget`, or take it out"
            )
        return Budget(prices, self.budget, journals, own)


def terms_of(text: str) -> dict[str, Terms]:
    """Terms by the name of their model, from JSON as scripts are given it.

    By default that is the environment variable `VARIABLE`, and not an argument of the
    rule: Snakemake would take a changed price for a reason to sample again.
    """
    return {
        name: Terms.model_validate(terms) for name, terms in json.loads(text).items()
    }
