"""Every layout of the markers that real responses have."""

import pytest

from retrace.sections import Sections, parse

T, ET, S, ES = (
    "<|begin_of_thought|>",
    "<|end_of_thought|>",
    "<|begin_of_solution|>",
    "<|end_of_solution|>",
)


@pytest.mark.parametrize("gap", ["", "\n", "\n\n", " \n\n\n "])
def test_the_four_markers_with_any_white_space(gap: str) -> None:
    text = f"{T}{gap}try 3{gap}{ET}{gap}{S}{gap}it is 4{gap}{ES}"
    assert parse(text) == Sections("try 3", "it is 4", True, False, True, True)


def test_no_marker_makes_the_whole_text_the_solution() -> None:
    assert parse(" plain ") == Sections("", "plain", False, False, False, False)


@pytest.mark.parametrize("begin", [T, "<think>"])
def test_a_thought_that_never_ends_has_no_solution(begin: str) -> None:
    sections = parse(f"{begin}\nlet me see \\boxed{{3}}")
    assert sections.open_thought
    assert sections.solution == ""
    assert sections.thought.startswith("let me see")


def test_think_tags_with_the_opening_one_left_to_the_prompt() -> None:
    assert parse("hm\n</think>\n\nIt is 5.").solution == "It is 5."
    assert parse("<think>hm</think>It is 5.").thought == "hm"


def test_a_solution_cut_short_is_not_closed() -> None:
    sections = parse(f"{T}a{ET}{S}the ans")
    assert sections.solution == "the ans"
    assert not sections.closed
    assert not sections.complete


def test_text_after_the_end_is_dropped() -> None:
    assert parse(f"{T}a{ET}{S}b{ES}\nUser: next").solution == "b"


def test_missing_end_of_thought_still_divides() -> None:
    sections = parse(f"{T}a {S}b{ES}")
    assert (sections.thought, sections.solution) == ("a", "b")
    assert not sections.complete


def test_a_second_solution_counts() -> None:
    assert parse(f"{T}a{ET}{S}first{ES}{S}second{ES}").solution == "second"
    assert not parse(f"{T}a{ET}{S}first{ES}{S}second{ES}").complete


def test_empty_sections_are_not_complete() -> None:
    assert not parse(f"{T}{ET}{S}b{ES}").complete


def test_only_an_end_of_solution() -> None:
    assert parse(f"b{ES}").solution == "b"
