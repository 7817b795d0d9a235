"""Which problems are kept, and which of their traces."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from retrace.curation.candidates import Candidate, Fault
from retrace.curation.settings import Loops, Selection
from retrace.problems.filters import as_number
from retrace.rows import content_id
from retrace.words import words


def unsuitable(
    candidates: Iterable[Candidate],
    settings: Selection,
    count: Callable[[Candidate], int],
) -> Iterator[tuple[str, Fault]]:
    """Candidates outside the wanted difficulty, pass rate, length or languages, and
    those that go round in circles. `count` gives a row's length in tokens.
    """
    for one in candidates:
        fault = _fault(one, settings, count)
        if fault is not None:
            yield one.trace_id, fault


def surplus(
    candidates: Iterable[Candidate], settings: Selection, seed: int
) -> Iterator[tuple[str, Fault]]:
    """All but the best `per_problem` traces of each problem, by the policy."""
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for one in candidates:
        groups[one.problem.problem_id].append(one)
    for group in groups.values():
        ranked = sorted(group, key=_rank(group, settings.policy, seed))
        for one in ranked[settings.per_problem :]:
            yield one.trace_id, Fault("surplus", f"{settings.policy} of {len(group)}")


def loop(text: str, settings: Loops) -> str:
    """What a text repeats over and over, or "" where it moves on.

    A loop is a piece of `words` words that stands in the text `times` times, in a text
    of which the pieces seen before make up `share` or more. The second condition spares
    long traces that come back to one formula; the first spares copied tables.
    """
    found = words(text)
    size = settings.words
    if len(found) < size * settings.times:
        return ""
    pieces = [tuple(found[i : i + size]) for i in range(len(found) - size + 1)]
    counts = Counter(pieces)
    piece, times = counts.most_common(1)[0]
    repeated = 1 - len(counts) / len(pieces)
    if times < settings.times or repeated < settings.share:
        return ""
    return f"{times} times in {len(found)} words: {' '.join(piece)}"


def scripts(text: str) -> dict[str, float]:
    """Shares of a text's letters by script: latin, cjk, cyrillic, greek, ..."""
    counts: Counter[str] = Counter()
    if text.isascii():
        return {"latin": 1.0}
    for letter, number in Counter(text).items():
        if letter.isalpha():
            counts[_script(letter)] += number
    total = counts.total() or 1
    return {name: number / total for name, number in sorted(counts.items())}


def _fault(
    one: Candidate, settings: Selection, count: Callable[[Candidate], int]
) -> Fault | None:
    told = one.problem.meta.get("difficulty")
    difficulty, wanted = as_number(told), settings.difficulty
    if not wanted.is_open() and (difficulty is None or not wanted.holds(difficulty)):
        return Fault("difficulty", f"{told}")
    if not settings.pass_rate.holds(one.pass_rate):
        return Fault("pass_rate", f"{one.pass_rate:.3f}")
    if not settings.tokens.is_open() and not settings.tokens.holds(count(one)):
        return Fault("length", f"{count(one)} tokens")
    if settings.languages:
        shares = scripts(one.thought + one.solution)
        foreign = {
            name: share
            for name, share in shares.items()
            if share >= 0.1 and name not in settings.languages
        }
        if foreign:
            name = max(foreign, key=lambda key: (foreign[key], key))
            return Fault("language", f"{foreign[name]:.2f} of the letters are {name}")
    if settings.loops.drop and (what := loop(one.thought, settings.loops)):
        return Fault("loop", what)
    return None


def _rank(
    group: list[Candidate], policy: str, seed: int
) -> Callable[[Candidate], tuple[object, ...]]:
    if policy == "shortest":
        return lambda one: (one.tokens or len(one.assistant), one.sample)
    if policy == "random":
        return lambda one: (content_id([seed, one.trace_id]), one.sample)
    if policy == "agreed":
        votes = Counter(one.verdict.answer for one in group)
        return lambda one: (-votes[one.verdict.answer], one.sample)
    return lambda one: (one.sample,)


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "").split(" ")[0].lower()
    cjk = ("cjk", "hiragana", "katakana", "hangul", "bopomofo")
    if name in cjk or name.startswith("cjk"):
        return "cjk"
    if name in ("mathematical", "double", "script", "micro", "angstrom", "feminine"):
        return "latin"
    return name
