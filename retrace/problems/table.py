"""Problems from the rows of files: filters in order, then columns to a problem.

What a data set needs beyond its files is said in the recipe: which rows, in which order
they are sifted, which columns make the statement and the reference. So most data sets
are an entry of a config and no module.
"""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrace import hub
from retrace.problems import base, reading
from retrace.problems.contest_tests import UnusableRowError
from retrace.problems.filters import Count, Filter, Pass, Row, check_count, value_at
from retrace.problems.references import Reference, tidy
from retrace.rows import Problem

log = logging.getLogger(__name__)

# Packages whose version can change what a table gives.
SOFTWARE = ("huggingface-hub", "pyarrow")

# What a column of another table is called once it is joined.
JOINED = "label"


@dataclass(frozen=True)
class Origin:
    """Files, and what is known of where they come from."""

    source: str
    revision: str
    paths: list[Path]


class Labels(BaseModel):
    """A column of another hub data set, joined by a text that both have.

    Where a text occurs twice there, its last row counts; a row without a label has
    null. The joined column is called `label`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str = Field(description="data set on the hub, as owner/name")
    revision: str = Field(description="a commit; a branch is allowed and not pinned")
    data_files: list[str] = Field(min_length=1, description="files by name or pattern")
    key: str = Field(description="column whose text is the same in both")
    column: str = Field(description="column that is joined")
    filters: list[Filter] = Field(
        default_factory=list, description="which labels are held"
    )

    def load(self, max_bytes: int) -> dict[bytes, Any]:
        snapshot = hub.fetch(self.repo, self.revision, self.data_files)
        columns = {self.key, self.column}.union(*(f.columns() for f in self.filters))
        found: dict[bytes, Any] = {}
        sieve = Pass(self.filters)
        for path in snapshot.paths():
            for row in reading.read(path, _roots(columns), max_bytes):
                if not isinstance(row, reading.Skipped) and sieve.keeps(row):
                    found[_digest(value_at(row, self.key))] = value_at(row, self.column)
        sieve.check(f"labels {self.repo}")
        return found


class Table(base.Source):
    """A source whose problems are rows of files."""

    filters: list[Filter] = Field(
        default_factory=list, description="which rows, sifted in this order"
    )
    labels: Labels | None = Field(
        default=None, description="a column joined to the rows before the filters"
    )
    statement: str = Field(
        description="column with the problem's text; `a.0.b` goes into lists"
    )
    reference: Reference
    trace: str | None = Field(
        default=None, description="column with a response to import, for imported sets"
    )
    meta: dict[str, str] = Field(
        default_factory=dict,
        description="what goes into a problem's meta, each with its column",
    )
    expect: Count | None = Field(
        default=None,
        description="problems in the end: a number, or the least and the greatest;"
        " anything else stops",
    )
    max_row_mb: int = Field(
        default=128, ge=1, description="a longer row is left out, and counted"
    )

    @abstractmethod
    def origin(self) -> Origin:
        """The files to read; a hub's are downloaded here."""

    @model_validator(mode="after")
    def _meta_leaves_room(self) -> Table:
        taken = sorted({"source", "revision", "file", "row"} & set(self.meta))
        if taken:
            raise ValueError(f"meta.{taken[0]} is set by the loader: rename it")
        return self

    def reference_kind(self) -> str:
        return self.reference.makes

    def problems(self, set_name: str) -> Iterator[Problem]:
        for problem, _row in self._made(set_name):
            yield problem

    def traced(self, set_name: str) -> Iterator[tuple[Problem, str]]:
        """Problems with the responses that the source has for them.

        Raises:
            SourceError: the source names no column of traces.
        """
        if self.trace is None:
            raise base.SourceError(
                f"set {set_name}: traces are to be imported, but the source names no"
                " column of them: give `trace`"
            )
        for problem, row in self._made(set_name):
            text = value_at(row, self.trace)
            yield problem, tidy(text) if isinstance(text, str) else ""

    def _made(self, set_name: str) -> Iterator[tuple[Problem, Row]]:
        """Every problem with its row; checks all counts at the end."""
        origin = self.origin()
        dropped: Counter[str] = Counter()
        made = 0
        sieve = Pass(self.filters)
        for file, number, row in self._rows(origin, dropped):
            if not sieve.keeps(row):
                continue
            place: dict[str, Any] = {
                "source": origin.source,
                "revision": origin.revision,
            }
            place |= {"file": file, "row": number}
            try:
                problem = self._problem(set_name, row, place)
            except UnusableRowError as reason:
                dropped[str(reason)] += 1
                log.info("set %s: %s row %d: %s", set_name, file, number, reason)
                continue
            made += 1
            yield problem, row
        if self.filters:
            log.info("set %s: rows after each filter: %s", set_name, sieve.told())
        for reason_name, count in sorted(dropped.items()):
            log.warning("set %s: %d rows left out: %s", set_name, count, reason_name)
        sieve.check(set_name)
        if not made:
            raise base.SourceError(
                f"set {set_name}: no row gives a problem; left out by reason:"
                f" {dict(dropped) or 'all by the filters, or there are none'}"
            )
        check_count(set_name, "that give a problem", self, made)

    def _rows(
        self, origin: Origin, dropped: Counter[str]
    ) -> Iterator[tuple[str, int, Row]]:
        """Rows with file and position, labels joined."""
        max_bytes = self.max_row_mb << 20
        labels = self.labels.load(max_bytes) if self.labels else None
        # A joined column is in no file.
        columns = _roots(self._columns() - ({JOINED} if self.labels else set()))
        for path in origin.paths:
            for number, row in enumerate(reading.read(path, columns, max_bytes)):
                if isinstance(row, reading.Skipped):
                    dropped[row.reason] += 1
                    continue
                if self.labels is not None and labels is not None:
                    row[JOINED] = labels.get(_digest(value_at(row, self.labels.key)))
                yield path.name, number, row

    def _problem(self, set_name: str, row: Row, place: dict[str, Any]) -> Problem:
        statement = value_at(row, self.statement)
        if not isinstance(statement, str) or not statement.strip():
            raise UnusableRowError("no_statement")
        reference = self.reference.read_beside(statement, self.reference.of(row))
        meta = {key: _plain(value_at(row, name)) for key, name in self.meta.items()}
        return Problem.make(
            set_name,
            self.domain,
            tidy(statement).strip() + self.reference.shown(reference),
            reference,
            {**meta, **place},
        )

    def _columns(self) -> set[str]:
        named = {self.statement, *self.meta.values()} | self.reference.columns()
        named |= {self.trace} if self.trace else set()
        named |= {self.labels.key} if self.labels else set()
        return named.union(*(one.columns() for one in self.filters))


def _roots(columns: set[str]) -> set[str]:
    """Names as a file may have them: a path's first part is a column too."""
    return columns | {name.split(".")[0] for name in columns}


def _digest(text: Any) -> bytes:
    return hashlib.blake2b(
        str(text).encode("utf-8", "replace"), digest_size=16
    ).digest()


def _plain(value: Any) -> Any:
    """A value as JSON has it: dates and the like become text, NaN null."""
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, str):
        return tidy(value)
    if value is None or isinstance(value, bool | int | float | list | dict):
        return value
    return str(value)
