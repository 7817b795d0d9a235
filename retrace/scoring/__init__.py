"""Scores: a pure function of problems, traces and verdicts.

`estimates` has the statistics, `benchmark` turns rows into the score of a model on a
benchmark, `comparison` says what a difference means, `table` arranges scores in rows.
"""
