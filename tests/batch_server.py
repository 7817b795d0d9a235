"""A stand-in for the Batch API on loopback, for tests: files, batches, faults.

A batch ends after `looks` looks at it, of which each sees another state. What happens
to a request is told by its text:
"expire" expires the first time, "busy" fails with 500 the first time, "refuse" gets a
400 for ever, "vanish" is in no result file the first time, "garble" is in it as half a
line the first time.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")


class BatchServer:
    def __init__(self, looks: int = 2) -> None:
        self.looks = looks
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, int] = {}
        self.refuse_with: list[str] = []
        """Codes with which the next batches are refused as a whole."""
        self.lose_answers = 0
        """Creations that happen, and whose answer is lost."""
        self.look_faults: list[int] = []
        """Statuses with which the next looks at a batch are answered."""
        self.cancel = 0
        """Batches that somebody cancels when they are half done."""
        self.key = ""
        """The only key that is let in; empty lets everyone in."""

    def __enter__(self) -> BatchServer:
        batches = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                batches.handle(self, b"")

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                batches.handle(self, self.rfile.read(length))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.02,), daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = handler.path.partition("?")[0].removeprefix("/v1")
        told = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key and told != self.key:
            self.send(handler, {"error": {"message": "wrong key"}}, 401)
        elif path == "/files":
            self.send(handler, {"id": self.keep(part_of(body)), "object": "file"})
        elif path == "/batches" and handler.command == "POST":
            batch = self.create(json.loads(body))
            if self.lose_answers:
                self.lose_answers -= 1
                handler.close_connection = True
                return
            self.send(handler, batch)
        elif path == "/batches":
            listed = list(self.batches.values())[::-1]
            self.send(handler, {"object": "list", "data": listed, "has_more": False})
        elif self.look_faults and re.fullmatch(r"/batches/(\w+)", path):
            fault = {"error": {"message": "told to"}}
            self.send(handler, fault, self.look_faults.pop(0))
        elif match := re.fullmatch(r"/batches/(\w+)", path):
            self.send(handler, self.look(match[1]))
        elif match := re.fullmatch(r"/files/(\w+)/content", path):
            self.send(handler, self.files[match[1]])
        else:
            raise AssertionError(path)

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        batch = {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "status": UNDER_WAY[0],
            "looks": 0,
            **asked,
        }
        self.batches[batch["id"]] = batch
        if self.refuse_with:
            code = self.refuse_with.pop(0)
            error = {"code": code, "message": "told to refuse"}
            batch |= {"status": "failed", "errors": {"data": [error]}}
        return batch

    def look(self, number: str) -> dict[str, Any]:
        batch = self.batches[number]
        batch["looks"] += 1
        if batch["status"] in UNDER_WAY:
            batch["status"] = UNDER_WAY[batch["looks"] % len(UNDER_WAY)]
            if batch["looks"] >= self.looks:
                self.work(batch)
        return batch

    def work(self, batch: dict[str, Any]) -> None:
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        garbled: list[bytes] = []
        batch["status"] = "completed"
        asked = self.files[batch["input_file_id"]].splitlines()
        if self.cancel:
            self.cancel -= 1
            batch["status"] = "cancelled"
            asked = asked[: len(asked) // 2]
        for text in asked:
            request = json.loads(text)
            key = request["custom_id"]
            said = request["body"]["messages"][-1]["content"]
            first = self.runs.get(key, 0) == 0
            self.runs[key] = self.runs.get(key, 0) + 1
            line: dict[str, Any] = {"custom_id": key, "response": None, "error": None}
            if "vanish" in said and first:
                continue
            if "expire" in said and first:
                batch["status"] = "expired"
                bad.append(line | {"error": {"code": "batch_expired", "message": "-"}})
            elif "refuse" in said or ("busy" in said and first):
                status = 400 if "refuse" in said else 500
                fault = {"status_code": status, "body": {"error": {"message": "no"}}}
                bad.append(line | {"response": fault})
            elif "garble" in said and first:
                garbled.append(b'{"custom_id": "' + key.encode()[:9] + b"\n")
            else:
                answer = {"status_code": 200, "body": completion(said)}
                good.append(line | {"response": answer})
        # Results come in no particular order.
        result = lines(good[::-1]) + b"".join(garbled)
        batch["output_file_id"] = self.keep(result) if result else None
        batch["error_file_id"] = self.keep(lines(bad)) if bad else None

    def keep(self, data: bytes) -> str:
        name = f"file_{len(self.files)}"
        self.files[name] = data
        return name

    def send(
        self, handler: BaseHTTPRequestHandler, body: Any, status: int = 200
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


def completion(said: str) -> dict[str, Any]:
    return {
        "model": "told",
        "choices": [
            {"message": {"content": f"answer to {said}"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3},
    }


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def part_of(body: bytes) -> bytes:
    """The file in a multipart form."""
    boundary = body.partition(b"\r\n")[0]
    for part in body.split(boundary):
        head, _, data = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return data.removesuffix(b"\r\n")
    raise AssertionError("no file in the form")
