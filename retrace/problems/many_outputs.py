"""Does a programming problem accept more than one output?

APPS and most of TACO do not say. The wording of a statement often does: most problems
whose published solutions fail their own tests speak of several answers. A list, where a
data set comes with one, is better than this guess.
"""

from __future__ import annotations

import re

_ANSWERS = (
    r"(?:answers?|solutions?|outputs?|ways|options|strings|sequences|permutations|arrays"
    r"|variants|possibilities|pairs|sets|schedules|trees|matrices|numbers|plans)"
)
_SAYS = re.compile(
    # If there are multiple answers ..., If several solutions exist ...
    rf"\b(?:if|when|in case)\b[^.]{{0,40}}"
    r"\b(?:multiple|several|many|more than one|various|different)\b"
    rf"[^.]{{0,40}}{_ANSWERS}"
    # print any of them, output any valid ..., you may find any
    r"|\b(?:print|output|find|report|return|write|display)\b[^.]{0,30}"
    r"\bany (?:of|one|valid|possible|suitable|correct|such|answer|solution|optimal)"
    r"|\b(?:any|all) of (?:them|these|which) (?:is|are|will be|would be) accepted"
    # any order
    r"|\b(?:print|output|return|given|displayed|listed)\b[^.]{0,60}\bin any order\b",
    re.IGNORECASE,
)


def says_many_outputs(statement: str) -> bool:
    """Whether a statement says that several outputs are right."""
    return _SAYS.search(" ".join(statement.split())) is not None
