r"""Find the answer in a response: boxes, tags and stated answers, never a stray number.

Every scan is linear in the length of the text, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from retrace.sections import boxes

Form = Literal["boxed", "answer_tag", "final_answer", "hashes", "conclusion"]
"""Where an answer may stand.

boxed: the last balanced `\boxed{}` or `\fbox{}`.
answer_tag: the last `<answer>...</answer>`.
final_answer: after the last "the answer is", "final answer:" and the like.
hashes: after `####` at the end, as GSM8K writes it.
conclusion: the last displayed formula or bold text, or the right-hand side of the last
equation, for short answers in prose. Too weak for scoring models: off by default.
"""

FORMS: tuple[Form, ...] = ("boxed", "answer_tag", "final_answer", "hashes")


@dataclass(frozen=True)
class Found:
    """An answer and the form it was found in.

    group: where the answer was boxed, the contents of all boxes that belong together
    with it, in order: "\boxed{2} and \boxed{3}" is one answer in two boxes.
    boxes: the contents of every box of the section.
    """

    answer: str
    form: Form
    group: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()


def find(text: str, forms: Sequence[Form] = FORMS) -> Found | None:
    """The answer of a solution section, by the first of `forms` that is there."""
    for form in forms:
        if form == "boxed":
            found = _boxed(text)
        else:
            answer = _FINDERS[form](text)
            found = Found(answer, form) if answer else None
        if found is not None:
            return found
    return None


def loose(text: str) -> str:
    """The answer of a short text that is either an answer or a sentence around one.

    For the command line and for labelled pairs; a judge of responses uses `find`.
    """
    found = find(text)
    if found is not None:
        return ", ".join(found.group) if len(found.group) > 1 else found.answer
    if len(text) > 4 * MAX_CONCLUSION:
        return text
    outside = _MATHS.sub(" ", text)
    prose = len(_PROSE.findall(outside)) > 1 or _FOREIGN.search(outside)
    if not prose and not _LEAD.match(outside):
        return text
    return _conclusion(text) or text


def reference_answer(solution: str) -> str | None:
    r"""The answer that a worked solution ends with: its last box, or boxes that belong
    together. None where there is no box, as in a proof.
    """
    found = _boxed(solution)
    if found is None:
        return None
    return ", ".join(found.group) if len(found.group) > 1 else found.answer


def pieces(text: str) -> int:
    """How many answers a text lists: separators outside brackets, plus one."""
    depth, count = 0, 1
    for match in _PIECE.finditer(text):
        token = match.group()
        if token in "([{":
            depth += 1
        elif token in ")]}":
            depth -= 1
        elif depth <= 0 and token[0] != "\\" and len(token) != 4:
            count += 1
    return count


# --- Boxes ----------------------------------------------------------------------------

_PIECE = re.compile(r"\\[()\[\]!]|,\d{3}(?!\d)|[()\[\]{},;]|\b(?:and|or)\b")
_NEST = re.compile(r"\\{1,2}(?:boxed|fbox)\s*(?=\{)")
_BETWEEN = re.compile(
    r"(?:\s|\$|\\\(|\\\)|\\\[|\\\]|\\[,;:! ]|\\q?quad|[,;.&]|\\text|\\mathrm|[{}]"
    r"|\band\b|\bor\b|\bfor\b|\bpart\b|\([a-z]\)|\\\\)*",
    re.IGNORECASE,
)


def _boxed(text: str) -> Found | None:
    every = [box for box in boxes(text) if box.content.strip()]
    if not every:
        return None
    contents = [_clean_box(box.content) for box in every]
    group = [contents[-1]]
    for index in range(len(every) - 1, 0, -1):
        between = text[every[index - 1].end : every[index].start]
        if len(between) > 200 or not _BETWEEN.fullmatch(between):
            break
        group.insert(0, contents[index - 1])
    return Found(contents[-1], "boxed", tuple(group), tuple(contents))


def _clean_box(content: str) -> str:
    """Drop boxes inside the box; their braces stay, and mean nothing."""
    return _NEST.sub("", content).strip()


# --- Stated answers -------------------------------------------------------------------

_STATED = re.compile(
    r"(?:\b(?:final|correct|the|my)\s+answer\b(?:\s+to\s[^.\n:]{1,60})?"
    r"\s*(?:is|are|:|=)|^[^\w\n]{0,20}answer[^\w\n]{0,20}(?:is|:|=)|\banswer\s+is\b)"
    r"(?:\s+(?:is|therefore|thus))?[\s:*=]*",
    re.IGNORECASE | re.MULTILINE,
)
_HASHES = re.compile(r"^[ \t]*####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_MATHS = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$((?:[^$\\]|\\.)+?)\$",
    re.DOTALL,
)
_SENTENCE_END = re.compile(
    r"\n|[.!?](?=\s|$|\*\*)|[。，]|(?:,|;)?\s(?:because|since|which|where|as)\s"
)
_A_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])[-+]?\$?\d[\d,]*(?:\.\d+)?%?(?![A-Za-z0-9_^\\/(])"
)
_ANY_NUMBER = re.compile(r"\d[\d,.]*")
_THEREFORE = re.compile(
    r"(?:therefore|thus|hence|so|consequently|in conclusion|in total)\b", re.IGNORECASE
)
_FOREIGN = re.compile(r"[\u0400-\uffff]{4}")
_PROSE = re.compile(r"(?!and\b|or\b)(?<![\\A-Za-z{])[A-Za-z]{2,}(?![A-Za-z]*[}(^_])")
_LEAD = re.compile(r"\s*answer\b", re.IGNORECASE)
MAX_CONCLUSION = 4000
_BRACKETED = re.compile(r"\[([^\[\]\n]{1,80})\](?!\()")
_IS = re.compile(r"\b(?:is|are|equals)\s+(?=[-+\d\\(])")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")


def _answer_tag(text: str) -> str:
    lower = text.casefold() if text.isascii() else text
    end = lower.rfind("</answer>")
    start = lower.rfind("<answer>", 0, max(end, 0))
    return undelimit(text[start + 8 : end].strip()) if start >= 0 else ""


def _final_answer(text: str) -> str:
    end = None
    for match in _STATED.finditer(text):
        end = match.end()
    return "" if end is None else _only_value(_statement(text[end:]))


def _only_value(statement: str) -> str:
    """The value in a stated answer that is a whole sentence: "the sum of both is 19",
    or the only number of "she began 3 hours ago". Other sentences stay as they are.
    """
    if len(_PROSE.findall(_MATHS.sub(" ", statement))) < 3:
        return statement
    stated = list(_IS.finditer(statement))
    if stated:
        return _statement(statement[stated[-1].end() :])
    numbers = _A_NUMBER.findall(statement)
    return str(numbers[0]) if len(numbers) == 1 else statement


def _hashes(text: str) -> str:
    every = _HASHES.findall(text)
    return _statement(every[-1]) if every else ""


def _conclusion(text: str) -> str:
    """The last displayed formula or bold text, else the last equation's right side."""
    text, last = text[-MAX_CONCLUSION:], ""
    for match in _MATHS.finditer(text):
        last = next(group for group in match.groups() if group is not None)
        rest = text[match.end() :]
    if last and (number := _closing_number(rest, _THEREFORE)):
        return number
    bracketed = _BRACKETED.findall(text)
    if bracketed and not last:
        return str(bracketed[-1]).strip()
    if last:
        return last.strip()
    bold = [found for found in _BOLD.findall(text) if any(map(str.isdigit, found))]
    if bold:
        return str(bold[-1]).strip()
    number = _closing_number(text)
    if number:
        return number
    if "=" in text:
        return _statement(text.rpartition("=")[2].lstrip())
    stated = list(_IS.finditer(text))
    return _statement(text[stated[-1].end() :]) if stated else ""


