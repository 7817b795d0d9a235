"""A right trace as a thought and a solution, and the checks that it stayed the trace.

A rewriting model is told to copy the thought and to write the solution. It may also
summarise, drop a step, change a number or answer with an error, so nothing that it
writes is taken on trust: `check` aligns the rewritten words with those of the trace.
What fails is divided by `divide` instead, a rule that changes no word.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator
from rapidfuzz.distance import LCSseq

from retrace.judging import judge_traces
from retrace.judging.base import Judge
from retrace.rows import Domain, Problem, Rewrite, Trace, Usage, Verdict
from retrace.sections import (
    BEGIN_SOLUTION,
    BEGIN_THOUGHT,
    END_SOLUTION,
    END_THOUGHT,
    MARKERS,
    boxes,
    parse,
    without_markers,
)
from retrace.words import is_number, words

Strategy = Literal["published", "solution_only"]
"""What the rewriting model writes.

published: both sections, the thought as a copy of the trace, as Sky-T1's recipe has it.
solution_only: the solution; the thought is the trace itself, so its length costs no
tokens and no word of it can change.
"""


class Checks(BaseModel):
    """How a rewrite is asked for and when it is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Strategy = Field(
        default="published",
        description="`published`: the model writes both sections; `solution_only`: the"
        " thought stays the trace, the model writes the solution",
    )
    min_kept: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="least share of the trace's words that a rewrite keeps, in order",
    )
    max_invented: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="largest share of the thought's words that the trace does not have",
    )
    max_gap: int = Field(
        default=12,
        gt=0,
        description="words in a row that may be dropped or added: more is a lost or an"
        " invented step",
    )
    numbers: bool = Field(
        default=True,
        description="numbers and signs of the trace stand in the thought unchanged",
    )
    one_code_block: bool = Field(
        default=True, description="the solution of a program holds one block of code"
    )
    wrong_too: bool = Field(
        default=False,
        description="rewrite wrong traces as well, to measure how many a rewrite makes"
        " acceptable; they reach a training set only if it is right afterwards",
    )


@dataclass(frozen=True)
class Division:
    """A response as two sections, by the rule or by a model."""

    thought: str
    solution: str


@dataclass(frozen=True)
class Faithfulness:
    """How a thought compares with its trace.

    kept: share of the trace's words found in the rewrite, in order; what closes the
    trace may stand in the solution instead of the thought.
    invented: share of the thought's words that the trace does not have there.
    fault: the first difference that a copy cannot have, as `name: evidence`, or "".
    """

    kept: float
    invented: float
    fault: str = ""


def assistant_turn(thought: str, solution: str) -> str:
    """The text that a student learns to write."""
    return (
        f"{BEGIN_THOUGHT}\n\n{thought}\n\n{END_THOUGHT}\n\n"
        f"{BEGIN_SOLUTION}\n\n{solution}\n\n{END_SOLUTION}"
    )


def full_text(trace: Trace) -> str:
    """All that a trace says: the thought that the server kept apart, then the text."""
    return f"{trace.reasoning}\n\n{trace.text}" if trace.reasoning else trace.text


# --- From traces to rewrites ----------------------------------------------------------


class Response(Protocol):
    """What came of asking the rewriting model, as `retrace.sampling` gives it."""

    @property
    def text(self) -> str: ...
    @property
    def finish_reason(self) -> str: ...
    @property
    def error(self) -> str: ...


@dataclass(frozen=True)
class _Draft:
    """A division on its way through the judge."""

    problem: Problem
    trace: Trace
    division: Division
    by: Literal["model", "rule"]
    faithful: Faithfulness
    rejected: str = ""


def wanted(
    traces: Iterable[Trace], verdicts: Mapping[str, Verdict], checks: Checks
) -> list[Trace]:
    """The traces that are rewritten: right ones, or all that hold an answer.

    Raises:
        KeyError: a trace has no verdict.
    """
    found = []
    for trace in traces:
        if trace.trace_id not in verdicts:
            raise KeyError(f"trace {trace.trace_id} has no verdict: judge it first")
        answered = checks.wrong_too and trace.finish_reason == "stop"
        if verdicts[trace.trace_id].ok or answered:
            found.append(trace)
    return found


