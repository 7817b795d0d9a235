"""OpenAI's Batch API: the same answers at half the price, within a day.

A batch is a file of requests that the provider works through on its own. What is out is
remembered by batch id in the journal, so a killed job's successor collects it instead
of paying again; a batch that was created just before the kill is found by the digest of
its keys in the provider's own list.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retrace.budget import BudgetError
from retrace.engines import openai as direct
from retrace.engines.base import (
    BatchEngine,
    Desk,
    Endpoint,
    EngineError,
    Job,
    sent,
)
from retrace.rows import content_id

if TYPE_CHECKING:
    import openai
    from openai.types import Batch

log = logging.getLogger(__name__)

# Packages whose version can change what this module gives.
SOFTWARE = ("openai",)
# Settings that change no answer: no step is stale for them.
OPERATION = (
    "key_variable",
    "window",
    "requests_per_batch",
    "bytes_per_batch",
    "poll",
    "rounds",
)
MARK = "retrace"
OVER = ("completed", "failed", "expired", "cancelled")
FULL = "token_limit_exceeded"
BUSY_STATUS = (408, 409, 429)
NAP = 0.2
RETRIES = 5


class Settings(BaseModel):
    """An endpoint with OpenAI's Batch API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["openai_batch"] = "openai_batch"
    base_url: direct.Address = Field(
        default="https://api.openai.com/v1", description="the API's address, with /v1"
    )
    provider: str = Field(
        default="", description="who answers, as in the engine `openai`"
    )
    model: str = Field(
        default="", description="the name that the API knows the model by"
    )
    key_variable: str = Field(
        default="OPENAI_API_KEY", description="environment variable with the key"
    )
    window: str = Field(default="24h", description="the API's completion_window")
    requests_per_batch: int = Field(
        default=50_000, gt=0, le=50_000, description="requests in one batch"
    )
    bytes_per_batch: int = Field(
        default=190_000_000, gt=0, description="size of one batch's file"
    )
    poll: float = Field(default=60.0, gt=0, description="seconds between two looks")
    rounds: int = Field(
        default=3,
        gt=0,
        description="times that a request goes out again after it expired or failed"
        " on the provider's side",
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="fields added to every request body"
    )


@dataclass
class Open:
    """A batch that is out: its id and the keys in it."""

    id: str
    keys: list[str]


class OpenAIBatch(BatchEngine):
    """Uploads, waits, collects; answers share their keys with the engine `openai`."""

    def __init__(self, settings: Settings, model: str, revision: str) -> None:
        self.settings = settings
        self._direct = direct.OpenAI(
            direct.Settings(
                base_url=settings.base_url,
                provider=settings.provider,
                model=settings.model,
                key_variables=[settings.key_variable],
                extra=settings.extra,
            ),
            model,
            revision,
        )

    def identity(self) -> dict[str, str]:
        return self._direct.identity()

    def contract(self) -> dict[str, Any]:
        return {**self._direct.contract(), "mode": "batch"}

    def start(self) -> Endpoint:
        return self._direct.start()

    def extra(self) -> dict[str, Any]:
        return self._direct.extra()

    def run(self, jobs: Sequence[Job], desk: Desk) -> None:
        import openai

        endpoint = self.start()
        client = openai.OpenAI(
            base_url=endpoint.base_url, api_key=endpoint.keys[0], max_retries=RETRIES
        )
        run = _Run(self.settings, client, endpoint.model, self.extra(), desk)
        with client:
            try:
                run.go(jobs)
            except openai.OpenAIError as error:
                raise EngineError(
                    f"the Batch API at {endpoint.base_url} does not do what it was"
                    f" asked ({type(error).__name__}: {error}): check the key and the"
                    " base URL. Batches that are out go on, and the same command"
                    " collects them"
                ) from error


