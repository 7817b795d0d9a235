"""A small hub on loopback, for HF_ENDPOINT: files in real layouts, and their faults.

It speaks as much of the hub's protocol as its client needs to list a repository and to
download a file. The client is the real one.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"


@dataclass
class Repo:
    """A data set: its files, its one commit, and what is wrong with it."""

    files: dict[str, bytes]
    commit: str = ""
    gated: bool = False
    truncated: set[str] = field(default_factory=set)
    """Files whose download ends half way, however often it is tried."""

    def __post_init__(self) -> None:
        if not self.commit:
            text = repr(sorted(self.files.items()))
            self.commit = hashlib.sha1(text.encode()).hexdigest()


@dataclass
class Hub:
    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def add(self, name: str, files: dict[str, bytes], **options: object) -> Repo:
        self.repos[name] = Repo(files, **options)  # type: ignore[arg-type]
        return self.repos[name]


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub until the block ends."""
    hub = Hub()

    class Handler(_Handler):
        of = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    of: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the test looks at `Hub.requests`."""

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.of.requests.append(f"{self.command} {path}")
        if path.startswith("/api/datasets/"):
            owner, name, *rest = path.removeprefix("/api/datasets/").split("/")
        else:
            owner, name, *rest = path.removeprefix("/datasets/").split("/")
        repo = self.of.repos.get(f"{owner}/{name}")
        if repo is None:
            self._fail(401, "RepoNotFound", "Repository not found")
        elif rest[:1] == ["revision"] or not rest:
            self._info(f"{owner}/{name}", repo, (rest[1:] or ["main"])[0])
        elif rest[:1] == ["tree"]:
            self._tree(repo, rest[1])
        elif rest[:1] == ["resolve"]:
            self._file(repo, rest[1], "/".join(rest[2:]), with_body)
        else:
            self._fail(404, "EntryNotFound", f"nothing at {path}")

    def _info(self, name: str, repo: Repo, revision: str) -> None:
        if not self._known(repo, revision):
            return
        siblings = [{"rfilename": file} for file in sorted(repo.files)]
        self._json(
            {
                "id": name,
                "sha": repo.commit,
                "siblings": siblings,
                "gated": "manual" if repo.gated else False,
                "private": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "disabled": False,
            }
        )

    def _tree(self, repo: Repo, revision: str) -> None:
        if self._known(repo, revision):
            self._json(
                [
                    {
                        "type": "file",
                        "path": file,
                        "size": len(data),
                        "oid": hashlib.sha1(data).hexdigest(),
                    }
                    for file, data in sorted(repo.files.items())
                ]
            )

    def _file(self, repo: Repo, revision: str, name: str, with_body: bool) -> None:
        if not self._known(repo, revision):
            return
        if repo.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._fail(
                401 if not self.headers.get("Authorization") else 403,
                "GatedRepo",
                "Access to this dataset is restricted",
            )
            return
        if name not in repo.files:
            self._fail(404, "EntryNotFound", f"{name} not found")
            return
        data = repo.files[name]
        start = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            start = int(asked.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if not with_body:
            return
        if name in repo.truncated:
            self.wfile.write(data[start : start + (len(data) - start) // 2])
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    def _known(self, repo: Repo, revision: str) -> bool:
        if revision in ("main", repo.commit):
            return True
        self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return False

    def _json(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _fail(self, status: int, code: str, message: str) -> None:
        data = json.dumps({"error": message}).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
