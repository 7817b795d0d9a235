"""A hub on the loopback interface: keeps what is pushed to it, in memory.

It speaks the part of the hub's protocol that `huggingface_hub` uses to create a
repository and to commit small files in the commit and large ones by LFS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LFS_SUFFIXES = (".safetensors", ".jsonl")


class Hub:
    """What the hub holds: repositories by kind and name, LFS objects by hash."""

    def __init__(self) -> None:
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.commits = 0
        self.tokens: set[str] = set()
        self.url = ""


@contextmanager
def loopback_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        held = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    held: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        repo = self.path.partition("?")[0].removeprefix("/api/")
        if repo in self.held.private:
            self._send(self._info(repo))
        else:
            self._send({"error": "Repository not found"}, 404, "RepoNotFound")

    def do_POST(self) -> None:
        self.held.tokens.add(self.headers.get("Authorization", ""))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self.path.partition("?")[0].strip("/").split("/")
        if self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path.startswith("/api/validate-yaml"):
            self._send({"errors": [], "warnings": []})
        elif parts[-1] == "batch":
            self._batch(json.loads(body))
        elif "preupload" in parts:
            self._preupload(json.loads(body))
        elif "commit" in parts:
            self._commit("/".join(parts[1 : parts.index("commit")]), body)
        else:
            self._send({"error": f"no such address: {self.path}"}, 404)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.held.objects[hashlib.sha256(body).hexdigest()] = body
        self._send({})

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted.get('organization', 'me')}/{wanted['name']}"
        repo = f"{wanted.get('type', 'model')}s/{name}"
        visible = wanted.get("visibility", "")
        self.held.private[repo] = bool(wanted.get("private")) or visible == "private"
        self.held.files[repo] = {}
        self._send({"url": f"{self.held.url}/{repo}", "name": name, "id": "1"})

    def _preupload(self, wanted: dict[str, Any]) -> None:
        def mode(path: str) -> str:
            return "lfs" if path.endswith(LFS_SUFFIXES) else "regular"

        files = [
            {
                "path": one["path"],
                "uploadMode": mode(one["path"]),
                "shouldIgnore": False,
            }
            for one in wanted["files"]
        ]
        self._send({"files": files})

    def _batch(self, wanted: dict[str, Any]) -> None:
        objects = [
            one | {"actions": {"upload": {"href": f"{self.held.url}/put/{one['oid']}"}}}
            for one in wanted["objects"]
        ]
        self._send({"transfer": "basic", "objects": objects})

    def _commit(self, repo: str, body: bytes) -> None:
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                content = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                content = self.held.objects[value["oid"]]
            else:
                continue
            self.held.files[repo][value["path"]] = content
        self.held.commits += 1
        url = f"{self.held.url}/{repo}/commit/{self.held.commits:040d}"
        self._send({"commitUrl": url, "commitOid": f"{self.held.commits:040d}"})

    def _info(self, repo: str) -> dict[str, Any]:
        name = repo.split("/", 1)[1]
        return {
            "id": name,
            "private": self.held.private[repo],
            "sha": f"{self.held.commits:040d}",
            "siblings": [],
            "tags": [],
        }

    def _send(self, value: Any, status: int = 200, code: str = "") -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return None
