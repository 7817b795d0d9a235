"""What the sampler costs over the bare `openai` client, against an instant server.

    python benchmarks/sampler.py [--requests 10000] [--in-flight 1000] [--json]

Runs both in turn, each in a process of its own, against one loopback server that
answers at once, and prints requests per second, processor time, peak memory and the
longest time for which the event loop was blocked. On a busy machine compare the
processor times: both clients are bound by them.

With `--limiter SECONDS` it measures instead how much of a configured rate is used, and
whether it is ever passed; with `--vllm WEIGHTS`, tokens per second of a real vLLM
server under both clients in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from retrace import engines
from retrace.dispatch import Effort
from retrace.journal import Journal
from retrace.sampling import Request, Sampling, ask
from tests.fault_server import FaultServer

KEY = "RETRACE_BENCHMARK_KEY"
SAMPLING = Sampling(temperature=0.7, max_tokens=256, seed=1)


def main() -> None:
    options = parse()
    os.environ[KEY] = "key"
    if options.part:
        parts = {"raw": run_raw, "sampler": run_sampler}
        print(json.dumps(parts[options.part](options)))
    elif options.vllm:
        show(options, compare_on_vllm(options))
    elif options.limiter:
        show(options, [run_limiter(options)])
    else:
        show(options, compare(options))


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Raw and sampler in turn, `--rounds` times; the best round of each is kept."""
    best: dict[str, dict[str, Any]] = {}
    with FaultServer(words=options.words) as server:
        for _ in range(options.rounds):
            for part in ("raw", "sampler"):
                command = [sys.executable, __file__, "--part", part]
                command += ["--requests", str(options.requests)]
                command += ["--in-flight", str(options.in_flight)]
                command += ["--url", server.base_url]
                done = subprocess.run(command, check=True, capture_output=True)
                found = json.loads(done.stdout)
                if part not in best or found["per_s"] > best[part]["per_s"]:
                    best[part] = found
    raw, ours = best["raw"], best["sampler"]
    ours["of_raw"] = round(ours["per_s"] / raw["per_s"], 3)
    return [raw, ours]


