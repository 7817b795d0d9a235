"""What came back for a request: an answer worth keeping, or what its absence means."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import Any

from retrace.cost import bounds

FINISHED = ("stop", "length")


class MalformedReplyError(ValueError):
    """An answer with status 200 that is not a chat completion."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, and what that means for the next."""

    kind: str
    message: str
    retry: bool = True
    fatal: bool = False
    after: float | None = None


def read_json(content: bytes) -> Any:
    """The body of an answer.

    Raises:
        MalformedReplyError: it is not JSON; says what it is.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        start = content[:100].decode("utf-8", "replace")
        page = content.lstrip()[:1] == b"<"
        hint = ": a web page, so the base URL may be another than the API's"
        raise MalformedReplyError(
            f"the answer is not JSON{hint if page else f' ({error})'}; it starts with"
            f" {start!r}"
        ) from error


def read_completion(completion: Any) -> dict[str, Any]:
    """What the journal keeps of a chat completion.

    Raises:
        MalformedReplyError: it holds no finished choice.
    """
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        # vLLM renamed the field; servers with either name are in use.
        reasoning = message.get("reasoning") or message.get("reasoning_content") or ""
        finish = choice["finish_reason"]
        if not isinstance(text, str) or not isinstance(reasoning, str):
            raise TypeError("content is not text")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise MalformedReplyError(
            f"the answer is not a chat completion ({error!r}):"
            f" {json.dumps(completion)[:200]}"
        ) from error
    usage = _read_usage(completion.get("usage"))
    served = {"model": completion.get("model"), "usage": usage}
    if finish == "content_filter":
        return {"error": "content_filter: the provider withheld the answer", **served}
    if finish not in FINISHED:
        raise MalformedReplyError(f"finish_reason is {finish!r}, expected {FINISHED}")
    reply = {"text": _whole_characters(text), "finish_reason": finish, **served}
    if reasoning:
        reply["reasoning"] = _whole_characters(reasoning)
    if completion.get("system_fingerprint"):
        reply["fingerprint"] = completion["system_fingerprint"]
    return reply


def classify(error: Exception) -> Failure:
    """What an exception of one attempt means."""
    import openai

    text = f"{type(error).__name__}: {error}"[:2000]
    if isinstance(error, MalformedReplyError):
        return Failure("malformed", text)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return Failure("timeout", f"no answer in time ({type(error).__name__})")
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__
        cut = type(cause).__name__ == "RemoteProtocolError"
        kind = "truncated" if cut else "connection"
        return Failure(kind, f"{text} ({cause!r})"[:2000])
    if isinstance(error, openai.APIStatusError):
        return _classify_status(error, text)
    if isinstance(error, ValueError):
        return Failure("malformed", text)
    raise error


def _classify_status(error: Any, text: str) -> Failure:
    status = error.status_code
    after = _retry_after(error.response.headers)
    if status == 429:
        if error.code == "insufficient_quota":
            return Failure(
                "fatal", f"the account has no credit left: {text}", fatal=True
            )
        return Failure("rate_limit", text, after=after)
    if status == 402:
        return Failure("fatal", f"the account has no credit left: {text}", fatal=True)
    if status in (401, 403, 404):
        return Failure(
            "fatal",
            f"the endpoint refuses every request like this one (status {status}):"
            f" check the key, the base URL and the model's name. {text}",
            fatal=True,
        )
    if status in (408, 409, 425) or status >= 500:
        return Failure("server", text, after=after)
    return Failure("refused", text, retry=False)


def _retry_after(headers: Any) -> float | None:
    """Seconds of a Retry-After header: a number or a date."""
    from email.utils import parsedate_to_datetime

    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    # "nan" and "inf" are numbers too.
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def usage_of(reply: dict[str, Any], body: dict[str, Any]) -> dict[str, int]:
    """The tokens that a reply is counted with: the server's own numbers.

    Of a server that states none, the most that they can be: one for every byte.
    """
    usage: dict[str, int] = reply["usage"]
    if sum_of(usage):
        return usage
    text = reply.get("text", "") + reply.get("reasoning", "")
    prompt, longest = bounds(body)
    most = min(len(text.encode()) + 1, longest)
    return {"prompt_tokens": prompt, "completion_tokens": most}


def sum_of(usage: dict[str, int]) -> int:
    """Prompt and completion tokens together."""
    return usage["prompt_tokens"] + usage["completion_tokens"]


def _read_usage(usage: Any) -> dict[str, int]:
    """Token counts as the server states them; what is no count is 0."""
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    counts = {
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "cached_tokens": details.get("cached_tokens")
        if isinstance(details, dict)
        else 0,
    }
    return {
        name: count if isinstance(count, int) and count > 0 else 0
        for name, count in counts.items()
        if count or name != "cached_tokens"
    }


def _whole_characters(text: str) -> str:
    """Join surrogate pairs; half a pair becomes U+FFFD, since rows are UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
