"""Rows of a file, one at a time: JSON lines, a JSON list, CSV or Parquet.

Memory does not grow with the file: JSON lines and lists are read in pieces, Parquet in
batches of few rows and only the columns asked for.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO, cast

from retrace.problems.base import SourceError

Row = dict[str, Any]

PIECE = 1 << 20
BATCH = 32


@dataclass(frozen=True)
class Skipped:
    """A row that was not read, and why."""

    reason: str


def read(
    path: Path, columns: Collection[str], max_bytes: int
) -> Iterator[Row | Skipped]:
    """The rows of a file, by the ending of its name.

    Args:
        columns: what will be looked at; Parquet reads nothing else.
        max_bytes: longest row; a longer JSON line or Parquet row is passed over, a
            longer object of a JSON list, or CSV line, is an error.

    Raises:
        SourceError: not a file of that form; says where.
    """
    try:
        yield from _rows(path, columns, max_bytes)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path.name} cannot be read to its end ({' '.join(str(error).split())}):"
            " get the file anew, it may have been cut or damaged on its way"
        ) from error


def _rows(
    path: Path, columns: Collection[str], max_bytes: int
) -> Iterator[Row | Skipped]:
    name = path.name.removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        yield from _lines(path, max_bytes)
    elif name.endswith(".json"):
        yield from _json_list(path, max_bytes)
    elif name.endswith(".csv"):
        yield from _csv(path, max_bytes)
    elif name.endswith(".parquet"):
        yield from _parquet(path, columns, max_bytes)
    else:
        raise SourceError(
            f"{path.name}: expected .jsonl, .json, .csv or .parquet (or .gz of the"
            " first three)"
        )


def _lines(path: Path, max_bytes: int) -> Iterator[Row | Skipped]:
    with _open(path) as file:
        number = 0
        while line := file.readline(max_bytes + 1):
            number += 1
            if len(line) > max_bytes and not line.endswith(b"\n"):
                while (rest := file.readline(PIECE)) and not rest.endswith(b"\n"):
                    pass
                yield Skipped("row_too_large")
                continue
            if line.strip():
                yield _row(path, f"line {number}", line)


def _row(path: Path, place: str, text: bytes | str) -> Row | Skipped:
    try:
        row = json.loads(text)
    except UnicodeDecodeError as error:
        raise SourceError(f"{path.name}: {place} is not UTF-8: {error}") from error
    except json.JSONDecodeError as error:
        raise SourceError(f"{path.name}: {place} is not JSON: {error}") from error
    except (ValueError, RecursionError):
        # An integer of more digits than Python converts, or nesting without end.
        return Skipped("row_not_representable")
    if not isinstance(row, dict):
        raise SourceError(
            f"{path.name}: {place} is a {type(row).__name__}, expected an object"
        )
    return row


def _json_list(path: Path, max_bytes: int) -> Iterator[Row | Skipped]:
    """The objects of a JSON list, decoded one after another from a moving window."""
    decoder = _Decoder()
    with _open(path) as raw:
        file = _Text(raw)
        if file.skip() != "[":
            raise SourceError(f"{path.name}: expected a JSON list of objects")
        file.advance(1)
        number = 0
        while (first := file.skip()) != "]":
            if number and first == ",":
                file.advance(1)
                file.skip()
            elif number:
                raise SourceError(
                    f"{path.name}: expected a comma or the end of the list after"
                    f" object {number}, found {first or 'the end of the file'!r}"
                )
            number += 1
            yield file.value(decoder, path, number, max_bytes)
        file.advance(1)
        if file.skip():
            raise SourceError(f"{path.name}: there is text after the end of the list")


class _Decoder(json.JSONDecoder):
    """Notes an integer of more digits than Python converts, and reads on."""

    def __init__(self) -> None:
        super().__init__(parse_int=self._integer)
        self.too_long = False

    def _integer(self, digits: str) -> int:
        try:
            return int(digits)
        except ValueError:
            self.too_long = True
            return 0


class _Text:
    """A window that moves over a file's text."""

    def __init__(self, file: IO[bytes]) -> None:
        import codecs

        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._window = ""
        self._at = 0

    def skip(self) -> str:
        """Go past white space; the next character, or "" at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at].isspace():
                self._at += 1
            if self._at < len(self._window) or not self._more():
                return self._window[self._at : self._at + 1]

    def advance(self, characters: int) -> None:
        self._at += characters

    def value(
        self, decoder: _Decoder, path: Path, number: int, max_bytes: int
    ) -> Row | Skipped:
        while True:
            decoder.too_long = False
            try:
                row, end = decoder.raw_decode(self._window, self._at)
            except RecursionError as error:
                raise SourceError(
                    f"{path.name}: object {number} is nested too deeply to be read"
                ) from error
            except json.JSONDecodeError as error:
                if len(self._window) - self._at > max_bytes:
                    raise SourceError(
                        f"{path.name}: object {number} is not JSON, or has more than"
                        f" {max_bytes} bytes: {error.msg}; raise `max_row_mb` if it is"
                    ) from error
                # Twice as much each time, so that a long object is not decoded in
                # as many tries as it has pieces; but little beyond the longest.
                have = len(self._window) - self._at
                if not self._more(max(PIECE, min(have, max_bytes + 1 - have))):
                    raise SourceError(
                        f"{path.name}: object {number} is not JSON: {error}"
                    ) from error
                continue
            self._at = end
            if decoder.too_long:
                return Skipped("row_not_representable")
            if not isinstance(row, dict):
                raise SourceError(
                    f"{path.name}: item {number} is a {type(row).__name__},"
                    " expected an object"
                )
            return row

    def _more(self, size: int = PIECE) -> bool:
        data = self._file.read(size)
        self._window = self._window[self._at :] + self._decode.decode(data, not data)
        self._at = 0
        return bool(data)


def _csv(path: Path, max_bytes: int) -> Iterator[Row]:
    # A field is gathered with four bytes for each character.
    longest = max_bytes // 4
    csv.field_size_limit(longest)
    with _open(path) as raw:
        import io

        text = io.TextIOWrapper(raw, "utf-8-sig", newline="")
        reader = csv.DictReader(_bounded(path, text, longest), strict=True)
        twice = [
            n for n, count in Counter(reader.fieldnames or ()).items() if count > 1
        ]
        if twice:
            raise SourceError(f"{path.name}: two columns have the name {twice[0]!r}")
        try:
            for row in reader:
                if None in row:
                    raise SourceError(
                        f"{path.name}: the row that ends on line {reader.line_num} has"
                        " more fields than the header"
                    )
                yield row
        except csv.Error as error:
            raise SourceError(
                f"{path.name}: line {reader.line_num}: {error}"
            ) from error


def _bounded(path: Path, text: TextIO, longest: int) -> Iterator[str]:
    """The lines of a text, none of them held that is too long."""
    while line := text.readline(longest + 1):
        if len(line) > longest:
            raise SourceError(
                f"{path.name}: a line has more than {longest} characters: raise"
                " `max_row_mb`, which is four times as much"
            )
        yield line


def _parquet(
    path: Path, columns: Collection[str], max_bytes: int
) -> Iterator[Row | Skipped]:
    from pyarrow import ArrowException, ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        # Without the pre-buffer a row group is not held as a whole.
        file = ParquetFile(path, pre_buffer=False, memory_map=True)
    except ArrowInvalid as error:
        raise SourceError(f"{path.name} is not a Parquet file: {error}") from error
    with file:
        known = file.schema_arrow.names
        for name in sorted(columns):
            if not _is_there(name, known):
                raise SourceError(
                    f"{path.name}: there is no column {name!r}; the file has"
                    f" {', '.join(known)}"
                )
        wanted = [name for name in known if name in columns]
        try:
            for batch in file.iter_batches(batch_size=BATCH, columns=wanted):
                yield from _batch(batch, max_bytes)
        except ArrowException as error:
            raise SourceError(f"{path.name} is damaged: {error}") from error


def _batch(batch: Any, max_bytes: int) -> Iterator[Row | Skipped]:
    """The rows of a record batch; where they are long, one at a time."""
    if batch.nbytes <= max_bytes:
        yield from batch.to_pylist()
        return
    for number in range(batch.num_rows):
        row = batch.slice(number, 1)
        if row.nbytes > max_bytes:
            yield Skipped("row_too_large")
        else:
            yield from row.to_pylist()


def _is_there(name: str, known: list[str]) -> bool:
    """Whether a file has a column, one whose parts are meant, or one of its parts."""
    root = name.split(".")[0]
    return (
        name in known or root in known or any(k.startswith(f"{name}.") for k in known)
    )


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return open(path, "rb")