def compare_on_vllm(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One server; the bare client and the sampler in turn, with the same requests.

    Other seeds in each round, so that no answer is in the journal; the first round only
    warms the server up.
    """
    settings = {
        "kind": "vllm",
        "args": [
            *("--max-model-len", "1024", "--enforce-eager"),
            *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"),
        ],
        "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        "start_timeout": 600,
        "concurrency": options.in_flight,
    }
    tokens = {"raw": 0, "sampler": 0}
    seconds = {"raw": 0.0, "sampler": 0.0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with engines.load(settings, options.vllm, "", folder / "log") as engine:
            endpoint = engine.start()
            for number in range(options.rounds * 2 + 2):
                # raw, sampler, sampler, raw, ...: neither always goes first.
                part = ("raw", "sampler", "sampler", "raw")[number % 4]
                asked = [
                    seeded(i, 1000 * (number // 2)) for i in range(options.requests)
                ]
                began = time.perf_counter()
                if part == "raw":
                    used = asyncio.run(bare_load(endpoint, asked, options.in_flight))
                else:
                    with Journal(folder / f"{number}.jsonl") as journal:
                        answers = ask(asked, engine, journal)
                        used = sum(a.usage.completion_tokens for a in answers)
                if number >= 2:
                    tokens[part] += used
                    seconds[part] += time.perf_counter() - began
    per_s = {part: tokens[part] / seconds[part] for part in tokens}
    return [
        {"what": f"{part} on vLLM", "tokens": tokens[part], "per_s": round(rate, 1)}
        | ({"of_raw": round(rate / per_s["raw"], 3)} if part == "sampler" else {})
        for part, rate in per_s.items()
    ]


async def bare_load(endpoint: Any, asked: list[Request], in_flight: int) -> int:
    import openai

    client = openai.AsyncOpenAI(
        base_url=endpoint.base_url, api_key=endpoint.keys[0], max_retries=0
    )
    queue = iter(asked)
    tokens = 0

    async def worker() -> None:
        nonlocal tokens
        for one in queue:
            done = await client.chat.completions.create(
                model=endpoint.model, **one.body()
            )
            tokens += done.usage.completion_tokens if done.usage else 0

    async with client:
        await asyncio.gather(*(worker() for _ in range(in_flight)))
    return tokens


def seeded(number: int, seed: int) -> Request:
    text = f"Tom has {number % 9 + 2} bags with {number} apples each. How many?"
    sampling = Sampling(temperature=0.7, max_tokens=64, seed=seed)
    return Request([{"role": "user", "content": text}], sampling)


def run_raw(options: argparse.Namespace) -> dict[str, Any]:
    """The bare client: as many workers as requests in flight, nothing kept."""
    import openai

    async def work() -> float:
        limits = {"max_connections": None, "max_keepalive_connections": None}
        http = openai.DefaultAsyncHttpxClient(limits=limits_of(limits))
        client = openai.AsyncOpenAI(
            base_url=options.url,
            api_key="key",
            max_retries=0,
            http_client=http,
            timeout=600.0,
        )
        queue = iter(range(options.requests))

        async def worker() -> None:
            for number in queue:
                await client.chat.completions.create(
                    model="m", **request(number).body()
                )

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(options.in_flight)))
        return time.perf_counter() - began

    seconds, blocked = asyncio.run(watched(work()))
    return result("raw openai client", options, seconds, blocked)


def limits_of(settings: dict[str, Any]) -> Any:
    import httpx2

    return httpx2.Limits(**settings)


def run_sampler(options: argparse.Namespace) -> dict[str, Any]:
    """All of `ask`: keys, journal, retries, answers in order."""
    from retrace import dispatch

    blocked = (0.0, 0.0)
    run = dispatch.Dispatcher._run

    async def run_watched(self: Any, jobs: Any) -> None:
        nonlocal blocked
        _, blocked = await watched(run(self, jobs))

    dispatch.Dispatcher._run = run_watched  # type: ignore[method-assign]
    asked = [request(number) for number in range(options.requests)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        texts = sum(len(text) for text in sample(options, Path(folder), asked))
        seconds = time.perf_counter() - began
    assert texts > 0
    return result("retrace sampler", options, seconds, blocked)


def run_limiter(options: argparse.Namespace) -> dict[str, Any]:
    """Ask for longer than the window; look at every window the server saw."""
    rates = {"requests_per_minute": options.rpm, "tokens_per_minute": options.tpm}
    rates = {name: rate for name, rate in rates.items() if rate}
    with (
        FaultServer(words=options.words, latency=0.5) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ["RETRACE_STOP_AT"] = str(time.time() + options.limiter)
        options.url = server.base_url
        options.in_flight = 200
        asked = [request(number) for number in range(10**5)]
        try:
            list(sample(options, Path(folder), asked, **rates))
        except Exception as error:
            print(f"stopped: {error}", file=sys.stderr)
        arrivals = server.seen()["arrivals"]
    return {
        "what": "limiter",
        **rates,
        **busiest(arrivals, options.limiter),
    }


def busiest(arrivals: Sequence[Sequence[float]], seconds: float) -> dict[str, Any]:
    """Most requests and tokens in any 60 s, and the mean per minute once running."""
    most_requests = most_tokens = tokens = first = 0.0
    for last, (at, used) in enumerate(arrivals):
        tokens += used
        while arrivals[int(first)][0] <= at - 60.0:
            tokens -= arrivals[int(first)][1]
            first += 1
        most_requests = max(most_requests, last - first + 1)
        most_tokens = max(most_tokens, tokens)
    begin = arrivals[0][0] + 5.0
    steady = [used for at, used in arrivals if at >= begin]
    minutes = (arrivals[-1][0] - begin) / 60.0
    return {
        "most_requests": int(most_requests),
        "most_tokens": int(most_tokens),
        "mean_requests": round(len(steady) / minutes, 1),
        "mean_tokens": round(sum(steady) / minutes, 1),
    }


def sample(
    options: argparse.Namespace, folder: Path, asked: list[Request], **rates: Any
) -> Any:
    settings = {
        "kind": "openai",
        "base_url": options.url,
        "key_variables": [KEY],
        "concurrency": options.in_flight,
        **rates,
    }
    with (
        Journal(folder / "journal.jsonl") as journal,
        engines.load(settings, "m", "r", folder / "log") as engine,
    ):
        for answer in ask(asked, engine, journal, Effort(margin=0.0, grace=2.0)):
            yield answer.text


async def watched(work: Any) -> tuple[Any, tuple[float, float]]:
    """The result of a coroutine and the longest blocks of the loop, in seconds.

    By the wall clock, which counts other programs on the machine too, and by the
    processor time that this thread spent.
    """
    wall = busy = 0.0

    async def watch() -> None:
        nonlocal wall, busy
        while True:
            began, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.005)
            wall = max(wall, time.perf_counter() - began - 0.005)
            busy = max(busy, time.thread_time() - worked)

    watcher = asyncio.create_task(watch())
    try:
        return await work, (wall, busy)
    finally:
        watcher.cancel()


def request(number: int) -> Request:
    text = f"Question {number}: " + "how many apples are in the bags? " * 8
    return Request([{"role": "user", "content": text}], SAMPLING)


def result(
    what: str,
    options: argparse.Namespace,
    seconds: float,
    blocked: tuple[float, float],
) -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "what": what,
        "requests": options.requests,
        "in_flight": options.in_flight,
        "seconds": round(seconds, 2),
        "per_s": round(options.requests / seconds, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
        "blocked_ms": round(blocked[0] * 1000),
        "blocked_cpu_ms": round(blocked[1] * 1000),
    }


def show(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    if options.json:
        print(json.dumps({"benchmark": "sampler", "rows": rows}))
        return
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--words", type=int, default=20)
    parser.add_argument("--limiter", type=float, help="seconds to run a limited load")
    parser.add_argument("--rpm", type=int, help="requests per minute")
    parser.add_argument("--tpm", type=int, help="tokens per minute")
    parser.add_argument("--vllm", metavar="WEIGHTS", help="model directory to serve")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=["raw", "sampler"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
