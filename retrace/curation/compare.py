"""Two training sets beside each other: size, lengths, domains, duplicates, overlap.

Any ShareGPT file can be compared: JSON lines, or one JSON array as Sky-T1_data_17k has
it. Rows need `conversations` with a user and an assistant turn; `domain` and `set` are
used where they are there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from retrace.curation.decontaminate import Index
from retrace.curation.deduplicate import clusters
from retrace.curation.select import loop
from retrace.curation.settings import Decontamination, Deduplication, Loops
from retrace.rows import Problem
from retrace.sections import boxes, parse

FRAME_SHARE = 0.05
"""A first or last sentence that this share of a set's user turns has or more is an
instruction and no part of the problem."""


class DatasetFileError(ValueError):
    """A file that is no ShareGPT data set: says file, row and what is missing."""


@dataclass(frozen=True)
class Row:
    """A problem as the student gets it, and the answer. `domain` may be a guess."""

    user: str
    assistant: str
    domain: str


def read(path: Path) -> list[Row]:
    """Read a ShareGPT file.

    Raises:
        DatasetFileError: the file is no JSON, or a row has not the two turns.
    """
    return [_row(path, number, value) for number, value in enumerate(_values(path), 1)]


def describe(rows: Sequence[Row], benchmarks: Iterable[Problem] = ()) -> dict[str, Any]:
    """What one training set is like; lengths are in words."""
    statements = problems(rows)
    keyed = {f"{place:09d}": text for place, text in enumerate(statements)}
    found = clusters(keyed, Deduplication())
    sections = [parse(row.assistant) for row in rows]
    firsts = [keyed[key] for key in sorted(set(found.of.values()))]
    index = Index(benchmarks, firsts, Decontamination())
    return {
        "rows": len(rows),
        "distinct rows": len({(row.user, row.assistant) for row in rows}),
        "distinct problems": len(rows) - len(found.exact),
        "clusters of near-duplicates": len(found.groups()),
        "complete sections": sum(one.complete for one in sections),
        "loops": sum(bool(loop(row.assistant, Loops())) for row in rows),
        "domains": dict(sorted(Counter(row.domain for row in rows).items())),
        "words": {
            "problem": _quartiles(statements),
            "thought": _quartiles([one.thought for one in sections]),
            "solution": _quartiles([one.solution for one in sections]),
        },
        "benchmark problems": len(index),
        "contaminated statements": sum(
            bool(index.in_statement(text)) for text in statements
        ),
    }


def overlap(left: Sequence[Row], right: Sequence[Row]) -> dict[str, int]:
    """Problems that both sets have, as copies and with near-duplicates."""
    texts = {f"a{place:09d}": text for place, text in enumerate(problems(left))}
    texts |= {f"b{place:09d}": text for place, text in enumerate(problems(right))}
    counts = {}
    for name, near in (("copies", False), ("copies and near-duplicates", True)):
        found = clusters(texts, Deduplication(near=near))
        sides: dict[str, set[str]] = {}
        for key, first in found.of.items():
            sides.setdefault(first, set()).add(key[0])
        counts[name] = sum(len(side) == 2 for side in sides.values())
    return counts


def problems(rows: Sequence[Row]) -> list[str]:
    """The user turns without the instructions that many of them share."""
    heads = Counter(_head(row.user) for row in rows)
    tails = Counter(_tail(row.user) for row in rows)
    least = max(3.0, FRAME_SHARE * len(rows))
    found = []
    for row in rows:
        text = row.user
        if (tail := _tail(text)) and tails[tail] >= least:
            text = text[: -len(tail)]
        if (head := _head(text)) and heads[head] >= least:
            text = text[len(head) :]
        found.append(text.strip())
    return found


def _head(text: str) -> str:
    """The first sentence or line, if more follows."""
    match = re.match(r"\s*[^\n]*?(?:[.:!?](?=\s)|\n)\s*(?=\S)", text)
    return match.group() if match else ""


def _tail(text: str) -> str:
    """The last line, if another is before it."""
    at = text.rstrip().rfind("\n")
    return text[at:] if at > 0 else ""


def _values(path: Path) -> Iterator[Any]:
    wanted = "expected JSON lines or one array of rows"
    number = 1
    try:
        # Some tools mark the file as UTF-8 by its first character.
        with open(path, encoding="utf-8-sig") as file:
            if _first_sign(file) == "[":
                yield from json.load(file)
                return
            for number, line in enumerate(file, 1):  # noqa: B007
                if line.strip():
                    yield json.loads(line)
    except json.JSONDecodeError as error:
        line_number = number + error.lineno - 1
        raise DatasetFileError(
            f"{path}: no JSON at line {line_number} ({error.msg}): {wanted}"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetFileError(
            f"{path}: no text in UTF-8 (is it a parquet file?): {wanted}"
        ) from error


def _first_sign(file: TextIO) -> str:
    """The first character that is no white space; the file is then at its start."""
    sign = " "
    while sign.isspace():
        sign = file.read(1)
    file.seek(0)
    return sign


def _row(path: Path, number: int, value: Any) -> Row:
    try:
        turns = {turn["from"]: turn["value"] for turn in value["conversations"]}
        user = turns.get("user", turns.get("human"))
        assistant = turns.get("assistant", turns.get("gpt"))
        if not isinstance(user, str) or not isinstance(assistant, str):
            raise TypeError(f"found {sorted(map(str, turns))}")
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetFileError(
            f"{path}: row {number}: expected `conversations` with a user and an"
            f" assistant turn that are texts ({error})"
        ) from error
    return Row(user, assistant, str(value.get("domain") or f"{_guess(assistant)}?"))


def _guess(assistant: str) -> str:
    solution = parse(assistant).solution
    if "```" in solution:
        return "code"
    return "math" if boxes(solution) else "other"


def _quartiles(texts: Sequence[str]) -> dict[str, int]:
    lengths = sorted(len(text.split()) for text in texts) or [0]
    at = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "max": 1.0}
    return {name: lengths[int(q * (len(lengths) - 1))] for name, q in at.items()}