class _Run:
    """One job's dealings with the Batch API."""

    def __init__(
        self,
        settings: Settings,
        client: openai.OpenAI,
        model: str,
        extra: dict[str, Any],
        desk: Desk,
    ) -> None:
        self.settings = settings
        self.client = client
        self.model = model
        self.extra = extra
        self.desk = desk
        self.missing: dict[str, Job] = {}
        self.messages: dict[str, str] = {}
        self.passed: BudgetError | None = None

    def go(self, jobs: Sequence[Job]) -> None:
        self.missing = {job.key: job for job in jobs}
        waiting = self._left_by_others()
        for _ in range(self.settings.rounds + 1):
            out = {key for batch in waiting for key in batch.keys}
            fresh = [job for key, job in self.missing.items() if key not in out]
            waiting = self._wait(waiting + self._send(fresh))
            if not self.missing or self.desk.must_stop():
                return
            if self.passed is not None:
                raise self.passed
        for key in list(self.missing):
            message = self.messages.get(key, "the batch gave no answer")
            self.desk.give_up(key, message, "batch")

    def _left_by_others(self) -> list[Open]:
        """Batches that a killed job created and nobody has collected."""
        created: dict[str, Open] = {}
        for note in self.desk.recall():
            if "keys" in note:
                created[note["id"]] = Open(note["id"], note["keys"])
            else:
                created.pop(note["id"], None)
        if created:
            log.info("%d batches of an earlier run are still out", len(created))
        for batch in created.values():
            for key in batch.keys:
                if key in self.missing:
                    self.desk.hold(self.missing[key], True)
        return list(created.values())

    def _send(self, jobs: Sequence[Job]) -> list[Open]:
        created = []
        for chunk in self._chunks(jobs):
            if self.desk.must_stop():
                break
            created.append(self._create(chunk))
        return created

    def _chunks(self, jobs: Sequence[Job]) -> Iterator[list[tuple[str, bytes]]]:
        """Requests as lines of a batch file, as many as one batch may hold.

        Ends at the first one that the budget does not allow.
        """
        chunk: list[tuple[str, bytes]] = []
        size = 0
        for job in jobs:
            try:
                self.desk.hold(job, False)
            except BudgetError as error:
                self.passed = error
                break
            line = self._line(job)
            full = len(chunk) >= self.settings.requests_per_batch
            if chunk and (full or size + len(line) > self.settings.bytes_per_batch):
                yield chunk
                chunk, size = [], 0
            chunk.append((job.key, line))
            size += len(line)
        if chunk:
            yield chunk

    def _line(self, job: Job) -> bytes:
        request = {
            "custom_id": job.key,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": self.model, **sent(job.body, self.extra)},
        }
        return json.dumps(request, ensure_ascii=False).encode() + b"\n"

    def _create(self, chunk: list[tuple[str, bytes]]) -> Open:
        """Create a batch, unless a job that died had just created the same one."""
        import openai

        keys = [key for key, _ in chunk]
        mark = content_id(sorted(keys))
        batch = self._find(mark)
        while batch is None:
            text = b"".join(line for _, line in chunk)
            file = self.client.files.create(
                file=(f"{mark}.jsonl", text), purpose="batch"
            )
            try:
                # Not retried blindly: a lost answer may hide a batch that exists.
                batch = self.client.with_options(max_retries=0).batches.create(
                    input_file_id=file.id,
                    endpoint="/v1/chat/completions",
                    completion_window=self.settings.window,  # type: ignore[arg-type]
                    metadata={MARK: mark},
                )
            except (openai.APIConnectionError, openai.InternalServerError) as error:
                log.warning("creating a batch failed (%s); looking for it", error)
                self._nap(self.settings.poll)
                batch = self._find(mark)
                if batch is None and self.desk.must_stop():
                    raise
        self.desk.remember({"id": batch.id, "keys": keys})
        log.info("batch %s holds %d requests", batch.id, len(keys))
        return Open(batch.id, keys)

    def _find(self, mark: str) -> Batch | None:
        for batch in self.client.batches.list(limit=100):
            is_ours = (batch.metadata or {}).get(MARK) == mark
            if is_ours and batch.status not in ("failed", "cancelled", "expired"):
                seen = {note["id"] for note in self.desk.recall()}
                # One that was remembered is either waited for or collected.
                if batch.id not in seen:
                    return batch
        return None

    def _wait(self, waiting: list[Open]) -> list[Open]:
        """Collect batches as they end; return those still out when told to stop."""
        while waiting:
            for batch in list(waiting):
                if self._is_over(batch):
                    waiting.remove(batch)
            if self.desk.must_stop():
                return waiting
            if waiting:
                self._nap(self.settings.poll)
        return []

    def _is_over(self, batch: Open) -> bool:
        """Whether a batch has ended; its answers are kept then.

        Raises:
            EngineError: the provider lets us look no more, or refused the batch.
        """
        import openai

        try:
            found = self.client.batches.retrieve(batch.id)
            if found.status not in OVER:
                return False
            self._collect(batch, found)
        except openai.NotFoundError:
            log.warning("batch %s is gone; what it had goes out again", batch.id)
            for key in batch.keys:
                self.desk.free(key)
            self.desk.remember({"id": batch.id, "status": "gone"})
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise EngineError(
                f"the provider does not let us look at batch {batch.id}, which goes on:"
                f" check the key. {error}"
            ) from error
        except (
            openai.APIConnectionError,
            openai.InternalServerError,
            openai.RateLimitError,
        ) as error:
            # A batch lasts hours: an outage meanwhile is no reason to give up.
            log.warning("batch %s: no answer (%s); looking again", batch.id, error)
            return False
        return True

    def _collect(self, batch: Open, found: Batch) -> None:
        """Keep every answer; what has none stays missing for the next round."""
        log.info("batch %s is %s", batch.id, found.status)
        for file in (found.output_file_id, found.error_file_id):
            if file is not None:
                content = self.client.files.content(file).content
                for line in filter(None, map(bytes.strip, content.splitlines())):
                    self._read(batch, line)
        for key in batch.keys:
            self.desk.free(key)
        # Only now: a job killed before this line collects the batch once more.
        self.desk.remember({"id": batch.id, "status": found.status})
        if found.status == "failed":
            self._explain_failure(found)

    def _read(self, batch: Open, text: bytes) -> None:
        try:
            line = json.loads(text)
            key = line["custom_id"]
        except (ValueError, KeyError, TypeError) as error:
            log.warning(
                "batch %s: a line of its results cannot be read (%r): %s",
                batch.id,
                error,
                text[:200],
            )
            return
        self._take(key, line)

    def _take(self, key: str, line: dict[str, Any]) -> None:
        response = line.get("response") or {}
        status = response.get("status_code", 0)
        if key not in self.missing:
            return
        if status == 200:
            self.desk.take(self.missing.pop(key), response.get("body"))
            return
        error = line.get("error") or (response.get("body") or {}).get("error") or {}
        message = f"status {status}: {json.dumps(error)[:500]}"
        self.messages[key] = message
        if 400 <= status < 500 and status not in BUSY_STATUS:
            del self.missing[key]
            self.desk.give_up(key, message, "refused")

    def _explain_failure(self, found: Batch) -> None:
        """Of a batch refused as a whole: a full queue passes, other faults do not."""
        errors = found.errors.data if found.errors and found.errors.data else []
        if any(error.code == FULL for error in errors):
            log.warning("the provider's batch queue is full; trying again later")
            self._nap(self.settings.poll)
            return
        told = "; ".join(f"{error.code}: {error.message}" for error in errors)
        raise EngineError(
            f"the provider refused batch {found.id} as a whole: {told or 'no reason'}"
        )

    def _nap(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.desk.must_stop():
            time.sleep(min(NAP, seconds))


def make(settings: Settings, weights: str, revision: str, log: Path) -> OpenAIBatch:
    return OpenAIBatch(settings, weights, revision)
