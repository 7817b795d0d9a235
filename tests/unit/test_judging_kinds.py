"""The judges that are not maths: choice, exact, quantity, puzzle; and the command."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from retrace import cli
from retrace.judging import open_judge
from retrace.judging.shuffling import shuffled
from retrace.rows import Answer, Domain, Options, Problem, Puzzle, Tests

CAPITALS = ["Paris", "Rome", "Oslo", "Bern"]


def verdict(problem: Problem, response: str, **policy: object) -> str:
    with open_judge(policy) as judge:
        return str(next(iter(judge.judge([(problem, response)]))).reason.value)


# --- Choice ---------------------------------------------------------------------------


def choice(
    response: str, options: list[str] = CAPITALS, correct: int = 1, **policy: object
) -> str:
    reference = Options(options=options, correct=correct)
    problem = Problem.make("set", Domain.SCIENCE, "?", reference)
    return verdict(problem, response, kind="choice", **policy)


@pytest.mark.parametrize(
    "response",
    [
        "\\boxed{B}",
        "\\boxed{\\text{B}}",
        "\\boxed{(B)}",
        "\\boxed{\\textbf{(B) Rome}}",
        "\\boxed{B. Rome}",
        "\\boxed{b}",
        "\\boxed{\\text{(B)}\\ \\text{Rome}}",
        "\\boxed{Rome}",
        "\\boxed{\\text{rome.}}",
        "The answer is B.",
        "The correct answer is (B), Rome.",
        "**Answer: B**",
        "Answer: option B",
        "<answer>B</answer>",
        "\\boxed{B}. This gives a final value.",
        "B. Rome is a capital, and A is not asked for.",
        "A is tempting, but the final answer is $\\text{B}$.",
    ],
)
def test_every_way_to_name_the_right_option(response: str) -> None:
    assert choice(response) == "correct"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("\\boxed{A}", "wrong_answer"),
        ("The answer is C", "wrong_answer"),
        ("A country has a capital.", "no_answer"),
        ("It could be A, and B is a city.", "no_answer"),
        ("This is a hard one. I give up.", "no_answer"),
        ("\\boxed{A, B}", "no_answer"),
        ("\\boxed{A \\text{ or } B}", "no_answer"),
        ("\\boxed{(A) and (B)}", "no_answer"),
        ("\\boxed{(B)(A)}", "no_answer"),
        ("\\boxed{\\text{B. Paris}}", "no_answer"),
        ("\\boxed{E}", "no_answer"),
        ("\\boxed{42}. The answer is B.", "no_answer"),
        ("", "no_answer"),
        ("<think>\\boxed{B}</think> Hm.", "no_answer"),
    ],
)
def test_other_options_stray_letters_and_hedges(response: str, expected: str) -> None:
    assert choice(response) == expected


def test_the_text_of_an_option_counts_only_if_it_is_unique() -> None:
    assert choice("\\boxed{Rome}", ["Rome", "Rome", "Oslo"], 1) == "no_answer"
    assert choice("\\boxed{Rome}", option_text=False) == "no_answer"


@pytest.mark.parametrize("count", range(2, 17))
def test_two_to_sixteen_options(count: int) -> None:
    options = [f"option number {n}" for n in range(count)]
    last = "ABCDEFGHIJKLMNOP"[count - 1]
    assert choice(f"\\boxed{{{last}}}", options, count - 1) == "correct"
    assert choice("\\boxed{A}", options, count - 1) == "wrong_answer"


def test_the_published_protocol_takes_the_last_letter() -> None:
    response = "\\boxed{B}. This gives a final value."
    assert choice(response, protocol="as_published") == "wrong_answer"


def test_a_position_outside_the_options_is_the_references_fault() -> None:
    assert choice("\\boxed{A}", ["one", "two"], 2) == "unparsable_reference"


def test_shuffling_depends_on_the_record_and_the_seed_alone() -> None:
    first = shuffled(CAPITALS, 1, "record 7", seed=3)
    assert first == shuffled(CAPITALS, 1, "record 7", seed=3)
    assert first[0][first[1]] == "Rome"
    places = Counter(shuffled(CAPITALS, 1, f"record {n}")[1] for n in range(400))
    assert all(60 < places[place] < 140 for place in range(4))


# --- Exact ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "response", "expected"),
    [
        ("knight", "The answer is Knight.", "correct"),
        ("a b c", "\\boxed{\\text{a  b c}}", "correct"),
        ("a b c", "abc", "wrong_answer"),
        ("7", "07", "wrong_answer"),
        ("7", "", "no_answer"),
        ("", "7", "unparsable_reference"),
    ],
)
def test_exact(gold: str, response: str, expected: str) -> None:
    problem = Problem.make("set", Domain.PUZZLE, "?", Answer(answer=gold))
    assert verdict(problem, response, kind="exact") == expected


# --- Quantity -------------------------------------------------------------------------


def quantity(gold: str, answer: str, unit: str = "", **policy: object) -> str:
    meta = {"unit": unit} if unit else {}
    problem = Problem.make("set", Domain.SCIENCE, "?", Answer(answer=gold), meta)
    return verdict(problem, f"\\boxed{{{answer}}}", kind="quantity", **policy)


@pytest.mark.parametrize(
    ("gold", "unit", "answer", "expected"),
    [
        ("9.81", "m/s^2", "9.8 \\text{ m/s}^2", "correct"),
        ("9.81", "m/s^2", "981 \\mathrm{cm} / \\mathrm{s}^{2}", "correct"),
        ("9.81", "m/s^2", "9.81", "correct"),
        ("9.81", "m/s^2", "9.81 \\text{ m/s}", "wrong_answer"),
        ("9.81", "m/s^2", "12 \\text{ m/s}^2", "wrong_answer"),
        ("2.5", "kJ", "2500 \\text{ J}", "correct"),
        ("2.5 kJ", "", "2.5 \\times 10^{3} \\text{ J}", "correct"),
        ("6.02e23", "", "6.02 \\times 10^{23}", "correct"),
        ("300", "K", "27 ^\\circ C", "correct"),
        ("1.5", "nm", "15 \\text{ Å}", "correct"),
        ("-3", "V", "3 \\text{ V}", "wrong_answer"),
        ("3", "V", "E = 3.01 \\text{ V}", "correct"),
        ("3", "V", "\\text{three volts}", "wrong_answer"),
        ("3", "V", "3 \\text{ m**999999999}", "wrong_answer"),
        ("3", "V", "3 \\text{ __import__('os')}", "wrong_answer"),
        ("3", "V", "10^{999999999}", "wrong_answer"),
        ("4.2", "$10^{-3}$ mol", "0.0042 \\text{ mol}", "correct"),
        ("4.2", "$10^{-3}$ mol", "4.2", "correct"),
        ("4.2", "$10^{-3}$ mol", "4.2 \\text{ mol}", "wrong_answer"),
        ("4.2", "%", "4.2\\%", "correct"),
        ("0.042", "", "4.2\\%", "correct"),
        ("strong", "", "3", "unparsable_reference"),
    ],
)
def test_quantities(gold: str, unit: str, answer: str, expected: str) -> None:
    assert quantity(gold, answer, unit) == expected


def test_a_missing_unit_and_the_tolerance_are_policy() -> None:
    assert quantity("3", "3", "V", missing_unit="reject") == "wrong_answer"
    assert quantity("100", "104") == "correct"
    assert quantity("100", "104", tolerance=0.01) == "wrong_answer"


# --- Puzzle ---------------------------------------------------------------------------


def puzzle(family: str, row: int = 0) -> tuple[Problem, str]:
    import reasoning_gym

    entry = reasoning_gym.create_dataset(family, size=row + 1, seed=7)[row]
    reference = Puzzle(family=family, entry=json.dumps(entry))
    problem = Problem.make("set", Domain.PUZZLE, entry["question"], reference)
    return problem, str(entry["answer"])


@pytest.mark.slow
def test_a_puzzles_own_answer_is_right_and_nonsense_is_not() -> None:
    nonsense = ("0.5", "no idea", "((((", "1" * 5000)
    items: list[tuple[Problem, str]] = []
    for family in ("chain_sum", "word_sorting", "countdown", "gcd"):
        problem, own = puzzle(family)
        answers = (f" {own} ", *nonsense)
        items += [(problem, f"<answer>{answer}</answer>") for answer in answers]
    with open_judge({"kind": "puzzle"}) as judge:
        found = [judgement.reason.value for judgement in judge.judge(items)]
    assert found == ["correct", *["wrong_answer"] * len(nonsense)] * 4


def test_scorers_that_pass_wrong_answers_are_refused() -> None:
    problem, answer = puzzle("coin_flip")
    found = verdict(problem, f"<answer>{answer}</answer>", kind="puzzle")
    assert found == "unparsable_reference"


def test_a_puzzle_without_an_answer_of_its_own_is_refused() -> None:
    reference = Puzzle(family="gcd", entry='{"answer": null, "metadata": {}}')
    problem = Problem.make("set", Domain.PUZZLE, "?", reference)
    assert (
        verdict(problem, "<answer>1</answer>", kind="puzzle") == "unparsable_reference"
    )


# --- All of them ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["math", "exact", "choice", "quantity", "puzzle"])
def test_a_reference_of_another_kind_is_never_a_pass(kind: str) -> None:
    problem = Problem.make("set", Domain.CODE, "?", Tests(style="stdin", tests=[]))
    assert verdict(problem, "\\boxed{A}", kind=kind) == "unparsable_reference"


@pytest.mark.parametrize("kind", ["math", "exact", "choice", "quantity", "puzzle"])
def test_contracts_are_the_same_twice_and_name_the_policy(kind: str) -> None:
    with open_judge({"kind": kind}) as one, open_judge({"kind": kind}) as other:
        assert one.contract() == other.contract()
        assert one.contract()["policy"]["kind"] == kind
        json.dumps(one.contract())


# --- The command ----------------------------------------------------------------------


def test_the_command_explains_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["judge", "[3, 8)", "so \\boxed{3 \\le x < 8}"]) == 0
    shown = capsys.readouterr().out
    assert "verdict    correct" in shown
    assert "answer     3 \\le x < 8" in shown
    assert "decided by structure" in shown


def test_the_command_says_no_by_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["judge", "-\\frac{3}{4}", "-0.75"]) == 0
    assert cli.main(["judge", "12", "13"]) == 1
    assert "12 is not 13" in capsys.readouterr().out
    assert cli.main(["judge", "proof", "13"]) == 2
    assert cli.main(["judge", "1", "1", "--policy", '{"kind": "maths"}']) == 2
    assert "expected one of" in capsys.readouterr().err