def rewrite(
    problems: Mapping[str, Problem],
    traces: Iterable[Trace],
    responses: Mapping[str, Response],
    checks: Checks,
    judge: Judge[Any],
) -> Iterator[Rewrite]:
    """One rewrite for each trace, in order, judged again.

    `responses` maps a trace's id to what the rewriting model wrote; a trace without one
    is divided by the rule. So is one whose response fails a check or whose rewrite is
    judged wrong although the rule's is not.
    """
    drafts = [
        _draft(problems[trace.problem_id], trace, responses.get(trace.trace_id), checks)
        for trace in traces
    ]
    verdicts = list(_judged(judge, problems, drafts))
    again = [
        place
        for place, (draft, verdict) in enumerate(zip(drafts, verdicts, strict=True))
        if draft.by == "model" and not verdict.ok
    ]
    for place in again:
        reason = f"verdict: {verdicts[place].reason.value}"
        drafts[place] = _by_rule(drafts[place].problem, drafts[place].trace, reason)
    second = _judged(judge, problems, [drafts[place] for place in again])
    for place, verdict in zip(again, second, strict=True):
        verdicts[place] = verdict
    for draft, verdict in zip(drafts, verdicts, strict=True):
        yield Rewrite(
            trace_id=draft.trace.trace_id,
            problem_id=draft.trace.problem_id,
            sample=draft.trace.sample,
            thought=draft.division.thought,
            solution=draft.division.solution,
            by=draft.by,
            faithful=draft.faithful.kept,
            invented=draft.faithful.invented,
            rejected=draft.rejected,
            verdict=verdict,
        )


def _draft(
    problem: Problem, trace: Trace, response: Response | None, checks: Checks
) -> _Draft:
    """The model's division where it passes every check, else the rule's."""
    if response is None:
        return _by_rule(problem, trace, "")
    if response.finish_reason != "stop":
        what = f"finish_reason: {response.finish_reason} {response.error}".strip()
        return _by_rule(problem, trace, what)
    try:
        division = read(problem, trace, response.text, checks)
    except StructureError as error:
        return _by_rule(problem, trace, str(error))
    faithful = check(trace, division, checks)
    if faithful.fault:
        return _by_rule(problem, trace, faithful.fault)
    return _Draft(problem, trace, division, "model", faithful)


def _by_rule(problem: Problem, trace: Trace, rejected: str) -> _Draft:
    division = divide(problem, trace)
    return _Draft(problem, trace, division, "rule", Faithfulness(1.0, 0.0), rejected)


def _judged(
    judge: Judge[Any], problems: Mapping[str, Problem], drafts: list[_Draft]
) -> Iterator[Verdict]:
    texts = (
        Trace(
            trace_id=draft.trace.trace_id,
            problem_id=draft.trace.problem_id,
            model=draft.trace.model,
            sample=draft.trace.sample,
            text=assistant_turn(draft.division.thought, draft.division.solution),
            finish_reason="stop",
            usage=Usage(),
        )
        for draft in drafts
    )
    return judge_traces(judge, problems, texts)


# --- What is asked of the rewriting model ---------------------------------------------


class Shot(BaseModel):
    """A worked example of a rewrite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: str = Field(default="", description="the example's problem")
    trace: str = Field(default="", description="the example's trace")
    response: str = Field(description="the rewrite as the model should write it")


class Prompt(BaseModel):
    """How a trace is put to the rewriting model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str | None = Field(
        default=None, description="the system message; none is sent when absent"
    )
    template: str = Field(
        description="the user message; {trace} and {statement} stand for the trace and"
        " its problem, every other brace for itself"
    )
    shots: list[Shot] = Field(default_factory=list, description="worked examples")

    @field_validator("template")
    @classmethod
    def _holds_the_trace(cls, template: str) -> str:
        if template.count("{trace}") != 1:
            raise ValueError(
                f"the template holds {{trace}} {template.count('{trace}')} times,"
                " expected exactly once"
            )
        return template


def messages(prompt: Prompt, problem: Problem, trace: Trace) -> list[dict[str, str]]:
    """The chat messages that ask for one rewrite."""
    parts = []
    if prompt.system is not None:
        parts.append({"role": "system", "content": prompt.system})
    for shot in prompt.shots:
        asked = _fill(prompt.template, shot.statement, shot.trace)
        parts.append({"role": "user", "content": asked})
        parts.append({"role": "assistant", "content": shot.response})
    asked = _fill(prompt.template, problem.statement, full_text(trace))
    parts.append({"role": "user", "content": asked})
    return parts


