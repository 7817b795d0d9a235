r"""Planted leaks: benchmark problems put into training data on purpose, to be found.

A search that finds nothing may be a search that does not work. So every run plants
copies of benchmark problems, changed as real leaks are, counts how many are found, and
counts how often a benchmark problem is taken for another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from retrace.curation.decontaminate import Index
from retrace.rows import Problem, content_id


@dataclass(frozen=True)
class Kind:
    """A way in which a leaked problem differs from the benchmark's."""

    name: str
    change: Callable[[str], str]
    promised: float | None
    """Least recall to expect; None is reported only."""


def measure(
    index: Index, benchmarks: Sequence[Problem], traces: Sequence[str], count: int
) -> dict[str, Any]:
    """Recall by kind of leak, and precision against problems that did not leak.

    `traces` are hosts for the problems that are planted inside a trace. `count`
    problems are drawn by the hash of their id. A control is a benchmark problem that is
    looked up while it and its near-duplicates are passed over: any hit is false.
    """
    drawn = sorted(benchmarks, key=lambda one: content_id([one.problem_id]))
    long = [one for one in drawn if not index.is_short(one.problem_id)][:count]
    short = [one for one in drawn if index.is_short(one.problem_id)][:count]
    kinds = {
        kind.name: _recall(
            _found(index, [kind.change(one.statement) for one in long], long),
            kind.promised,
        )
        for kind in KINDS
    }
    variants = [
        KINDS[place % 3].change(one.statement) for place, one in enumerate(short)
    ]
    kinds["short"] = _recall(_found(index, variants, short), 0.95)
    kinds["in_trace"] = _recall(
        [
            _finds_inside(index, inside(host, one.statement), one)
            for one, host in zip(long, _repeat(traces, len(long)), strict=True)
        ],
        0.95,
    )
    controls = drawn[:count]
    false = sum(
        bool(index.in_statement(one.statement, but=one.problem_id)) for one in controls
    )
    found = sum(kind["found"] for kind in kinds.values())
    return {
        "kinds": {name: kind for name, kind in kinds.items() if kind["planted"]},
        "controls": len(controls),
        "false": false,
        "precision": round(found / (found + false), 4) if found + false else None,
    }


# --- Changes --------------------------------------------------------------------------


def punctuation(text: str) -> str:
    """Without commas and full stops between words, other quotes, spaces and case."""
    text = re.sub(r"(?<=[^\W\d])[,.;:?](?=\s|$)", "", text)
    text = text.replace("'", "’").replace('"', "”").replace(" - ", " – ")
    text = re.sub(r"(?<=[a-z]) (?=[a-z])", "  ", text)
    return _outside_formulas(text, lambda part: part[:1].swapcase() + part[1:])


def typesetting(text: str) -> str:
    """Other commands and delimiters for the same formulas."""
    text = re.sub(r"\\frac(?![a-z])", r"\\dfrac", text)
    text = re.sub(r"(?<!\d)\\dfrac\{(\w+)\}\{(\w+)\}", r"\1/\2", text)
    text = text.replace("\\cdot", "\\times").replace("\\leq", "\\le")
    text = text.replace("\\left", "").replace("\\right", "").replace("\\,", "")
    text = re.sub(r"(?<![\d.,])(\d{1,3})(\d{3})(?![\d.,])", r"\1{,}\2", text)
    text = re.sub(r"\$\$?([^$]+)\$\$?", r"\\(\1\\)", text)
    return text.replace("\\[", "$$").replace("\\]", "$$").replace(" ", "\n", 1)


def renamed(text: str) -> str:
    """Other letters for the variables and points of the formulas."""
    return _FORMULA.sub(lambda match: _rename(match.group()), text)


def reworded(text: str) -> str:
    """The same numbers in other words: the question first, and common words changed."""
    parts = re.split(r"(?<=[.?!])\s+", text.strip())
    turned = " ".join([*parts[-1:], *parts[:-1]])
    return _COMMON.sub(lambda match: _SYNONYMS[match.group().lower()], turned)


def inside(host: str, statement: str) -> str:
    """A statement quoted in the middle of a trace."""
    middle = host.find(" ", len(host) // 2)
    middle = middle if middle >= 0 else len(host)
    return f"{host[:middle]}\n\nThis is a known problem: {statement}\n\n{host[middle:]}"


KINDS = (
    Kind("exact", lambda text: text, 1.0),
    Kind("punctuation", punctuation, 0.98),
    Kind("typesetting", typesetting, 0.98),
    Kind("renamed", renamed, 0.9),
    Kind("reworded", reworded, None),
)

_FORMULA = re.compile(r"\$[^$]+\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)
_LETTER = re.compile(
    r"\\[a-zA-Z]+(?:\{[a-z*]+\})?|(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])|[A-Z]+"
)
_FROM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TO = "uvwrsfghdjklmnopqtcbyxazezPQRSTUVWXYZABCDEFGHIJKLMNO"
_RENAMED = str.maketrans(_FROM, _TO)
_SYNONYMS = {
    "find": "determine", "determine": "work out", "compute": "work out",
    "what is": "give", "how many": "count the", "such that": "with", "each": "every",
    "suppose": "imagine", "let": "take", "integers": "whole numbers",
    "integer": "whole number", "value": "size", "number": "count", "if": "when",
    "given": "knowing", "positive": "greater than zero", "is": "equals",
}  # fmt: skip
_COMMON = re.compile(
    r"\b(?:" + "|".join(sorted(_SYNONYMS, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)


def _rename(formula: str) -> str:
    def change(match: re.Match[str]) -> str:
        found = match.group()
        return found if found[0] == "\\" else found.translate(_RENAMED)

    return _LETTER.sub(change, formula)


def _outside_formulas(text: str, change: Callable[[str], str]) -> str:
    done, result = 0, []
    for match in _FORMULA.finditer(text):
        result += [change(text[done : match.start()]), match.group()]
        done = match.end()
    return "".join([*result, change(text[done:])])


def _found(
    index: Index, texts: Sequence[str], planted: Sequence[Problem]
) -> list[bool]:
    index.read(texts)
    return [
        any(hit.problem_id == one.problem_id for hit in index.in_statement(text))
        for text, one in zip(texts, planted, strict=True)
    ]


def _finds_inside(index: Index, text: str, planted: Problem) -> bool:
    return any(hit.problem_id == planted.problem_id for hit in index.in_text(text))


def _recall(found: Sequence[bool], promised: float | None) -> dict[str, Any]:
    recall = round(sum(found) / len(found), 4) if found else None
    counts = {"planted": len(found), "found": sum(found), "recall": recall}
    return counts | {"promised": promised}


def _repeat(texts: Sequence[str], count: int) -> list[str]:
    texts = texts or [""]
    return [texts[place % len(texts)] for place in range(count)]