def _closing_number(text: str, begins: re.Pattern[str] | None = None) -> str:
    """The number of the last sentence that holds one, if it is the only one there."""
    sentences = [part for part in _SENTENCE_END.split(text) if _ANY_NUMBER.search(part)]
    if not sentences or (begins and not begins.match(sentences[-1].lstrip())):
        return ""
    last = sentences[-1].lstrip()
    every, numbers = _ANY_NUMBER.findall(last), _A_NUMBER.findall(last)
    said = len(every) == len(numbers) == 1 and not last.startswith(numbers[0])
    return str(numbers[0]) if said and "=" not in last else ""


_FINDERS = {
    "answer_tag": _answer_tag,
    "final_answer": _final_answer,
    "hashes": _hashes,
    "conclusion": _conclusion,
}


def _statement(text: str) -> str:
    """What is stated at the start of a text: a formula, bold text, or a sentence."""
    head = text.lstrip()[:2000]
    formula = _MATHS.match(head)
    if formula:
        after = head[formula.end() :]
        content = next(group for group in formula.groups() if group is not None)
        rest = _SENTENCE_END.split(after, maxsplit=1)[0].strip(" .,*")
        return (
            f"{content.strip()} \\text{{ {rest} }}" if _unit(rest) else content.strip()
        )
    bold = _BOLD.match(head)
    if bold:
        return undelimit(bold.group(1).strip(" .:"))
    sentence = _SENTENCE_END.split(head, maxsplit=1)[0]
    return undelimit(sentence.strip().strip("*").rstrip(".,;: "))


def _unit(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z%°][A-Za-z/^0-9 ]{0,20}", text))


def undelimit(text: str) -> str:
    """A formula without its delimiters; any other text as it is."""
    formula = _MATHS.fullmatch(text)
    if formula:
        return next(g for g in formula.groups() if g is not None).strip()
    return text
