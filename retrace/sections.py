"""The thought and the solution of a response, by their markers, and its boxes.

Two families of markers are in use: Sky-T1's `<|begin_of_thought|>` and its three
siblings, and `<think>...</think>`, whose opening tag many chat templates put into the
prompt, so that a response holds only the closing one. Real responses have one, two or
no newlines around a marker, and one in five never closes its thought.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

BEGIN_THOUGHT = "<|begin_of_thought|>"
END_THOUGHT = "<|end_of_thought|>"
BEGIN_SOLUTION = "<|begin_of_solution|>"
END_SOLUTION = "<|end_of_solution|>"
MARKERS = (BEGIN_THOUGHT, END_THOUGHT, BEGIN_SOLUTION, END_SOLUTION)

_END_OF_THOUGHT = re.compile(r"<\|end_of_thought\|>|</think>")
_BEGIN_OF_THOUGHT = re.compile(r"<\|begin_of_thought\|>|<think>")
_ANY = re.compile(r"<\|(?:begin|end)_of_(?:thought|solution)\|>|</?think>")


@dataclass(frozen=True)
class Sections:
    """A response, divided. Both texts are without markers and outer white space.

    marked: at least one marker was found; without any, the whole text is the solution.
    open_thought: a thought begins and nothing ends it, so there is no solution.
    closed: the solution is ended by its own marker.
    complete: the four Sky-T1 markers, each once and in order, with text in both parts.
    """

    thought: str
    solution: str
    marked: bool
    open_thought: bool
    closed: bool
    complete: bool


@dataclass(frozen=True)
class Box:
    """A box and its content; `start` and `end` include the command and its braces."""

    start: int
    end: int
    content: str


def parse(text: str) -> Sections:
    """Divide a response into its thought and its solution.

    The solution begins after the last `<|begin_of_solution|>`, or, where there is none,
    after the last end of a thought. What follows `<|end_of_solution|>` is dropped.
    """
    found = _ANY.findall(text)
    if not found:
        return Sections("", text.strip(), False, False, False, False)
    begin = text.rfind(BEGIN_SOLUTION)
    if begin >= 0:
        head, tail = text[:begin], text[begin + len(BEGIN_SOLUTION) :]
    else:
        ends = list(_END_OF_THOUGHT.finditer(text))
        if not ends:
            return _without_solution(text, found)
        head, tail = text[: ends[-1].start()], text[ends[-1].end() :]
    solution, end, _rest = tail.partition(END_SOLUTION)
    thought = without_markers(head)
    solution = without_markers(solution)
    complete = tuple(found) == MARKERS and bool(thought) and bool(solution)
    return Sections(thought, solution, True, False, bool(end), complete)


def has_marker(text: str) -> bool:
    """Whether a text holds a marker, which would end its section early."""
    return _ANY.search(text) is not None


def without_markers(text: str) -> str:
    """The text alone, without markers and outer white space."""
    return _ANY.sub("", text).strip()


def boxes(text: str) -> list[Box]:
    r"""Every balanced box, outermost only, in order.

    Escaped braces do not count. A box that is never closed is no box, and hides
    neither the boxes inside nor those after it.
    """
    found: list[Box] = []
    stack: list[tuple[int, int] | None] = []
    for match in _BRACES.finditer(text):
        token = match.group()
        if token[0] == "\\" and len(token) == 2:
            continue
        if token == "{":
            stack.append(None)
        elif token == "}":
            if not stack:
                continue
            opened = stack.pop()
            if opened is not None:
                start, inner = opened
                while found and found[-1].start > start:
                    found.pop()
                found.append(Box(start, match.end(), text[inner : match.start()]))
        else:
            stack.append((match.start(), match.end()))
    found.extend(_bare_boxes(text))
    found.sort(key=lambda box: box.start)
    return found


def _without_solution(text: str, found: list[str]) -> Sections:
    """Only a begin of a thought, or only an end of a solution."""
    if any(_BEGIN_OF_THOUGHT.fullmatch(marker) for marker in found):
        return Sections(without_markers(text), "", True, True, False, False)
    solution = without_markers(text.partition(END_SOLUTION)[0])
    return Sections("", solution, True, False, True, False)


_BRACES = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE = re.compile(r"\\boxed\s+([^\s{}$\\]+)|\\boxed([0-9])")


def _bare_boxes(text: str) -> Iterator[Box]:
    for match in _BARE.finditer(text):
        content = match.group(1) or match.group(2)
        yield Box(match.start(), match.end(), content.rstrip(".,"))
