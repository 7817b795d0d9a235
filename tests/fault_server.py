"""An OpenAI-compatible server on loopback that misbehaves as told, for tests.

    python tests/fault_server.py --port-file FILE [--plan JSON]

Answers depend only on the request's body, so two runs can be compared byte by byte.
`GET /seen` says what was asked, `/forget` counts anew, `POST /plan` changes the plan,
`POST /again` starts over with one.
As a context manager (`FaultServer`) it runs as a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

FAULTS = (
    *("429", "500", "400", "hang", "cut"),
    *("not_json", "html", "nested", "no_choice", "surrogate"),
)


@dataclass
class Plan:
    """What goes wrong, and how often.

    `faults` gives the share of requests that meet each fault; which ones is decided by
    the hash of the request. A request meets its fault `times` times, then is answered.
    """

    faults: dict[str, float] = field(default_factory=dict)
    times: int = 1
    retry_after: str = "0.05"
    latency: float = 0.0
    die_after: int = 0
    """After so many requests the server drops everything once, for `down` seconds."""
    down: float = 1.0
    usage: dict[str, Any] | None = None
    """The usage to state in place of the true one."""
    think: bool = False
    finish_reason: str = "stop"
    key: str = ""
    """The only key that is let in; empty lets everyone in."""
    words: int = 5
    unknown: list[str] = field(default_factory=list)
    """Fields of a request that are refused."""


class State:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seen: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.arrivals: list[tuple[float, int]] = []
        self.answered = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.down = False
        self.died = False
        self.protocols: set[Connection] = set()


class Connection(asyncio.Protocol):
    """Just enough HTTP/1.1: keep-alive, Content-Length, one request at a time."""

    current: State
    """That of new connections; what is left of earlier ones has its own."""

    def __init__(self) -> None:
        self.state = Connection.current
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.state.protocols.add(self)
        if self.state.down:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.protocols.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.split(b"\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        length = int(headers.get(b"content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        method, path, _ = lines[0].decode().split(" ")
        self.handle(method, path, headers, rest[:length])

    def handle(
        self, method: str, path: str, headers: dict[bytes, bytes], body: bytes
    ) -> None:
        state = self.state
        if path == "/seen":
            self.reply(200, json.dumps(report(state)).encode())
        elif path == "/plan" and method == "POST":
            state.plan = Plan(**json.loads(body))
            self.reply(200, b"{}")
        elif path == "/again" and method == "POST":
            Connection.current = State(Plan(**json.loads(body)))
            self.reply(200, b"{}")
        elif path == "/forget":
            state.seen.clear()
            self.reply(200, b"{}")
        elif path == "/health":
            self.reply(200, b"")
        elif path == "/v1/chat/completions":
            self.chat(headers, body)
        else:
            self.reply(404, b'{"error":{"message":"no such path"}}')

    def chat(self, headers: dict[bytes, bytes], body: bytes) -> None:
        state, plan = self.state, self.state.plan
        key = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        state.keys[key] += 1
        if plan.key and key != plan.key:
            self.reply(401, b'{"error":{"message":"wrong key"}}')
            return
        digest = hashlib.sha256(body).hexdigest()
        state.seen[digest] += 1
        request = json.loads(body)
        if any(name in request for name in plan.unknown):
            self.reply(400, b'{"error":{"message":"unsupported parameter"}}')
            return
        completion = answer(request, digest, plan)
        tokens = completion["usage"]
        used = tokens["prompt_tokens"] + tokens["completion_tokens"]
        state.arrivals.append((time.monotonic(), used))
        state.in_flight += 1
        state.most_in_flight = max(state.most_in_flight, state.in_flight)
        if (
            plan.die_after
            and not state.died
            and sum(state.seen.values()) >= (plan.die_after)
        ):
            die(state)
            return
        fault = fault_of(digest, plan) if state.seen[digest] <= plan.times else ""
        send = {"": self.send_answer, "hang": lambda _: None}.get(
            fault, lambda text: self.send_fault(fault, text)
        )
        if plan.usage is not None:
            completion["usage"] = plan.usage
        text = json.dumps(completion).encode()
        if plan.latency:
            asyncio.get_running_loop().call_later(plan.latency, send, text)
        else:
            send(text)

    def send_answer(self, text: bytes) -> None:
        self.state.answered += 1
        self.state.in_flight -= 1
        self.reply(200, text)

    def send_fault(self, fault: str, text: bytes) -> None:
        self.state.in_flight -= 1
        if fault == "429":
            self.reply(
                429,
                b'{"error":{"message":"slow down"}}',
                f"Retry-After: {self.state.plan.retry_after}\r\n",
            )
        elif fault in ("500", "400"):
            self.reply(int(fault), b'{"error":{"message":"told to fail"}}')
        elif fault == "cut":
            self.transport.write(
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(text)}\r\n\r\n".encode()
                + text[: len(text) // 2]
            )
            self.transport.close()
        elif fault == "not_json":
            self.reply(200, text[: len(text) // 2])
        elif fault == "html":
            self.reply(200, b"<html><body>Welcome</body></html>")
        elif fault == "nested":
            self.reply(200, b"[" * 200_000)
        elif fault == "no_choice":
            self.reply(200, b'{"object":"chat.completion","choices":[]}')
        elif fault == "surrogate":
            half = b'{"choices":[{"message":{"content":"half \\ud83d end"},'
            self.reply(200, half + b'"finish_reason":"stop"}],"usage":{}}')
        else:
            raise ValueError(f"unknown fault {fault!r}, expected one of {FAULTS}")

    def reply(self, status: int, body: bytes, more: str = "") -> None:
        if self.transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)


def answer(request: dict[str, Any], digest: str, plan: Plan) -> dict[str, Any]:
    """A chat completion that is a function of the request alone."""
    words = " ".join(
        hashlib.sha256(f"{digest}{i}".encode()).hexdigest()[:8]
        for i in range(plan.words)
    )
    text = f"<think>thought {digest[:6]}</think>\n\n{words}" if plan.think else words
    prompt = sum(len(message["content"].split()) for message in request["messages"])
    return {
        "id": digest[:12],
        "object": "chat.completion",
        "created": 0,
        "model": "told-" + str(request.get("model")),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": plan.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": plan.words,
            "total_tokens": prompt + plan.words,
        },
    }


def fault_of(digest: str, plan: Plan) -> str:
    """The fault that a request meets: decided by its hash, so always the same."""
    point = int(digest[:8], 16) / 16**8
    for name, share in plan.faults.items():
        if point < share:
            return name
        point -= share
    return ""


def die(state: State) -> None:
    """Drop every connection and refuse new ones for a while."""
    state.died = state.down = True
    state.in_flight = 0
    for connection in list(state.protocols):
        connection.transport.abort()

    def rise() -> None:
        state.down = False

    asyncio.get_running_loop().call_later(state.plan.down, rise)


def report(state: State) -> dict[str, Any]:
    return {
        "requests": sum(state.seen.values()),
        "distinct": len(state.seen),
        "repeats": sum(count - 1 for count in state.seen.values()),
        "answered": state.answered,
        "most_in_flight": state.most_in_flight,
        "keys": state.keys,
        "arrivals": state.arrivals,
    }


class FaultServer:
    """The server as a process of its own, ended on leaving the context."""

    def __init__(self, **plan: Any) -> None:
        self._plan = asdict(Plan(**plan))

    def __enter__(self) -> FaultServer:
        self._folder = tempfile.TemporaryDirectory()
        port_file = Path(self._folder.name) / "port"
        self._process = subprocess.Popen(
            [
                *(sys.executable, __file__),
                *("--port-file", str(port_file)),
                *("--plan", json.dumps(self._plan)),
            ]
        )
        until = time.monotonic() + 90
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the fault server did not start")
            time.sleep(0.02)
        self.origin = f"http://127.0.0.1:{port_file.read_text()}"
        self.base_url = f"{self.origin}/v1"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def seen(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.origin}/seen") as response:
            found: dict[str, Any] = json.load(response)
            return found

    def forget(self) -> None:
        """Count what is asked from here on."""
        with urllib.request.urlopen(f"{self.origin}/forget") as response:
            response.read()

    def change(self, **plan: Any) -> None:
        self._plan = self._plan | plan
        self._post("/plan")

    def again(self, **plan: Any) -> None:
        """Be as a server that has just started with this plan."""
        self._plan = asdict(Plan(**plan))
        self._post("/again")

    def _post(self, path: str) -> None:
        data = json.dumps(self._plan).encode()
        with urllib.request.urlopen(f"{self.origin}{path}", data=data) as response:
            response.read()


async def serve(port_file: Path, plan: Plan) -> None:
    Connection.current = State(plan)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    temporary = port_file.with_suffix(".new")
    temporary.write_text(str(server.sockets[0].getsockname()[1]))
    os.replace(temporary, port_file)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--plan", type=json.loads, default={})
    options = parser.parse_args()
    asyncio.run(serve(options.port_file, Plan(**options.plan)))
