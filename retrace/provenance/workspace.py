"""The files of a recipe's results as lineage reads them: each hashed once, on its way.

Every check is against a witness: dvc.lock, or Snakemake's record of a job that read the
file. A file that nobody recorded is told as such, not as right.
"""

from __future__ import annotations

import json
import mmap
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from retrace.fingerprint import file_digest
from retrace.provenance import ledger, records, stages
from retrace.provenance.hashing import Digest, digest_file
from retrace.provenance.records import Record

Json = dict[str, Any]
BIG = 2_000_000_000
HIDDEN = "(confidential)"


@dataclass(frozen=True)
class Check:
    """Something compared; `ok` is nothing where there was nothing to compare with."""

    what: str
    ok: bool | None


@dataclass
class Link:
    """A step of the way: what it is, where it stands, what was compared."""

    name: str
    path: str = ""
    facts: Json = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(check.ok is not False for check in self.checks)


class Workspace:
    """A clone with results in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._digests: dict[str, Digest | None] = {}
        self._records: dict[str, Record | None] = {}

    @cached_property
    def ledger(self) -> ledger.Ledger | None:
        try:
            return ledger.read(self.root)
        except ledger.LedgerError:
            return None

    @cached_property
    def confidential(self) -> frozenset[str]:
        """Sets whose text is not shown."""
        known = stages.origin(self.root)
        files = known.configfiles if known else ["config.yaml", "config.demo.yaml"]
        names = set()
        for file in (self.root / name for name in files):
            config = yaml.safe_load(file.read_text("utf-8")) if file.is_file() else {}
            for name, one in (config.get("sets") or {}).items():
                if isinstance(one, Mapping) and one.get("confidential"):
                    names.add(name)
        return frozenset(names)

    def digest(self, path: str) -> Digest | None:
        if path not in self._digests:
            self._digests[path] = digest_file(self.root / path)
        return self._digests[path]

    def record(self, path: str) -> Record | None:
        if path not in self._records:
            self._records[path] = records.read(self.root, path)
        return self._records[path]

    def exists(self, path: str) -> bool:
        return (self.root / path).is_file()

    def json(self, path: str) -> Json:
        try:
            found: Json = json.loads((self.root / path).read_text("utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path} is not the JSON that its job wrote: `retrace verify {path}`"
            ) from error
        return found

    def glob(self, pattern: str) -> list[str]:
        return sorted(
            p.relative_to(self.root).as_posix() for p in self.root.glob(pattern)
        )

    def git(self, *arguments: str) -> str:
        """What git says; nothing where it fails, is not installed or has no clone."""
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=self.root, capture_output=True, text=True
            )
        except FileNotFoundError:
            return ""
        return done.stdout.rstrip() if done.returncode == 0 else ""

    def rows(
        self, path: str, needle: str, field_name: str
    ) -> Iterator[tuple[int, Json]]:
        """Rows of a file whose field begins with some text, with their line numbers.

        Only lines that hold the text are parsed.
        """
        file = self.root / path
        if not file.is_file() or not file.stat().st_size:
            return
        wanted = f'"{field_name}":"{needle}'.encode()
        with (
            open(file, "rb") as handle,
            mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            at, line, counted = content.find(wanted), 1, 0
            while at >= 0:
                begin = content.rfind(b"\n", 0, at) + 1
                end = content.find(b"\n", at)
                end = len(content) if end < 0 else end
                line += content[counted:begin].count(b"\n")
                counted = begin
                row = json.loads(content[begin:end])
                if str(row.get(field_name, "")).startswith(needle):
                    yield line, row
                at = content.find(wanted, end)

    # --- Checks -----------------------------------------------------------------------

    def check_file(self, path: str, *readers: str) -> list[Check]:
        """A file against dvc.lock, and against the jobs that wrote some other files."""
        size = (self.root / path).stat().st_size if self.exists(path) else 0
        if size > BIG:
            return [
                Check(f"{size / 1e9:.0f} GB, hashed by `retrace verify` only", None)
            ]
        found = self.digest(path)
        if found is None:
            return [Check("file is missing", False)]
        checks = [self._with_dvc(path, found)]
        for reader in readers:
            record = self.record(reader)
            read = record.checksums.get(path) if record else None
            if record is not None and read is not None:
                what = f"sha256 {read[:12]} as {record.rule} read it"
                checks.append(Check(what, read == found.sha256))
        return checks

    def check_code(self, path: str) -> list[Check]:
        """The code of a step as its job ran it, against the code that lies here."""
        record = self.record(path)
        if record is None:
            return [Check("no record of the job", None)]
        changed = [
            file
            for file, digest in record.code.items()
            if not self.exists(file) or file_digest(self.root, Path(file)) != digest
        ]
        if changed:
            return [Check(f"code has changed since: {', '.join(changed[:3])}", False)]
        return [Check(f"code as run: {len(record.code)} files", True)]

    def _with_dvc(self, path: str, found: Digest) -> Check:
        if self.ledger is None:
            return Check("not recorded by DVC", None)
        recorded = self.ledger.files.get(path)
        if recorded is None:
            return Check("not in dvc.lock", None)
        return Check(f"md5 {recorded[:12]} in dvc.lock", recorded == found.md5)
