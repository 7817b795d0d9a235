"""Scores as a table: the same cells for the terminal, for Markdown and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    "benchmark",
    "model",
    "n",
    "accuracy",
    "95 % interval",
    "published",
    "verdict",
)
PLOT_COLUMNS = (
    "benchmark",
    "model",
    "category",
    "value",
    "problems",
    "accuracy",
    "low",
    "high",
)
KEYS = (
    "benchmark",
    "model",
    "accuracy",
    "low",
    "high",
    "complete",
    "problems",
    "samples_expected",
    "samples_judged",
    "samples_missing",
    "published",
    "verdict",
    "categories",
    "items",
)
"""What every score file has."""
CAVEAT = "*"
UNLIKE = (
    "the published number was made by another protocol, or its protocol is not stated:"
    " `retrace score` names the differences."
)


class ScoreFileError(ValueError):
    """A file that is not a score."""


def read_scores(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Read score files, and all that lie below folders, by benchmark and then model.

    Raises:
        ScoreFileError: no file at all, or one that is not a score.
    """
    files: list[Path] = []
    for path in paths:
        found = [path] if path.is_file() else sorted(path.rglob("*.json"))
        if not found:
            raise ScoreFileError(
                f"no scores in {path}: run the rule score_benchmark first"
            )
        files += found
    scores = [_read(path) for path in dict.fromkeys(files)]
    return sorted(scores, key=lambda score: (score["benchmark"], score["model"]))


def cells(score: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a score, in the order of COLUMNS."""
    return (
        str(score["benchmark"]),
        str(score["model"]),
        sample_count(score),
        number(score["accuracy"]),
        interval(score["low"], score["high"]),
        ", ".join(number(entry["score"]) for entry in score["published"]) or "–",
        _verdict(score) if score["published"] else "–",
    )


def footnotes(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """What must be said below the table, a line each."""
    lines = []
    if any(unlike(score) for score in scores):
        lines.append(f"{CAVEAT} {UNLIKE}")
    incomplete = sum(not score["complete"] for score in scores)
    if incomplete:
        lines.append(
            f"{incomplete} incomplete: missing samples are left out, not counted wrong."
        )
    return lines


def unlike(score: Mapping[str, Any]) -> bool:
    """Whether the published number is not known to be made as ours is."""
    if not score["published"]:
        return False
    protocol = score["published"][0]["protocol"]
    return bool(protocol["differences"]) or not protocol["known"]


def _verdict(score: Mapping[str, Any]) -> str:
    return f"{score['verdict']} {CAVEAT}" if unlike(score) else str(score["verdict"])


def sample_count(score: Mapping[str, Any]) -> str:
    """Problems times samples, after the number that was judged if that is less."""
    n = str(score["problems"])
    if score["samples_expected"] != score["problems"]:
        n += f" × {score['samples_expected'] / score['problems']:g}"
    return n if score["complete"] else f"{score['samples_judged']} of {n}"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def interval(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{number(low)} to {number(high)}"


def published(entry: Mapping[str, Any]) -> str:
    """A published number with the version that it is from."""
    version = f" ({entry['version']})" if entry["version"] else ""
    return f"{number(entry['score'])}{version}"


def markdown(scores: Sequence[Mapping[str, Any]]) -> str:
    lines = [_line(COLUMNS), _line(("---",) * len(COLUMNS))]
    lines += [_line(cells(score)) for score in scores]
    return "\n".join(lines + [f"\n{line}" for line in footnotes(scores)])


def plot_rows(scores: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Scores and their categories as rows of PLOT_COLUMNS, for `dvc plots`."""
    found = []
    for score in scores:
        parts = [("all", "all", score)]
        for category, values in score["categories"].items():
            parts += [(category, value, part) for value, part in values.items()]
        for category, value, part in parts:
            numbers = (part[key] for key in PLOT_COLUMNS[4:])
            found.append(
                (score["benchmark"], score["model"], category, value, *numbers)
            )
    return found


def records(scores: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Scores without their item results, for programs."""
    return [{k: v for k, v in score.items() if k != "items"} for score in scores]


def _read(path: Path) -> dict[str, Any]:
    try:
        score = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ScoreFileError(f"{path}: not JSON: {error}") from error
    missing = [key for key in KEYS if not isinstance(score, dict) or key not in score]
    if missing:
        raise ScoreFileError(
            f"{path}: not a score: without {', '.join(missing)}; expected a file as"
            " score_benchmark writes it"
        )
    return dict(score)


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
