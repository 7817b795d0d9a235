r"""The protocol behind SkyThought's published maths scores, kept for comparison.

It is lenient in known ways: the whole response is searched, thought included, and its
last number counts where nothing else is found; numbers agree to 1e-4, or when one is a
hundred times the other; brackets are dropped. Use it to follow a published number, and
to show what the protocol alone changes. The last step, symbolic equality, is our own
reader's instead of three sympy parsers.
"""

from __future__ import annotations

import re

from retrace.judging import extraction
from retrace.sections import boxes

_HOPE = re.compile(r"final answer is \$(.{0,500}?)\$\. I hope", re.DOTALL)
_STATED = "he answer is"
_NUMBER = re.compile(r"-?\d*\.?\d+")
_BRACKETS = str.maketrans("", "", "()[]{}")


def answer(response: str) -> str:
    """The answer as the protocol extracts it; empty if there is not even a number."""
    hope = _HOPE.search(response)
    if hope:
        return _strip(hope.group(1))
    found = boxes(response)
    if found:
        return _strip(found[-1].content)
    if _STATED in response:
        return _strip(response.rpartition(_STATED)[2].split("\n")[0])
    numbers = _NUMBER.findall(response.replace(",", ""))
    return str(numbers[-1]) if numbers else ""


def decide(gold: str, given: str) -> bool | None:
    """The protocol's steps before symbolic equality; None where they do not decide."""
    one, other = _strip(gold).casefold(), given.casefold()
    if one == other:
        return True
    left, right = _number(one), _number(other)
    if left is not None and right is not None:
        return any(_near(left * factor, right) for factor in (1.0, 0.01, 100.0))
    bare = [side.translate(_BRACKETS) for side in (one, other)]
    if bare[0] == bare[1]:
        return True
    parts, others = one.split(","), other.split(",")
    if len(parts) == len(others) > 1:
        pairs = [
            decide(a.translate(_BRACKETS), b.translate(_BRACKETS))
            for a, b in zip(parts, others, strict=True)
        ]
        if all(pair is not None for pair in pairs):
            return all(pairs)
    return None


def _strip(text: str) -> str:
    text = extraction.undelimit(text.strip()).rstrip(".")
    for layout in (
        "\\left",
        "\\right",
        "\\!",
        "\\,",
        "\\ ",
        "$",
        "^\\circ",
        "^{\\circ}",
    ):
        text = text.replace(layout, "")
    text = re.sub(r"\\(?:text|mathrm|mbox)\{[^{}]*\}$", "", text)
    return re.sub(r"\\[dt]frac", r"\\frac", text).replace(" ", "").strip()


def _number(text: str) -> float | None:
    percent = text.endswith("%")
    try:
        value = float(text.replace(",", "").rstrip("%").rstrip("\\"))
    except ValueError:
        return None
    return value / 100 if percent else value


def _near(reference: float, value: float) -> bool:
    return abs(reference - value) <= 1e-4 * max(abs(reference), abs(value))
