"""The verdicts of a comparison with a published number, and when they are reached."""

from typing import Final

# A grader alone moved MATH500 from 82.4 to 86.4 for the same answers: a difference
# below 5 points says nothing about a model, so it is no failure to reproduce.
MARGIN = 5.0
ALPHA = 0.05

REPRODUCED = "reproduced"
UNDECIDED: Final = "not distinguishable"
DIFFERS = "differs"
NOT_PUBLISHED = "not published"
NOTHING_JUDGED = "nothing judged"