def _fill(template: str, statement: str, trace: str) -> str:
    # In one pass: a statement may hold the word {trace}.
    values = {"{statement}": statement, "{trace}": trace}
    return re.sub(
        r"\{(?:statement|trace)\}", lambda match: values[match.group()], template
    )


# --- What comes back ------------------------------------------------------------------


def read(problem: Problem, trace: Trace, response: str, checks: Checks) -> Division:
    """The sections of a model's response.

    Raises:
        StructureError: naming the part of the format that the response does not have.
    """
    if checks.strategy == "solution_only":
        division = Division(_verbatim(trace), _solution_alone(response))
    else:
        division = _both(response)
    if found := _error_text(response, f"{problem.statement}\n{full_text(trace)}"):
        raise StructureError("error_text", f"the response says {found!r}")
    if problem.domain is Domain.CODE and checks.one_code_block:
        blocks = len(_BLOCK.findall(division.solution))
        if blocks != 1:
            raise StructureError("code_blocks", f"{blocks} blocks of code, expected 1")
    return division


class StructureError(ValueError):
    """A response that does not have the format: a short name and the evidence."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name


def check(trace: Trace, division: Division, checks: Checks) -> Faithfulness:
    """Compare a division with its trace; `fault` says why it is not taken."""
    if checks.strategy == "solution_only":
        return Faithfulness(kept=1.0, invented=0.0)
    faithful = align(_verbatim(trace), division.thought, division.solution, checks)
    if faithful.fault:
        return faithful
    fault = ""
    if faithful.kept < checks.min_kept:
        fault = f"kept: {faithful.kept:.3f} of the trace's words"
    elif faithful.invented > checks.max_invented:
        fault = f"invented: {faithful.invented:.3f} of the thought's words"
    return Faithfulness(faithful.kept, faithful.invented, fault)


def align(source: str, thought: str, solution: str, checks: Checks) -> Faithfulness:
    """Align a thought with its trace by the longest common subsequence of their words.

    The closing words of the trace that the thought leaves out count as kept where the
    solution has them in order.
    """
    left, right = _Units.of(source), _Units.of(thought)
    equal = _matches(left.words, right.words)
    common = sum(length for _, _, length in equal)
    fault = ""
    after, dest_after = 0, 0
    for start, dest, length in equal:
        fault = fault or _difference(
            left, (after, start), right, (dest_after, dest), checks
        )
        after, dest_after = start + length, dest + length
    solved = words(solution)
    moved = _found_in(left.words[after:], solved)
    end = (dest_after, len(right.words))
    fault = (
        fault
        or _closing(left, after, solved, moved, checks)
        or _difference(left, (after, after), right, end, checks)
    )
    return Faithfulness(
        kept=round((common + len(moved)) / max(1, len(left.words)), 6),
        invented=round(1 - common / max(1, len(right.words)), 6),
        fault=fault,
    )


@dataclass(frozen=True)
class _Units:
    """The words of a text, and at which of them its sentences and lines begin."""

    words: list[str]
    starts: list[int]

    @classmethod
    def of(cls, text: str) -> _Units:
        found: list[str] = []
        starts = [0]
        for word in words(_UNIT_END.sub(f" {_BREAK}\n", text)):
            if word == _BREAK:
                starts.append(len(found))
            else:
                found.append(word)
        return cls(found, [*starts, len(found)])

    def whole(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The sentences and lines that lie between two words, but for the shortest."""
        for at in range(bisect_left(self.starts, start), len(self.starts) - 1):
            first, behind = self.starts[at], self.starts[at + 1]
            if behind > end:
                return
            if behind - first >= _STEP:
                yield first, behind

    def holds_whole(self, start: int, end: int) -> bool:
        """Whether a stretch is a whole sentence or more, wherever it may stand.

        Where the words behind a lost stretch repeat its first ones, an alignment may
        as well have lost it further on, and likewise before.
        """
        found, length = self.words, end - start
        if length < _STEP:
            return False
        first = start
        while first and start - first < length:
            if found[first - 1] != found[first - 1 + length]:
                break
            first -= 1
        last = start
        while last + length < len(found) and last - start < length:
            if found[last] != found[last + length]:
                break
            last += 1
        return any(
            next(self.whole(place, place + length), None) is not None
            for place in range(first, last + 1)
        )


