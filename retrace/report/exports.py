"""Figures as files for Snakemake's report, and their numbers for `dvc plots`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retrace.report import figures, page, summary
from retrace.report.inputs import Inputs
from retrace.scoring.table import PLOT_COLUMNS, plot_rows

# The light colours of the page's style sheet.
COLOURS = {
    "ink": "#16191f",
    "muted": "#565d69",
    "line": "#dfe2e7",
    "series-1": "#2764c4",
    "series-2": "#1c8a5c",
    "series-3": "#cc5a2b",
    "series-4": "#7d54c6",
    "series-5": "#147f8f",
    "series-6": "#b23a76",
}
NAMES = ("scores", "pass-rates", "lengths", "loss", "learning_rate")


def export(inputs: Inputs) -> Mapping[str, str]:
    """An SVG for each of NAMES, always all of them: a rule names its outputs ahead."""
    counted = summary.summarise(inputs)
    drawn = [
        figures.scores([s for g in page.score_groups(inputs) for s in g.scores]),
        page.pass_rates(inputs, counted),
        figures.lengths(summary.lengths(counted)),
        *figures.training(inputs.metrics),
    ]
    found = {drawing.name: drawing.svg for drawing in drawn if drawing is not None}
    return {
        name: standalone(found.get(name) or figures.nothing(name)) for name in NAMES
    }


def tables(inputs: Inputs) -> Mapping[str, str]:
    """The numbers behind the figures as CSV: scores with their categories, and every
    step of every training.
    """
    keys = dict.fromkeys(
        key for steps in inputs.metrics.values() for step in steps for key in step
    )
    columns = ("student", *(keys or {"step": None}))
    steps = (
        (student, *(step.get(key, "") for key in columns[1:]))
        for student, found in inputs.metrics.items()
        for step in found
    )
    scores = [score for group in page.score_groups(inputs) for score in group.scores]
    return {
        "scores": _csv(PLOT_COLUMNS, plot_rows(scores)),
        "training": _csv(columns, steps),
    }


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()


def standalone(svg: str) -> str:
    """A figure of the page as a file: its own colours, font, size and background."""
    for name, colour in COLOURS.items():
        svg = svg.replace(f"var(--{name})", colour)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    size = f'width="{box[1]}" height="{box[2]}" ' if box else ""
    style = 'style="background: #ffffff; font-family: sans-serif"'
    return svg.replace("<svg ", f"<svg {size}{style} ", 1)
