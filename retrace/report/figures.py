"""Figures as SVG text that takes its colours from the page, in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

# Colours that matplotlib draws with, and the custom properties they become.
INK, MUTED, GRID = "#010101", "#020202", "#030303"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006")
_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "retrace",
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "legend.fontsize": 9,
}
WIDTH, HEIGHT = 5.2, 2.7


@dataclass(frozen=True)
class Drawing:
    """A figure: its SVG, what it shows in words, and its numbers as a table."""

    name: str
    title: str
    caption: str
    svg: str
    head: tuple[str, ...]
    table: Sequence[tuple[str, ...]]


def training(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Drawing]:
    """Loss, learning rate, gradient norm and speed of every student, by step."""
    wanted = (
        ("loss", "Training loss", "loss"),
        ("learning_rate", "Learning rate", "learning rate"),
        ("grad_norm", "Gradient norm", "norm"),
        ("tokens_per_second", "Training speed", "tokens per second"),
    )
    drawn = []
    for key, title, label in wanted:
        curves = {
            student: [(s["step"], s[key]) for s in steps if s.get(key) is not None]
            for student, steps in metrics.items()
        }
        curves = {student: points for student, points in curves.items() if points}
        if curves:
            drawn.append(_curves(key, title, label, curves))
    return drawn


def pass_rates(shares: Mapping[str, Sequence[float]]) -> Drawing | None:
    """How many problems have which share of right samples, for each group."""
    shares = {name: values for name, values in shares.items() if len(values) > 0}
    if not shares:
        return None
    edges = np.linspace(0, 1, 11)
    counts = {name: np.histogram(values, edges)[0] for name, values in shares.items()}
    with _figure() as (figure, axes):
        width = 0.09 / len(counts)
        for number, (name, heights) in enumerate(counts.items()):
            left = edges[:-1] + 0.005 + number * width
            colour = SERIES[number % len(SERIES)]
            axes.bar(left, heights, width, align="edge", color=colour, label=name)
        axes.set_xlabel("share of right samples of a problem")
        axes.set_ylabel("problems")
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        svg = _finish(figure, axes, "pass-rates", len(counts))
    spans = [f"{low:.1f} to {high:.1f}" for low, high in pairwise(edges)]
    table = [
        (span, *(str(heights[i]) for heights in counts.values()))
        for i, span in enumerate(spans)
    ]
    return Drawing(
        "pass-rates",
        "Pass rate of the problems",
        "Problems at the left are too hard for the model, those at the right too easy"
        " to teach it anything.",
        svg,
        ("share right", *counts),
        table,
    )


def lengths(tokens: Mapping[bool, Sequence[int]], model: str) -> Drawing | None:
    """Completion lengths of a model, of right traces and of others."""
    everything = np.array([*tokens[True], *tokens[False]])
    if not len(everything):
        return None
    edges = np.histogram_bin_edges(everything, bins=24)
    names = {True: "right", False: "not right"}
    counts = {names[ok]: np.histogram(tokens[ok], edges)[0] for ok in (True, False)}
    with _figure() as (figure, axes):
        middle = np.zeros(len(edges) - 1)
        for number, (name, heights) in enumerate(counts.items()):
            axes.bar(
                edges[:-1],
                heights,
                np.diff(edges) * 0.92,
                bottom=middle,
                align="edge",
                color=(SERIES[1], SERIES[2])[number],
                label=name,
            )
            middle = middle + heights
        axes.set_xlabel("completion tokens")
        axes.set_ylabel("traces")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        svg = _finish(figure, axes, f"lengths-{model}", 2)
    table = [
        (f"{low:,.0f} to {high:,.0f}", str(right), str(wrong))
        for low, high, right, wrong in zip(
            edges, edges[1:], counts["right"], counts["not right"], strict=False
        )
    ]
    median = f"{np.median(everything):,.0f}"
    return Drawing(
        f"lengths-{model}",
        f"Length of the traces of {model}",
        f"Median {median} tokens, longest {everything.max():,}.",
        svg,
        ("tokens", "right", "not right"),
        table,
    )


def _curves(
    key: str, title: str, label: str, curves: Mapping[str, Sequence[tuple[int, float]]]
) -> Drawing:
    with _figure() as (figure, axes):
        for number, (student, points) in enumerate(curves.items()):
            steps = [step for step, _ in points]
            values = [value for _, value in points]
            colour = SERIES[number % len(SERIES)]
            if key == "loss" and len(values) > 40:
                axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
                values = _smooth(values)
            axes.plot(steps, values, color=colour, linewidth=1.6, label=student)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if key == "learning_rate":
            axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        svg = _finish(figure, axes, key, len(curves))
    first, last = next(iter(curves.values()))[0], next(iter(curves.values()))[-1]
    caption = f"From {first[1]:.4g} at step {first[0]} to {last[1]:.4g} at {last[0]}."
    if key == "loss" and any(len(points) > 40 for points in curves.values()):
        caption += " The strong line is a moving average over a fortieth of the steps."
    return Drawing(
        key, title, caption, svg, ("student", "step", label), _sample(curves)
    )


def _sample(
    curves: Mapping[str, Sequence[tuple[int, float]]], limit: int = 12
) -> list[tuple[str, ...]]:
    table: list[tuple[str, ...]] = []
    for student, points in curves.items():
        picked = np.unique(np.linspace(0, len(points) - 1, limit).round().astype(int))
        for index in picked:
            step, value = points[index]
            table.append((student, str(step), f"{value:.4g}"))
    return table


def _smooth(values: Sequence[float]) -> list[float]:
    """A moving average, over fewer values at the ends."""
    half = max(1, len(values) // 80)
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low = np.maximum(index - half, 0)
    high = np.minimum(index + half + 1, len(values))
    return list((total[high] - total[low]) / (high - low))


@contextmanager
def _figure() -> Iterator[tuple[Figure, Any]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        yield figure, figure.add_subplot()


def _finish(figure: Figure, axes: Any, name: str, series: int) -> str:
    axes.tick_params(length=0)
    axes.margins(x=0.02)
    if series > 1:
        axes.legend(loc="best", ncols=1 if series < 4 else 2)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(buffer.getvalue(), name)


def _for_page(svg: str, name: str) -> str:
    """Keep the drawing alone: the page's fonts and colours, ids of its own, no size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt" ', "", svg, count=1)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", name)
    svg = re.sub(r' id="([^"]+)"', rf' id="{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