_STEP = 3
"""Words of the shortest sentence that counts as a step: "Wait, no." is none."""
_BREAK = "unitbreak"
_UNIT_END = re.compile(r"(?<=[.?!])[*\"')\]]*\s+|(?<![-+=<>\s])[ \t]*\n\s*")


def _matches(source: list[str], target: list[str]) -> list[tuple[int, int, int]]:
    """Runs of equal words as (start in source, start in target, length).

    A few equal words between longer differences on both sides are chance ("the", "so"),
    and are left out.
    """
    codes = list(LCSseq.opcodes(source, target))
    found = [
        (code.src_start, code.dest_start, code.src_end - code.src_start)
        for code in codes
        if code.tag == "equal"
    ]
    found = _leftmost(found, source, target)
    ends = [(0, 0), *((src + n, dest + n) for src, dest, n in found)]
    starts = [*((src, dest) for src, dest, _ in found), (len(source), len(target))]
    edits = [
        max(src - end, dest - dest_end)
        for (end, dest_end), (src, dest) in zip(ends, starts, strict=True)
    ]
    return [
        run
        for run, before, behind in zip(found, edits, edits[1:], strict=False)
        if run[2] > min(_CHANCE, before, behind)
    ]


def _leftmost(
    runs: list[tuple[int, int, int]], source: list[str], target: list[str]
) -> list[tuple[int, int, int]]:
    """The same alignment with every dropped stretch as late as it can stand.

    Where the words after a dropped stretch repeat its first words, either place is as
    good; the later one keeps what closes the trace in one piece.
    """
    moved: list[tuple[int, int, int]] = []
    src_end, dest_end = 0, 0
    for src, dest, length in runs:
        shift = 0
        if dest == dest_end:
            while shift < length and source[src_end + shift] == target[dest + shift]:
                shift += 1
        if shift and src > src_end:
            moved.append((src_end, dest, shift))
            src, dest, length = src + shift, dest + shift, length - shift
        if length:
            moved.append((src, dest, length))
            src_end, dest_end = src + length, dest + length
        else:
            src_end, dest_end = moved[-1][0] + shift, dest
    return moved


_CHANCE = 3
"""Longest run of equal words that can be chance between two differences."""


def _difference(
    left: _Units,
    lost: tuple[int, int],
    right: _Units,
    new: tuple[int, int],
    checks: Checks,
) -> str:
    """Why one stretch of differing words is a fault, or "" if a copy may have it."""
    dropped, added = left.words[slice(*lost)], right.words[slice(*new)]
    name = "changed" if dropped and added else "dropped" if dropped else "added"
    changed = checks.numbers and _quantities(dropped) != _quantities(added)
    more = abs(len(dropped) - len(added))
    if (
        changed
        or more > checks.max_gap
        or (2 * len(added) < len(dropped) and left.holds_whole(*lost))
        or (2 * len(dropped) < len(added) and right.holds_whole(*new))
    ):
        return f"{name}: {' '.join(dropped[:12])!r} to {' '.join(added[:12])!r}"
    return ""


def _closing(
    left: _Units, after: int, solution: list[str], moved: set[int], checks: Checks
) -> str:
    """Why the end of a trace is lost, or "" if the solution has what it says.

    `moved`: which of the words from `after` on are in the solution. The very last
    sentence states the answer: the solution may do that in other words.
    """
    for start, end in left.whole(after, len(left.words)):
        found = sum(at - after in moved for at in range(start, end))
        unit = left.words[start:end]
        last = end == len(left.words)
        if 2 * found < len(unit) and not (
            last and _quantities(unit) <= _quantities(solution)
        ):
            return f"dropped: {' '.join(unit[:20])}"
    if len(left.words) - after - len(moved) > checks.max_gap:
        return f"dropped: {' '.join(left.words[after:][:20])}"
    return ""


def _found_in(closing: list[str], solution: list[str]) -> set[int]:
    """Which of the words are in a solution, in order."""
    return {
        place
        for code in LCSseq.opcodes(closing, solution)
        if code.tag == "equal"
        for place in range(code.src_start, code.src_end)
    }


