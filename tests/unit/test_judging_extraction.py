"""Where an answer is found in a response, and where it is not."""

import pytest

from retrace.judging import published
from retrace.judging.extraction import find, reference_answer
from retrace.sections import boxes, parse


def answer(text: str, *forms: str) -> str | None:
    found = find(text, forms) if forms else find(text)  # type: ignore[arg-type]
    return found.answer if found else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"first \boxed{1}, then \boxed{2}.", "2"),
        (r"so \boxed{\frac{1}{\sqrt{2}}} and we are done", r"\frac{1}{\sqrt{2}}"),
        (r"the set \boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed {7}", "7"),
        (r"\fbox{8}", "8"),
        (r"\boxed{\boxed{9}}", "{9}"),
        (r"good \boxed{3} but \boxed{4", "3"),
        (r"lost { brace \boxed{5}", "5"),
        (r"\boxed{3}. Put it in \boxed{}.", "3"),
        (r"\boxed 6", "6"),
        (r"\boxed{1} \{ \boxed{2} \}", "2"),
    ],
)
def test_the_last_balanced_box(text: str, expected: str) -> None:
    assert answer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We get 40 and 2. The answer is 42.", "42"),
        ("The final answer is $\\frac{3}{4}$. I hope it is correct.", r"\frac{3}{4}"),
        ("**Final Answer:** 12 apples", "12 apples"),
        ("Answer: 3.5", "3.5"),
        ("the answer is 7 because 3+4 = 7", "7"),
        ("The answer is 1. No: the answer is 2", "2"),
        ("so\n#### 1,234", "1,234"),
        ("<answer> $x+1$ </answer>", "x+1"),
    ],
)
def test_stated_answers(text: str, expected: str) -> None:
    assert answer(text) == expected


@pytest.mark.parametrize(
    "text",
    ["we get 3 + 4 = 7", "There are 12 ways.", "", "The answer is", "\\boxed{"],
)
def test_the_last_number_of_a_text_is_no_answer(text: str) -> None:
    assert answer(text) is None


def test_a_set_can_switch_a_form_off() -> None:
    assert answer("The answer is 42.", "boxed") is None


def test_forms_are_tried_in_the_order_given() -> None:
    text = "The answer is 1.\n#### 2"
    assert answer(text, "hashes", "final_answer") == "2"


def test_boxes_that_belong_together_form_a_group() -> None:
    found = find(r"$\boxed{2}$, $\boxed{3}$ and $\boxed{5}$")
    assert found is not None
    assert found.group == ("2", "3", "5")


def test_boxes_far_apart_form_no_group() -> None:
    found = find(r"Step one gives \boxed{2}. After much more work, \boxed{3}.")
    assert found is not None
    assert found.group == ("3",)
    assert found.boxes == ("2", "3")


def test_a_reference_is_the_last_box_of_its_solution() -> None:
    assert reference_answer(r"Thus $\boxed{4}$, and then $x = \boxed{5}$.") == "5"
    assert reference_answer(r"\boxed{4} or \boxed{5}") == "4, 5"
    assert reference_answer("As required. QED") is None


LONG = [
    "\n" * 200_000,
    "####" * 50_000,
    " \n####" * 30_000,
    "<answer>" * 30_000,
    "the answer is " * 20_000,
    "answer" + "-" * 200_000,
    "$" * 99_999,
    "\\[" * 50_000,
    "**" * 50_000,
    "final answer is $" * 10_000,
    "-" * 300_000,
    "1" * 300_000,
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", LONG, ids=[text[:8] for text in LONG])
def test_long_responses_cost_little(text: str) -> None:
    for form in ("boxed", "answer_tag", "final_answer", "hashes", "conclusion"):
        answer(text, form)
    published.answer(text)
    assert parse(text).solution == text.strip()


def test_many_boxes_and_braces_cost_linear_time() -> None:
    assert len(boxes("\\boxed{1}" * 20_000)) == 20_000
    assert boxes("\\boxed{" * 50_000) == []
    assert len(boxes("{" * 50_000 + "\\boxed{3}" + "}" * 50_000)) == 1
