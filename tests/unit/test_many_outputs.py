"""Statements that accept several outputs."""

from __future__ import annotations

import pytest

from retrace.problems.many_outputs import says_many_outputs

SEVERAL = [
    "If there are multiple answers, print any of them.",
    "If there exist several\nsolutions output any.",
    "In case of many possible ways, choose whichever you like.",
    "Print any valid colouring of the graph.",
    "Find any suitable pair of indices.",
    "Any of these is accepted.",
    "Print the edges of the tree in any order.",
    "When more than one permutation fits, different answers are accepted.",
]
ONE = [
    "Print one integer: the number of ways to choose any two cards.",
    "You may choose any index i and increase a_i. Print the least number of moves.",
    "The road starts in any city. Print the shortest length.",
    "The words are given in any case. Print their number.",
    "Print the answer modulo 998244353.",
]


@pytest.mark.parametrize("statement", SEVERAL)
def test_several_outputs_are_noticed(statement: str) -> None:
    assert says_many_outputs(statement)


@pytest.mark.parametrize("statement", ONE)
def test_one_output_is_noticed(statement: str) -> None:
    assert not says_many_outputs(statement)