def _quantities(stretch: list[str]) -> Counter[str]:
    """Numbers, signs and negations: what no copy changes."""
    return Counter(
        "not" if word in _NEGATIONS else word
        for word in stretch
        if is_number(word) or word in "+-=<>!" or word in _NEGATIONS
    )


_NEGATIONS = frozenset(
    "not cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt couldnt"
    " shouldnt hasnt havent hadnt".split()
)


def _both(response: str) -> Division:
    found = _MARKER.findall(response)
    if tuple(found) != MARKERS:
        detail = f"found {' '.join(found) or 'none'}, expected each once and in order"
        raise StructureError("markers", detail)
    before, _, rest = response.partition(BEGIN_THOUGHT)
    thought, _, rest = rest.partition(END_THOUGHT)
    between, _, rest = rest.partition(BEGIN_SOLUTION)
    solution, _, after = rest.partition(END_SOLUTION)
    if before.strip() or between.strip() or after.strip():
        outside = f"{before}{between}{after}".strip()
        raise StructureError("outside", f"text outside the sections: {outside[:80]!r}")
    if not thought.strip() or not solution.strip():
        raise StructureError("empty", "a section is empty")
    return Division(thought.strip(), solution.strip())


def _error_text(response: str, known: str) -> str:
    """Words of a failed request that neither problem nor trace has."""
    for match in _ERROR.finditer(response):
        if match.group().lower() not in known.lower():
            return match.group()
    return ""


def _solution_alone(response: str) -> str:
    """The solution of a response that may come with or without its two markers."""
    found = _MARKER.findall(response)
    if found not in ([], [BEGIN_SOLUTION, END_SOLUTION]):
        detail = f"found {' '.join(found)}, expected a solution section alone"
        raise StructureError("markers", detail)
    if found:
        before, _, rest = response.partition(BEGIN_SOLUTION)
        response, _, after = rest.partition(END_SOLUTION)
        if before.strip() or after.strip():
            raise StructureError("outside", "text outside the solution section")
    if not response.strip():
        raise StructureError("empty", "the solution is empty")
    return response.strip()


def _verbatim(trace: Trace) -> str:
    """The trace as a thought: its own markers would end the section early."""
    return without_markers(full_text(trace))


# --- The rule that changes no word ----------------------------------------------------


def divide(problem: Problem, trace: Trace) -> Division:
    """Divide a trace without changing a word; the thought may be empty.

    A trace that comes in two parts keeps them. A program's solution begins at its last
    block of code. Any other solution begins at the last statement of the answer: its
    paragraph, or its line or sentence where the paragraph is all there is.
    """
    if trace.reasoning.strip() and trace.text.strip():
        return Division(without_markers(trace.reasoning), without_markers(trace.text))
    sections = parse(trace.text)
    if sections.thought and sections.solution:
        return Division(sections.thought, sections.solution)
    text = without_markers(trace.text)
    start = _code_start(text) if problem.domain is Domain.CODE else None
    if start is None:
        start = _answer_start(text)
    return Division(text[:start].strip(), text[start:].strip())


def _code_start(text: str) -> int | None:
    blocks = list(_BLOCK.finditer(text))
    return blocks[-1].start() if blocks else None


def _answer_start(text: str) -> int:
    """Where the unit that states the answer begins.

    The last box states it, else the last unit of the text does.
    """
    found = boxes(text)
    stated = found[-1].start if found else len(text)
    for boundary in (_PARAGRAPH, _LINE, _SENTENCE):
        starts = [match.end() for match in boundary.finditer(text, 0, stated)]
        if starts and text[: starts[-1]].strip():
            return starts[-1]
    return 0


_MARKER = re.compile(r"<\|(?:begin|end)_of_(?:thought|solution)\|>")
_ERROR = re.compile(
    r"error processing|error code:? \d{3}|\b(?:api|server|http|status|internal server)"
    r" error\b|rate limit|request timed out|too many requests|bad gateway|"
    r"service unavailable|context length exceeded|quota exceeded|"
    r"\bI'm sorry, but I|\bI cannot (?:assist|help) with",
    re.IGNORECASE,
)
_BLOCK = re.compile(r"^[ \t]*```[^\n`]*\n.*?^[ \t]*```", re.DOTALL | re.MULTILINE)
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_LINE = re.compile(r"\n\s*")
_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z\\$*])")
