"""A small hub on loopback, for HF_ENDPOINT: files in real layouts, and their faults.

It speaks as much of the hub's protocol as its client needs to list a repository, to
download a file, and to push: small files in the commit, large ones by LFS. The client
is the real one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"
# How long the end of a server is waited for, in seconds.
POLL = 0.02
LFS_SUFFIXES = (".safetensors", ".jsonl")


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
    """Data sets to read by name; and what was pushed, by kind and name."""

    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    pushed: dict[str, dict[str, bytes]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0

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
    thread = threading.Thread(target=server.serve_forever, args=(POLL,), daemon=True)
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
        if path.removeprefix("/api/") in self.of.private:
            self._json(self._pushed_info(path.removeprefix("/api/")))
            return
        _kind, *parts = path.removeprefix("/api").strip("/").split("/")
        name, rest = "/".join(parts[:2]), parts[2:]
        repo = self.of.repos.get(name)
        if repo is None:
            self._fail(401, "RepoNotFound", "Repository not found")
        elif rest == ["auth-check"]:
            if self._may_read(repo):
                self._json({})
        elif rest[:1] == ["revision"] or not rest:
            self._info(name, repo, (rest[1:] or ["main"])[0])
        elif rest[:1] == ["tree"]:
            self._tree(repo, rest[1])
        elif rest[:1] == ["resolve"]:
            self._file(repo, rest[1], "/".join(rest[2:]), with_body)
        else:
            self._fail(404, "EntryNotFound", f"nothing at {path}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[-1] == "validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif parts[-1] == "batch":
            self._lfs(json.loads(body))
        elif "preupload" in parts:
            self._preupload(json.loads(body))
        elif "commit" in parts:
            self._commit("/".join(parts[1 : parts.index("commit")]), body)
        else:
            self._fail(404, "EntryNotFound", f"nothing at {self.path}")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.of.objects[hashlib.sha256(body).hexdigest()] = body
        self._json({})

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted.get('organization', 'me')}/{wanted['name']}"
        repo = f"{wanted.get('type', 'model')}s/{name}"
        hidden = wanted.get("visibility") == "private"
        self.of.private[repo] = bool(wanted.get("private")) or hidden
        self.of.pushed[repo] = {}
        self._json({"url": f"{self.of.url}/{repo}", "name": name, "id": "1"})

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
        self._json({"files": files})

    def _lfs(self, wanted: dict[str, Any]) -> None:
        objects = [
            one | {"actions": {"upload": {"href": f"{self.of.url}/put/{one['oid']}"}}}
            for one in wanted["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo: str, body: bytes) -> None:
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                content = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                content = self.of.objects[value["oid"]]
            else:
                continue
            self.of.pushed[repo][value["path"]] = content
        self.of.commits += 1
        oid = f"{self.of.commits:040d}"
        self._json(
            {"commitUrl": f"{self.of.url}/{repo}/commit/{oid}", "commitOid": oid}
        )

    def _pushed_info(self, repo: str) -> dict[str, Any]:
        return {
            "id": repo.split("/", 1)[1],
            "private": self.of.private[repo],
            "sha": f"{self.of.commits:040d}",
            "siblings": [],
            "tags": [],
        }

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
        if not self._may_read(repo):
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

    def _may_read(self, repo: Repo) -> bool:
        given = self.headers.get("Authorization")
        if not repo.gated or given == f"Bearer {TOKEN}":
            return True
        status = 403 if given else 401
        self._fail(status, "GatedRepo", "Access to this dataset is restricted")
        return False

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
