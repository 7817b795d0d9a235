"""Benchmark problems in training data: what is found, what is not, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from curation_rows import problem as word_problem
from curation_rows import rewrite, trace, verdict

from retrace.curation import plants
from retrace.curation.build import Recipe, build
from retrace.curation.decontaminate import Index
from retrace.curation.meaning import Encoder
from retrace.curation.settings import Decontamination, Meaning, Settings
from retrace.rows import Answer, Domain, Problem

TANK = (
    r"A water tank loses $\frac{3}{8}$ of its content on the first night and another"
    r" $1{,}250$ litres on the second, after which $x$ litres remain. If the tank held"
    r" $y$ litres and $y \geq 4 \cdot x$, where $m$ and $n$ are coprime whole numbers,"
    r" find the least ratio $\frac{m}{n}$ that the mayor can report."
)
RATIO = (
    r"The sides of a kite are in ratio $m/n$, where $m$ and $n$ are coprime whole"
    r" numbers. A gardener fences it with 96 metres of rope and keeps 12 metres for the"
    r" gate that opens to the west. Find $m+n$."
)
KITE = (
    "In kite $ABCD$ a circle meets the side $AB$ at a third of its length, which is 14"
    " units. How far is the centre from $C$?"
)
SHORT = r"Compute the greatest prime divisor of $9{,}991$."
TINY = r"Compute $8!$."
SHOUTED = re.sub(r"\\[A-Z]+", lambda m: m.group().lower(), TANK.upper())
PLAIN = (
    "A water tank loses 3/8 of its content on the first night and another 1250 litres"
    " on the second - after which t litres remain! If the tank held k litres and"
    " k >= 4t where a and b are coprime whole numbers find the least ratio a/b that the"
    " mayor can report"
)
BENCHMARK = [
    Problem.make("exam", Domain.MATH, text, Answer(answer="1"))
    for text in (TANK, RATIO, SHORT, TINY, KITE)
]
CLEAN = [word_problem(number).statement for number in range(40)]


@pytest.fixture(scope="module")
def index() -> Index:
    return Index(BENCHMARK, CLEAN, Decontamination())


def found(index: Index, text: str) -> list[tuple[str, str]]:
    names = {one.problem_id: one.statement for one in BENCHMARK}
    return [(names[hit.problem_id], hit.method) for hit in index.in_statement(text)]


@pytest.mark.parametrize(
    ("text", "leaked", "method"),
    [
        (TANK, TANK, "exact"),
        (SHOUTED, TANK, "exact"),
        (PLAIN, TANK, "exact"),
        ("Solve carefully and box the result. " + TANK, TANK, "pieces"),
        (TANK.replace("another", "a further").replace("that", "which"), TANK, "pieces"),
        (SHORT, SHORT, "exact"),
        ("Please: compute the greatest prime divisor of 9991", SHORT, "contained"),
        (SHORT + " Reason step by step and box the answer at the end.", SHORT,
         "contained"),
        (KITE.lower(), KITE, "exact"),
        (KITE.replace("ABCD", "PQRS"), KITE, "exact"),
        (re.sub(r"[^A-Za-z0-9 ]", "", TANK), TANK, "exact"),
        (TINY, TINY, "exact"),
        (f"<p>{TANK}</p>", TANK, "exact"),
        (TANK.replace("$x$", "$a_1$").replace("$y$", "$a_{2}$"), TANK, "exact"),
        (TANK + " (A) 12 (B) 15 (C) 18 (D) 21 (E) 24", TANK, "pieces"),
    ],
)  # fmt: skip
def test_a_leak_is_found(index: Index, text: str, leaked: str, method: str) -> None:
    assert found(index, text) == ([(leaked, method)] if leaked else [])


@pytest.mark.parametrize(
    "text",
    [
        # The same phrase, another problem.
        "Find $p+q$ for the slope of the roof, where $p$ and $q$ are coprime whole"
        " numbers and the house is 17 metres wide.",
        # The same template, other numbers.
        TANK.replace("3}{8", "2}{7").replace("1{,}250", "4{,}975"),
        SHORT.replace("9{,}991", "8{,}051"),
        "Compute $7!$.",
        # A shorter text than any piece.
        "Compute.",
        "",
    ],
)
def test_what_is_no_leak_is_not_hit(index: Index, text: str) -> None:
    assert found(index, text) == []


def test_the_same_numbers_in_other_words_are_a_paraphrase() -> None:
    asked = Problem.make(
        "exam",
        Domain.MATH,
        "A baker sells 48 rolls on Monday, 31 rolls on Tuesday and 77 pretzels on"
        " Friday. Which share of the goods are pretzels?",
        Answer(answer="1"),
    )
    index = Index([asked], CLEAN, Decontamination())
    (hit,) = index.in_statement(
        "Which share of a baker's goods are pretzels, when 31 rolls go on Tuesday, 48"
        " rolls on Monday and, on Friday, 77 pretzels are sold?"
    )
    assert hit.method == "paraphrase"
    assert index.in_statement("Add 48, 31 and 77 and give the sum of digits.") == []


def test_a_problem_inside_a_trace_is_found_where_it_stands(index: Index) -> None:
    filler = "First I look at the units and then I go on with the next step. " * 50
    (hit,) = index.in_text(filler + TANK + filler)
    assert (hit.where, hit.method, hit.problem_id) == (
        "trace", "pieces", BENCHMARK[0].problem_id,
    )  # fmt: skip
    assert hit.matched.startswith("· water tank loses 3 8 of its content")
    assert index.in_text(filler) == []


def test_scattered_words_of_a_problem_are_no_leak(index: Index) -> None:
    parts = TANK.split(" ")
    filler = " then we go on with many other words about the sea and its ships " * 20
    apart = filler.join(" ".join(parts[i : i + 9]) for i in range(0, len(parts), 9))
    assert index.in_text(apart) == []


def test_drawings_tell_problems_apart() -> None:
    def drawn(size: int) -> str:
        return (
            "In the figure below, find the shaded area between both round shapes."
            f" [asy] draw(circle((0,0),{size})); draw(circle(({size},1),{size + 3}));"
            " [/asy]"
        )

    asked = Problem.make("exam", Domain.MATH, drawn(40), Answer(answer="1"))
    index = Index([asked], CLEAN, Decontamination())
    assert index.in_statement(drawn(40))
    assert not index.in_statement(drawn(71))


def test_a_template_shared_by_many_benchmark_problems_is_boilerplate() -> None:
    def generated(a: int, b: int) -> str:
        return (
            f"A farmer owns {a} sheep and buys {b} more sheep at the market in the"
            " valley before noon. How many sheep does the farmer own in the end?"
        )

    asked = [
        Problem.make("exam", Domain.MATH, generated(a, a + 7), Answer(answer="1"))
        for a in range(20, 30)
    ]
    index = Index(asked, CLEAN, Decontamination())
    assert index.in_statement(generated(23, 30))
    assert not index.in_statement(generated(41, 19))


def test_a_copy_in_two_benchmarks_is_not_boilerplate() -> None:
    copies = [
        Problem.make(name, Domain.MATH, TANK + tail, Answer(answer="1"))
        for name, tail in (("a", ""), ("b", " Hurry."), ("c", " Think."), ("d", " Go."))
    ]
    index = Index(copies, CLEAN, Decontamination())
    assert {hit.set for hit in index.in_statement("Now: " + TANK)} == set("abcd")


class Topics:
    """Vectors of which topics a text is about: what an encoder does, in four words."""

    topics = (("tank", "cistern"), ("litres",), ("night", "evening"), ("mayor",))

    def __init__(self) -> None:
        self.batches = 0

    def read(self, texts: Iterable[str]) -> None:
        self.batches += len(list(texts)) > 0

    def vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        found = [
            [any(word in text.lower() for word in words) for words in self.topics]
            for text in texts
        ]
        counts = np.array(found, np.float32) + 1e-3
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


RETOLD = (
    "In one evening 3/8 of what is in a cistern drips away, in the next 1250 litres"
    " do; with 4 times as much left as came, what quotient shall the mayor announce?"
)


def test_another_wording_is_found_by_its_meaning() -> None:
    encoder = Topics()
    settings = Decontamination(meaning=Meaning(weights="w", similarity=0.9))
    index = Index(BENCHMARK, CLEAN, settings, encoder)
    index.read([RETOLD])
    assert found(index, RETOLD) == [(TANK, "meaning")]
    assert encoder.batches == 1
    # The same topic with other numbers is another problem.
    assert found(index, RETOLD.replace("1250", "77").replace("3/8", "9/14")) == []
    assert found(Index(BENCHMARK, CLEAN, Decontamination(), encoder), RETOLD) == []


@pytest.mark.slow
def test_an_encoder_gives_a_text_one_vector(tmp_path: Path) -> None:
    """A BERT of two layers with random weights, saved and loaded as a real one."""
    transformers = pytest.importorskip("transformers")
    words = sorted({*RETOLD.split(), *TANK.split()})
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (tmp_path / "vocab.txt").write_text("\n".join(entries), "utf-8")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.BertConfig(
        vocab_size=len(entries), hidden_size=32, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=512,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path)
    encoder = Encoder(str(tmp_path))
    texts = [RETOLD, TANK, "litres", RETOLD * 60]
    together = encoder.vectors(texts)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    alone = Encoder(str(tmp_path)).vectors([TANK])
    assert together[1] == pytest.approx(alone[0], abs=1e-5)
    assert float(together[0] @ together[2]) < 0.999


def test_planted_leaks_are_found_in_the_run() -> None:
    asked = [word_problem(number, "exam") for number in range(1000, 1060)]
    index = Index(asked, CLEAN, Decontamination())
    measured = plants.measure(index, asked, CLEAN, 50)
    for name, kind in measured["kinds"].items():
        if kind["promised"] is not None:
            assert kind["recall"] >= kind["promised"], name
    assert measured["kinds"]["in_trace"]["planted"] == 50
    assert (measured["controls"], measured["false"]) == (50, 0)


def test_every_change_of_a_plant_changes_the_text() -> None:
    for kind in plants.KINDS[1:]:
        assert kind.change(TANK) != TANK, kind.name
    assert "3/8" in plants.typesetting(TANK)
    assert r"\frac" in plants.renamed(TANK)


def test_no_word_of_a_confidential_set_is_reported() -> None:
    one = word_problem(3)
    written = trace(one, text=f"As in {RATIO}\n\nSo \\boxed{{1}}.")
    judged = verdict(written)
    recipe = Recipe(
        {"stock": "{statement}"}, {"stock": 9}, "S", Settings(), frozenset({"exam"})
    )
    rewrites = [rewrite(one, written, judged)]
    dataset = build(recipe, [one], [written], [judged], rewrites, BENCHMARK, len)
    (hit,) = dataset.report["contamination"]["hits"]
    assert (hit["benchmark_id"], hit["matched"]) == (BENCHMARK[1].problem_id, "")
    assert "gardener" not in dataset.rejected[0].detail


def test_contaminated_rows_are_dropped_with_evidence() -> None:
    leaked = Problem.make("stock", Domain.MATH, RATIO, Answer(answer="5"))
    quoting = word_problem(1)
    clean = word_problem(2)
    closed = BENCHMARK[0].model_copy(update={"meta": {"gated": True}})
    traces = [
        trace(leaked),
        trace(quoting, text=f"I recall: {TANK}\n\nNothing.\n\nSo \\boxed{{1}}."),
        trace(clean),
    ]
    problems = [leaked, quoting, clean]
    verdicts = [verdict(one) for one in traces]
    rows = zip(problems, traces, verdicts, strict=True)
    rewrites = [rewrite(*row) for row in rows]
    recipe = Recipe({"stock": "{statement}"}, {"stock": 9}, "S", Settings())
    results = [
        build(
            recipe,
            problems,
            traces,
            verdicts,
            rewrites,
            [closed, *BENCHMARK[1:]],
            len,
            processes,
        )
        for processes in (1, 2)
    ]
    assert results[0] == results[1]
    assert [row.problem_id for row in results[0].train] == [clean.problem_id]
    by_problem = {row.problem_id: row for row in results[0].rejected}
    assert by_problem[leaked.problem_id].reason == "benchmark_in_statement"
    assert "gardener fences" in by_problem[leaked.problem_id].detail
    inside = by_problem[quoting.problem_id]
    assert inside.reason == "benchmark_in_trace"
    assert closed.problem_id in inside.detail
    assert "tank" not in inside.detail
    hits = results[0].report["contamination"]["hits"]
    assert sorted(hit["method"] for hit in hits) == ["exact", "pieces"]
