"""What answers cost: dollars of tokens and of GPU hours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MILLION = 1_000_000


class Prices(BaseModel):
    """What a model costs: tokens of an API, or hours of one's own GPUs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: float = Field(
        default=0.0, ge=0, description="dollars for a million prompt tokens"
    )
    cached: float | None = Field(
        default=None,
        ge=0,
        description="dollars for a million prompt tokens that the provider had cached;"
        " as `prompt` when absent",
    )
    completion: float = Field(
        default=0.0, ge=0, description="dollars for a million completion tokens"
    )
    batch: float = Field(
        default=0.5, ge=0, description="a batch's price, as a share of the usual one"
    )
    gpu_hour: float | None = Field(
        default=None,
        ge=0,
        description="dollars for an hour of one of our GPUs; the recipe's"
        " `prices.gpu_hour` when absent",
    )

    @property
    def of_tokens(self) -> bool:
        """Whether tokens have a price, be it 0."""
        return bool(self.model_fields_set & {"prompt", "completion"})

    def of_usage(self, usage: Mapping[str, int], is_batch: bool = False) -> float:
        """Dollars for one answer's tokens, as the server counted them."""
        cached = min(usage.get("cached_tokens", 0), usage.get("prompt_tokens", 0))
        fresh = usage.get("prompt_tokens", 0) - cached
        cached_price = self.prompt if self.cached is None else self.cached
        dollars = (
            fresh * self.prompt
            + cached * cached_price
            + usage.get("completion_tokens", 0) * self.completion
        ) / MILLION
        return dollars * self.batch if is_batch else dollars

    def most(self, body: Mapping[str, Any], is_batch: bool = False) -> float:
        """The most that a request can cost: a token for every byte of its prompt."""
        prompt, longest = bounds(body)
        usage = {"prompt_tokens": prompt, "completion_tokens": longest}
        return self.of_usage(usage, is_batch)

    def of_gpus(self, seconds: float, gpus: int) -> float:
        return seconds / 3600.0 * gpus * (self.gpu_hour or 0.0)


def bounds(body: Mapping[str, Any]) -> tuple[int, int]:
    """The most tokens of a request's prompt and of its answer."""
    prompt = sum(len(m["content"].encode()) + 8 for m in body["messages"])
    longest = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return prompt, int(longest)
