"""The append-only record of every answer: what was paid for is never asked again.

A journal is a JSON lines file with one writer. A line is one of

    {"crc", "key", "contract", "answer", "stats"}   a finished request
    {"crc", "contract_id", "contract"}              who answered the lines that name it
    {"crc", "note", "time", ...}                    a run's start, end, failure, batch

`crc` is the CRC-32 of the rest of the line. Answers are kept as the server gave them.
Each line reaches the kernel in one write before the next request takes its place, so a
killed process loses only what was in flight; `sync` makes it safe from a dead node.

Only keys and offsets are held in memory (about 150 bytes a request); texts are read
back from the files.
"""

from __future__ import annotations

import json
import logging
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from retrace.locking import Lock
from retrace.rows import content_id

log = logging.getLogger(__name__)

SUFFIX = ".jsonl"
PREFIX_BYTES = len('{"crc":"00000000",')
KEY_AT = len('"key":"')
KEY_HEX = 32
OPEN_FILES = 64


class JournalError(RuntimeError):
    """A journal that cannot be trusted or written: says file, line and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished request: the answer as served and the contract it was given under."""

    key: str
    contract_id: str
    contract: dict[str, Any]
    answer: dict[str, Any]
    stats: dict[str, Any]


class Journal:
    """The journal that this process writes, with every other one of the model to read.

    `others` may hold `path` itself; the written journal is looked up first, then the
    others by name.

    Raises:
        LockedError: another live process writes this journal.
        JournalError: a line that is not the last one is damaged.
    """

    def __init__(
        self, path: Path, others: Iterable[Path] = (), lock_wait: float = 150.0
    ) -> None:
        self.path = path
        self._paths = [path, *sorted(set(others) - {path})]
        self._lock_wait = lock_wait
        self._index = Index()
        self._contract_id = ""
        self._file = -1
        self._size = 0

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(lock_path(self.path))
        self._lock.acquire(self._lock_wait)
        try:
            self._size = _drop_torn_tail(self.path)
            # Others are read after the lock is held: compaction holds every lock.
            for path in self._paths:
                self._index.add(path)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.open(self.path, flags, 0o666)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            self.sync()
        finally:
            os.close(self._file)
            self._file = -1
            self._index.close()
            self._lock.release()

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def get(self, key: str) -> Entry | None:
        return self._index.get(key)

    def was_refused(self, key: str) -> bool:
        """Whether an earlier run was refused this request for good."""
        return key in self._index.refused

    def sign(self, contract: dict[str, Any]) -> str:
        """Name the contract of the answers that follow; return its id."""
        self._contract_id = content_id(contract)
        if not self._index.knows(self.path, self._contract_id):
            self._write({"contract_id": self._contract_id, "contract": contract})
            self._index.learn(self.path, self._contract_id, contract)
        return self._contract_id

    def append(self, key: str, answer: dict[str, Any], stats: dict[str, Any]) -> None:
        """Record a finished request. `sign` must have been called."""
        if not self._contract_id:
            raise JournalError("append before sign: the answer would have no contract")
        line = {
            "key": key,
            "contract": self._contract_id,
            "answer": answer,
            "stats": stats,
        }
        self._index.point(key, self.path, self._write(line))

    def note(self, note: str, /, **fields: Any) -> None:
        """Record something about the run itself, for `retrace status`."""
        self._write({"note": note, "time": round(time.time(), 3), **fields})

    def notes(self, kind: str) -> Iterator[dict[str, Any]]:
        """The notes of one kind in the written journal, oldest first."""
        return (line for line in read_lines(self.path) if line.get("note") == kind)

    def sync(self) -> None:
        """Force what was written onto the disk. May run in another thread."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise JournalError(
                f"{self.path}: the disk did not take the last answers ({error}): free"
                " space or restore the file system, then run the same command"
            ) from error

    def _write(self, line: dict[str, Any]) -> int:
        """Append a line and return its offset. A failed write leaves no half line."""
        self._lock.check()
        data = encode_line(line)
        offset = self._size
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            os.ftruncate(self._file, offset)
            raise JournalError(
                f"{self.path}: cannot append ({error}): every earlier answer is kept;"
                " free space or restore the file system, then run the same command"
            ) from error
        self._size += len(data)
        return offset


class Index:
    """Where each answer stands: key to file and offset, over many journals."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._places: dict[bytes, int] = {}
        self._contracts: list[dict[str, dict[str, Any]]] = []
        self._open: dict[int, BinaryIO] = {}
        self.refused: set[str] = set()
        """Keys that an earlier run was refused for good."""

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, path: Path) -> None:
        """Index a journal. The first journal that holds a key answers for it."""
        number = self._number(path)
        if not path.exists():
            return
        for offset, body in _checked_lines(path):
            if body.startswith(b'"key":"'):
                key = bytes.fromhex(body[KEY_AT : KEY_AT + KEY_HEX].decode())
                self._places.setdefault(key, number << 48 | offset)
            elif body.startswith(b'"contract_id":"'):
                line = json.loads(b"{" + body)
                self._contracts[number][line["contract_id"]] = line["contract"]
            elif body.startswith(b'"note":"failure"'):
                line = json.loads(b"{" + body)
                if line["kind"] == "refused" and "request" in line:
                    self.refused.add(line["request"])

    def get(self, key: str) -> Entry | None:
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        number, offset = place >> 48, place & ((1 << 48) - 1)
        file = self._file(number)
        file.seek(offset)
        line = json.loads(file.readline())
        if line["key"] != key:
            raise JournalError(
                f"{self._paths[number]} changed while it was read; run again"
            )
        contract_id = line["contract"]
        contract = self._contracts[number].get(contract_id)
        if contract is None:
            raise JournalError(
                f"{self._paths[number]}: nothing says who gave the answer {key}: the"
                f" line of contract {contract_id} is gone. Restore the file, or take it"
                " away to ask for its answers again"
            )
        return Entry(
            key,
            contract_id,
            contract,
            line["answer"],
            line["stats"],
        )

    def point(self, key: str, path: Path, offset: int) -> None:
        self._places[bytes.fromhex(key)] = self._number(path) << 48 | offset

    def learn(self, path: Path, contract_id: str, contract: dict[str, Any]) -> None:
        self._contracts[self._number(path)][contract_id] = contract

    def knows(self, path: Path, contract_id: str) -> bool:
        return contract_id in self._contracts[self._number(path)]

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _number(self, path: Path) -> int:
        if path not in self._paths:
            self._paths.append(path)
            self._contracts.append({})
        return self._paths.index(path)

    def _file(self, number: int) -> BinaryIO:
        file = self._open.get(number)
        if file is None:
            if len(self._open) >= OPEN_FILES:
                self._open.pop(next(iter(self._open))).close()
            file = self._open[number] = open(self._paths[number], "rb")  # noqa: SIM115
        return file


def lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def journals_under(folder: Path) -> list[Path]:
    """Every journal below a folder, by name."""
    return sorted(folder.rglob(f"*{SUFFIX}")) if folder.is_dir() else []


def encode_line(line: dict[str, Any]) -> bytes:
    """A line with its checksum first; keeps the order of the other keys."""
    body = encode_body(line)
    return b'{"crc":"%08x",' % zlib.crc32(body) + body + b"\n"


def encode_body(line: dict[str, Any]) -> bytes:
    """The part of a line that its checksum is of."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()[1:]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a journal as JSON."""
    return (line for _end, line in follow(path, 0))


def follow(path: Path, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Whole lines from a byte offset on, each with the offset behind it.

    To read on later, start from the last offset.
    """
    for offset, body in _checked_lines(path, start):
        yield offset + PREFIX_BYTES + len(body) + 1, json.loads(b"{" + body)


@dataclass
class Compacted:
    """What a compaction did to a folder of journals."""

    kept: int = 0
    dropped: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    files: list[Path] = field(default_factory=list)


def compact(folder: Path) -> Compacted:
    """Rewrite the journals of a model without repeated answers and old notes.

    Takes the lock of every journal first, so it refuses while any job writes one. A
    key that several journals hold stays in the first of them by name; of the others a
    note stays that says what they cost. Notes that still matter stay: runs and their
    ends, which say what GPUs cost, batches that are out, and refused requests.

    Raises:
        LockedError: a job is running.
        JournalError: a journal is damaged; nothing is changed.
    """
    paths = journals_under(folder)
    done = Compacted(files=paths)
    locks = [Lock(lock_path(path)) for path in paths]
    held: list[Lock] = []
    try:
        for lock in locks:
            lock.acquire(wait=1.0)
            held.append(lock)
        for path in paths:
            _drop_torn_tail(path)
        seen: set[bytes] = set()
        for path in paths:
            _compact_file(path, seen, done)
    finally:
        for lock in held:
            lock.release()
    return done


def _compact_file(path: Path, seen: set[bytes], done: Compacted) -> None:
    out_now = _batches_out(path)
    temporary = path.with_name(f".{path.name}.compact")
    done.bytes_before += path.stat().st_size
    with open(temporary, "wb") as out:
        for _, body in _checked_lines(path):
            kept = _compact_line(body, seen, out_now)
            if body.startswith(b'"key":"') and kept == body:
                done.kept += 1
            elif kept != body:
                done.dropped += 1
            if kept:
                out.write(b'{"crc":"%08x",' % zlib.crc32(kept) + kept + b"\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, path)
    done.bytes_after += path.stat().st_size


def _compact_line(body: bytes, seen: set[bytes], out_now: set[str]) -> bytes:
    """What stays of a line: all of it, what it cost, or nothing."""
    if body.startswith(b'"key":"'):
        key = body[KEY_AT : KEY_AT + KEY_HEX]
        if key not in seen:
            seen.add(key)
            return body
        line = json.loads(b"{" + body)
        note = {
            "note": "repeated",
            "time": line["stats"].get("time", 0.0),
            "contract": line["contract"],
            "usage": line["stats"].get("at_most") or line["answer"].get("usage") or {},
        }
        return encode_body(note)
    if not body.startswith(b'"note":"'):
        return body
    line = json.loads(b"{" + body)
    matters = (
        line["note"] in ("run", "end", "repeated")
        or (line["note"] == "batch" and line["id"] in out_now)
        or (line["note"] == "failure" and line["kind"] == "refused")
    )
    return body if matters else b""


def _batches_out(path: Path) -> set[str]:
    """Ids of batches that were created, and whose end is not noted."""
    out: set[str] = set()
    for _, body in _checked_lines(path):
        if body.startswith(b'"note":"batch"'):
            line = json.loads(b"{" + body)
            if "keys" in line:
                out.add(line["id"])
            else:
                out.discard(line["id"])
    return out


def _checked_lines(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Offset and body (without checksum and line end) of every whole line.

    A last line that is not whole is left out: its writer may be at it right now.
    """
    with open(path, "rb") as file:
        file.seek(start)
        offset = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            body = line[PREFIX_BYTES:-1]
            if not _is_whole(line, body):
                if not file.peek(1):
                    return
                raise JournalError(_damaged(path, offset))
            yield offset, body
            offset += len(line)


def _is_whole(line: bytes, body: bytes) -> bool:
    return line[:PREFIX_BYTES] == b'{"crc":"%08x",' % zlib.crc32(body)


def _damaged(path: Path, offset: int) -> str:
    with open(path, "rb") as file:
        number = 1
        while file.tell() < offset:
            file.readline()
            number += 1
    return (
        f"{path}:{number}: damaged line at byte {offset}: its checksum does not match"
        " and it is not the last line, so no interrupted write explains it. Restore"
        f" the file, or delete that one line (sed -i {number}d {path}) to ask for it"
        " again"
    )


def _drop_torn_tail(path: Path) -> int:
    """Cut off a last line that was not written whole; return the size that is left."""
    if not path.exists():
        return 0
    whole = 0
    for offset, body in _checked_lines(path):
        whole = offset + PREFIX_BYTES + len(body) + 1
    size = path.stat().st_size
    if size > whole:
        log.warning(
            "%s: dropped a torn last line (%d bytes); its request is asked again",
            path,
            size - whole,
        )
        os.truncate(path, whole)
    return whole
