"""Which problems and which of their traces are kept."""

from __future__ import annotations

from typing import Any

import pytest
from curation_rows import problem, trace, verdict

from retrace.curation import select
from retrace.curation.candidates import Candidate
from retrace.curation.deduplicate import clusters
from retrace.curation.settings import Deduplication, Loops, Selection


def candidate(sample: int = 0, **other: Any) -> Candidate:
    one = problem(1, difficulty=other.pop("difficulty", 3))
    written = trace(one, sample)
    values: dict[str, Any] = {
        "problem": one,
        "trace_id": written.trace_id,
        "sample": sample,
        "thought": "Adding both gives it.",
        "solution": "It is \\boxed{5}.",
        "by": "rule",
        "verdict": verdict(written, answer=other.pop("answer", "5")),
        "rewritten": None,
        "pass_rate": 0.5,
        "tokens": 100,
    }
    return Candidate(**values | other)


def reasons(one: Candidate, **settings: Any) -> list[str]:
    wanted = Selection.model_validate(settings)
    found = select.unsuitable([one], wanted, lambda c: len(c.assistant.split()))
    return [fault.reason for _, fault in found]


@pytest.mark.parametrize(
    ("settings", "other", "expected"),
    [
        ({}, {}, []),
        ({"difficulty": {"min": 4}}, {}, ["difficulty"]),
        ({"difficulty": {"min": 2, "max": 3}}, {}, []),
        ({"difficulty": {"min": 2}}, {"difficulty": "hard"}, ["difficulty"]),
        ({"pass_rate": {"max": 0.4}}, {}, ["pass_rate"]),
        ({"pass_rate": {"min": 0.1, "max": 0.9}}, {}, []),
        ({"tokens": {"max": 5}}, {}, ["length"]),
        ({"languages": ["latin"]}, {}, []),
        ({"languages": ["latin"]}, {"thought": "我们先把两个数加起来"}, ["language"]),
        ({"languages": ["latin"]}, {"thought": "Let α be the sum π + 2 here."}, []),
        ({"languages": ["latin", "cjk"]}, {"thought": "我们先把两个数加起来"}, []),
    ],
)  # fmt: skip
def test_a_row_is_suitable_or_says_why(
    settings: dict[str, Any], other: dict[str, Any], expected: list[str]
) -> None:
    assert reasons(candidate(**other), **settings) == expected


CIRCLE = "Wait, let me check again that the sum of both numbers is even or odd. "
STORY = " ".join(problem(number).statement for number in range(60))


@pytest.mark.parametrize(
    ("text", "is_loop"),
    [
        (STORY, False),
        (CIRCLE * 12, True),
        (STORY[:1500] + CIRCLE * 60, True),
        (STORY + CIRCLE * 7, False),
        ("So x = 2 and y = 3, hence x + y = 5. " * 3, False),
        ("", False),
    ],
)
def test_a_loop_is_a_text_that_goes_round(text: str, is_loop: bool) -> None:
    assert bool(select.loop(text, Loops())) == is_loop


def test_a_loop_names_what_it_repeats() -> None:
    said = select.loop(CIRCLE * 12, Loops())
    assert said.startswith("12 times in 180 words: ")
    assert reasons(candidate(thought=CIRCLE * 12)) == ["loop"]


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("first", {0, 1}), ("shortest", {1, 3}), ("agreed", {1, 2})],
)
def test_the_best_of_n_by_policy(policy: str, kept: set[int]) -> None:
    rows = [
        candidate(sample, tokens=tokens, answer=answer)
        for sample, (tokens, answer) in enumerate(
            [(90, "4"), (20, "5"), (50, "5"), (30, "7")]
        )
    ]
    settings = Selection.model_validate({"policy": policy, "per_problem": 2})
    dropped = {trace_id for trace_id, _ in select.surplus(rows, settings, 0)}
    assert {one.sample for one in rows if one.trace_id not in dropped} == kept


def test_a_random_choice_depends_on_seed_alone() -> None:
    rows = [candidate(sample) for sample in range(20)]
    settings = Selection(policy="random")

    def kept(seed: int, order: list[Candidate]) -> set[str]:
        dropped = {trace_id for trace_id, _ in select.surplus(order, settings, seed)}
        return {one.trace_id for one in order} - dropped

    assert kept(1, rows) == kept(1, rows[::-1])
    assert len({frozenset(kept(seed, rows)) for seed in range(8)}) > 1


# --- Duplicates ---


def grouped(*texts: str, **settings: Any) -> list[list[str]]:
    keyed = {str(place): text for place, text in enumerate(texts)}
    return clusters(keyed, Deduplication.model_validate(settings)).groups()


LONG = STORY[:900]


def test_near_duplicates_are_one_cluster() -> None:
    other = problem(99).statement
    assert grouped(LONG, other, "Solve this. " + LONG) == [["0", "2"]]
    assert grouped(LONG, LONG.replace("keeper", "guard", 1), other) == [["0", "1"]]
    assert grouped(LONG, "Solve this. " + LONG, near=False) == []


def test_other_numbers_are_another_problem() -> None:
    changed = LONG.replace("counts ", "counts 7", 1)
    assert grouped(LONG, changed) == []


def test_typesetting_and_names_make_no_difference() -> None:
    assert grouped(r"Find $\frac{1}{2}x$.", "find 1/2 y") == [["0", "1"]]


def test_clusters_depend_on_no_order() -> None:
    texts = {f"{n:03d}": problem(n % 50).statement for n in range(100)}
    texts |= {f"x{n}": f"Read on. {problem(n).statement}" for n in range(50)}
    turned = dict(reversed(list(texts.items())))
    assert clusters(texts, Deduplication()) == clusters(turned, Deduplication())
    assert len(clusters(texts, Deduplication()).exact) == 50
