"""Any OpenAI-compatible endpoint that somebody else runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from retrace.engines.base import Endpoint, Engine, EngineError, Rates

# Nothing that is installed here changes what a remote model answers.
SOFTWARE: tuple[str, ...] = ()
# Settings that change no answer: no step is stale for them.
OPERATION = (
    "key_variables",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrency",
)


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"{url!r} is no address: expected one like https://api.openai.com/v1"
        )
    return url


Address = Annotated[str, AfterValidator(_address)]


class Settings(BaseModel):
    """An OpenAI-compatible endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["openai"] = "openai"
    base_url: Address = Field(
        default="https://api.openai.com/v1", description="the API's address, with /v1"
    )
    provider: str = Field(
        default="",
        description="who answers, as the journal keys know it: give one where the"
        " address may change and the model behind it does not; the address when empty",
    )
    model: str = Field(
        default="",
        description="the name that the API knows the model by; the model's `weights`"
        " when empty",
    )
    key_variables: list[str] = Field(
        default=["OPENAI_API_KEY"],
        min_length=1,
        description="environment variables that hold the keys; requests are spread"
        " over them. The keys themselves never stand in a config",
    )
    requests_per_minute: int | None = Field(
        default=None, gt=0, description="what each key may send in 60 s"
    )
    tokens_per_minute: int | None = Field(
        default=None,
        gt=0,
        description="prompt and completion tokens of each key in 60 s",
    )
    concurrency: int = Field(default=64, gt=0, description="requests in flight")
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="fields added to every request body, such as reasoning_effort",
    )


class OpenAI(Engine):
    """A remote endpoint: nothing to start, nothing to end."""

    def __init__(self, settings: Settings, model: str, revision: str) -> None:
        self.settings = settings
        self.concurrency = settings.concurrency
        self.rates = Rates(settings.requests_per_minute, settings.tokens_per_minute)
        self._model = settings.model or model
        self._revision = revision

    def identity(self) -> dict[str, str]:
        # The version of a remote engine is the provider's secret: what is known of it
        # is the address, and the model that each answer names (in its journal line).
        identity = {
            "engine": "openai",
            "version": self.settings.provider or self.settings.base_url,
            "revision": f"{self._model}@{self._revision or 'unpinned'}",
            "dtype": "unknown",
        }
        if self.settings.extra:
            identity["extra"] = json.dumps(self.settings.extra, sort_keys=True)
        return identity

    def contract(self) -> dict[str, Any]:
        return {
            **self.identity(),
            "device": "unknown",
            "seed_policy": "sampling seed + sample number; best effort by the provider",
        }

    def start(self) -> Endpoint:
        url = self.settings.base_url
        keys = tuple(_key(name, url) for name in self.settings.key_variables)
        return Endpoint(url, keys, self._model)

    def extra(self) -> dict[str, Any]:
        return dict(self.settings.extra)


def make(settings: Settings, weights: str, revision: str, log: Path) -> OpenAI:
    return OpenAI(settings, weights, revision)


def _key(variable: str, url: str) -> str:
    """A key of the environment, in no message: errors reach logs and journals."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise EngineError(
            f"the environment variable {variable} is not set: it must hold the key for"
            f" {url}"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise EngineError(
            f"the environment variable {variable} holds a blank or a character that no"
            f" key has: it must hold the key for {url}, and nothing else"
        )
    return key
