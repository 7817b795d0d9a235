"""Filters of a table's rows. They are applied in the order in which a recipe has them:
a slice before a filter is another set than a slice after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from retrace.problems.base import SourceError

Row = dict[str, Any]


def _is_count(value: Any) -> Any:
    ends = value if isinstance(value, list | tuple) else [value, value]
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in ends)
    if len(ends) != 2 or not whole or not 0 <= ends[0] <= ends[1]:
        raise ValueError("expected a number of rows, or [least, greatest]")
    return value


Count = Annotated[int | tuple[int, int], BeforeValidator(_is_count)]
"""Rows that are expected: exactly so many, or at least and at most."""

Scalar = str | int | float | bool


class _Filter(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid", frozen=True)

    expect: Count | None = Field(
        default=None,
        description="rows that are left after this filter: a number, or the least and"
        " the greatest; anything else stops",
    )

    def tests(self) -> _Test:
        """A fresh test of rows; one that counts begins at nought."""
        return _Test(self)

    @abstractmethod
    def keeps(self, row: Row, position: int) -> bool:
        """Whether a row stays. `position` counts the rows that reached this filter."""

    @abstractmethod
    def columns(self) -> set[str]:
        """The columns it looks at."""


class Equal(_Filter):
    """Rows with one of some values in a column. A number and a text that writes it are
    equal: a CSV file has texts only."""

    kind: Literal["equal"]
    column: str
    value: Scalar | list[Scalar]

    def keeps(self, row: Row, position: int) -> bool:
        values = self.value if isinstance(self.value, list) else [self.value]
        found = value_at(row, self.column)
        return any(_equal(found, wanted) for wanted in values)

    def columns(self) -> set[str]:
        return {self.column}


class Contains(_Filter):
    """Rows whose column holds a text, as written."""

    kind: Literal["contains"]
    column: str
    text: str = Field(min_length=1)
    negate: bool = Field(default=False, description="rows without it, instead")

    def keeps(self, row: Row, position: int) -> bool:
        value = value_at(row, self.column)
        return (isinstance(value, str) and self.text in value) != self.negate

    def columns(self) -> set[str]:
        return {self.column}


class Between(_Filter):
    """Rows with a number (or a text, such as a date) inside bounds; null is outside."""

    kind: Literal["between"]
    column: str
    min: float | str | None = Field(default=None, description="least value kept")
    max: float | str | None = Field(default=None, description="greatest value kept")
    above: float | None = Field(default=None, description="kept values are greater")
    below: float | None = Field(default=None, description="kept values are smaller")

    @model_validator(mode="after")
    def _has_a_bound(self) -> Between:
        if (self.min, self.max, self.above, self.below) == (None,) * 4:
            raise ValueError("no bound: give `min`, `max`, `above` or `below`")
        return self

    def keeps(self, row: Row, position: int) -> bool:
        value = value_at(row, self.column)
        if isinstance(self.min, str) or isinstance(self.max, str):
            return isinstance(value, str) and (
                (self.min is None or value >= str(self.min))
                and (self.max is None or value <= str(self.max))
            )
        number = as_number(value)
        return number is not None and (
            (self.min is None or number >= float(self.min))
            and (self.max is None or number <= float(self.max))
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def columns(self) -> set[str]:
        return {self.column}


class Slice(_Filter):
    """The rows of some positions, counted where the slice stands among the filters."""

    kind: Literal["slice"]
    start: int = Field(default=0, ge=0, description="first position kept")
    stop: int | None = Field(default=None, ge=0, description="first one not kept")

    @model_validator(mode="after")
    def _holds_something(self) -> Slice:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"start {self.start} to stop {self.stop} keeps no row")
        return self

    def keeps(self, row: Row, position: int) -> bool:
        return position >= self.start and (self.stop is None or position < self.stop)

    def columns(self) -> set[str]:
        return set()


Filter = Annotated[
    Equal | Contains | Between | Slice,
    Field(discriminator="kind"),
]


class _Test:
    """One pass of a filter: counts what comes and what stays."""

    def __init__(self, of: _Filter) -> None:
        self.of = of
        self.came = 0
        self.kept = 0

    def __call__(self, row: Row) -> bool:
        keeps = self.of.keeps(row, self.came)
        self.came += 1
        self.kept += keeps
        return keeps


class Pass:
    """All filters of a source over its rows, once."""

    def __init__(self, filters: list[Filter]) -> None:
        self._tests = [one.tests() for one in filters]

    def keeps(self, row: Row) -> bool:
        return all(test(row) for test in self._tests)

    def check(self, set_name: str) -> None:
        """Compare what each filter left with what the recipe expects.

        Raises:
            SourceError: at the first one that differs.
        """
        for number, test in enumerate(self._tests, start=1):
            options = test.of.model_dump(exclude={"expect"}, exclude_none=True)
            told = ", ".join(f"{key} {value}" for key, value in options.items())
            check_count(set_name, f"after filter {number} ({told})", test.of, test.kept)

    def told(self) -> str:
        return " -> ".join(str(test.kept) for test in self._tests)


def check_count(set_name: str, where: str, holder: Any, found: int) -> None:
    """Stop with the difference if a count is not the expected one.

    Raises:
        SourceError: it is not.
    """
    expect: Count | None = holder.expect
    if expect is None:
        return
    least, most = (expect, expect) if isinstance(expect, int) else expect
    if least <= found <= most:
        return
    wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    away = (
        f"{least - found:,} too few" if found < least else f"{found - most:,} too many"
    )
    raise SourceError(
        f"set {set_name}: {found:,} rows {where}, expected {wanted}: {away}. The source"
        " has changed, or the filters: look at both, then correct `expect`"
    )


def value_at(row: Row, column: str) -> Any:
    """The value of a column; `a.0.b` goes down into lists and objects.

    Raises:
        SourceError: there is no such column; a null on the way is null.
    """
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        elif value is None:
            return None
        else:
            raise SourceError(
                f"there is no column {column!r}; the row has {', '.join(sorted(row))}"
            )
    return value


def _equal(found: Any, wanted: Scalar) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, str) == isinstance(wanted, str):
        return bool(found == wanted)
    number = as_number(wanted)
    return number is not None and as_number(found) == number


def as_number(value: Any) -> float | None:
    """A number, or the number that a text writes; anything else is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number == number else None
