"""What every engine offers, and nothing about any one of them."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
LOG_TAIL_LINES = 25


class EngineError(RuntimeError):
    """An engine that did not start, or died for good: the message ends with its log."""


@dataclass(frozen=True)
class Endpoint:
    """Where an OpenAI-compatible server listens, with the keys that open it."""

    base_url: str
    keys: tuple[str, ...]
    model: str
    is_local: bool = False


@dataclass(frozen=True)
class Rates:
    """What one key may use in any 60 seconds; None is no limit."""

    requests: int | None = None
    tokens: int | None = None


class Engine(ABC):
    """A model behind an OpenAI-compatible server.

    A context manager that starts nothing: `start` does, on the first request that no
    journal answers, and leaving the context ends whatever was started.
    """

    concurrency: int = 64
    rates: Rates = Rates()
    gpus: int = 0

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """Whom an answer is from: the part of the contract that keys the journal.

        Engine, version, model revision and dtype. Known without starting anything.
        """

    @abstractmethod
    def contract(self) -> dict[str, Any]:
        """All that may change a text: `identity`, parallelism, device, attention."""

    @abstractmethod
    def start(self) -> Endpoint:
        """Start if not yet started, wait until healthy, return the endpoint.

        Raises:
            EngineError: not healthy in time; ends with the server's last lines.
        """

    def is_alive(self) -> bool:
        """Whether a request that just failed should be tried again as it is."""
        return True

    def restart(self) -> Endpoint:
        """Bring a dead engine back, once.

        Raises:
            EngineError: it died before, or does not start any more.
        """
        raise EngineError(f"{type(self).__module__} cannot be restarted from here")

    def extra(self) -> dict[str, Any]:
        """Fields that every request body of this engine carries besides its own."""
        return {}

    def close(self) -> None:  # noqa: B027 - most engines have nothing to end
        """End whatever `start` started. Safe to call twice."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class Job:
    """A request for a batch: its journal key and its body, without the model."""

    key: str
    body: dict[str, Any]


def sent(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """A body as it goes out. A null takes a field out that an API does not know."""
    return {k: v for k, v in {**body, **extra}.items() if v is not None}


@dataclass(frozen=True)
class Desk:
    """What a batch engine hands its results to, and asks."""

    take: Callable[[Job, Any], None]
    """Keep a chat completion, given as JSON, for a request."""
    give_up: Callable[[str, str, str], None]
    """Count a key as failed: its message and the kind of failure."""
    hold: Callable[[Job, bool], None]
    """Set aside a request's dollars before it is sent, or raise `BudgetError`.

    True: it is out already, so nothing is raised.
    """
    free: Callable[[str], None]
    """Free what was set aside for a key that is no longer out."""
    remember: Callable[[dict[str, Any]], None]
    """Note something about a batch where a killed job's successor finds it."""
    recall: Callable[[], list[dict[str, Any]]]
    must_stop: Callable[[], bool]


class BatchEngine(Engine):
    """An engine that is handed all requests at once and answers much later."""

    @abstractmethod
    def run(self, jobs: Sequence[Job], desk: Desk) -> None:
        """Answer every job through the desk.

        Returns early when the desk says so; the batches go on at the provider, and the
        next run finds them through what was remembered.
        """


def revision_of(weights: str, revision: str) -> str:
    """What pins a model's weights: a digest of local files, or `hub-id@revision`.

    Local weights are known by the files of their manifest alone, so how they were made
    does not matter; without a manifest the config and safetensors files are hashed.

    Raises:
        EngineError: a hub id without a revision, or a directory without weights.
    """
    directory = Path(weights)
    if not directory.is_dir():
        if not revision:
            raise EngineError(
                f"{weights} is no directory, so it is taken for a hub id, and no"
                " revision pins it: give the commit hash of the model repository"
            )
        return f"{weights}@{revision}"
    manifest = directory / MANIFEST
    if manifest.is_file():
        files = json.loads(manifest.read_text("utf-8"))["files"]
        hashes = {name: file["sha256"] for name, file in files.items()}
    else:
        hashes = _hash_weights(directory)
    text = json.dumps(hashes, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def log_tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, indented, for the end of an error message."""
    if not path.is_file():
        return "  (no log)"
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 64_000))
        text = file.read().decode("utf-8", "replace")
    found = [line for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join(f"  {line}" for line in found) or "  (the log is empty)"


def _hash_weights(directory: Path) -> dict[str, str]:
    files = sorted([*directory.glob("*.json"), *directory.glob("*.safetensors")])
    if not any(file.suffix == ".safetensors" for file in files):
        raise EngineError(f"{directory} holds no {MANIFEST} and no safetensors files")
    hashes = {}
    for path in files:
        with open(path, "rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
