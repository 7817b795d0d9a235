"""Figures as SVG text that takes its colours from the page, in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
    "font.size": 11,
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
    "legend.fontsize": 10,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
}
# Curves that jump from step to step: a moving average is drawn over them.
NOISY = ("loss", "grad_norm", "token_accuracy", "tokens_per_second")
WIDTH, HEIGHT = 5.2, 2.9
LONG_LABEL = 20
"""Letters of a legend's entry from which on a line holds only one."""


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
        ("token_accuracy", "Token accuracy", "share of tokens"),
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


def pass_rates(
    shares: Mapping[str, Sequence[float]], before: str = ""
) -> Drawing | None:
    """How many problems have which share of right samples, a line for each group."""
    shares = {name: values for name, values in shares.items() if len(values) > 0}
    if not shares:
        return None
    bins = min(10, max(len(set(values)) for values in shares.values()) - 1 or 1)
    centres = np.linspace(0, 1, bins + 1)
    edges = np.concatenate([centres - 0.5 / bins, [1 + 0.5 / bins]])
    percent = {
        name: 100 * np.histogram(values, edges)[0] / len(values)
        for name, values in shares.items()
    }
    with _figure() as (figure, axes):
        for number, (name, heights) in enumerate(percent.items()):
            colour = SERIES[number % len(SERIES)]
            label = f"{name} ({len(shares[name]):,})"
            axes.plot(
                centres, heights, color=colour, label=label, marker="o", markersize=4
            )
        axes.set_xlabel("share of right samples of a problem")
        axes.set_ylabel("% of the problems")
        axes.set_ylim(bottom=0)
        svg = _finish(figure, axes, "pass-rates", len(percent))
    table = [
        (f"{centre:.2f}", *(f"{heights[i]:.1f}" for heights in percent.values()))
        for i, centre in enumerate(centres)
    ]
    return Drawing(
        "pass-rates",
        "Difficulty",
        f"{before}Those at the left are too hard, those at the right too easy to teach"
        " it anything. In brackets: how many problems.",
        svg,
        ("share right", *(f"{name}, %" for name in percent)),
        table,
    )


def lengths(tokens: Mapping[str, Mapping[bool, Sequence[int]]]) -> Drawing | None:
    """Completion lengths of every model, of right traces and of others, as boxes."""
    tokens = {model: both for model, both in tokens.items() if any(both.values())}
    if not tokens:
        return None
    names = {True: "right", False: "not right"}
    count = sum(len(values) for both in tokens.values() for values in both.values())
    height = max(HEIGHT, 0.75 + 0.55 * len(tokens))
    with _figure(height) as (figure, axes):
        for ok, colour, offset in ((True, SERIES[1], 0.19), (False, SERIES[2], -0.19)):
            _boxes(axes, [both[ok] for both in tokens.values()], colour, offset)
            axes.plot([], [], color=colour, linewidth=6, alpha=0.75, label=names[ok])
        axes.set_yticks([len(tokens) - i for i in range(len(tokens))], list(tokens))
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.set_xlabel("completion tokens")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        svg = _finish(figure, axes, "lengths", 2)
    return Drawing(
        "lengths",
        "Length of the traces",
        f"Of {count:,} traces. A box holds the middle half, the line in it is the"
        " median, and the whiskers reach from 5 to 95 %.",
        svg,
        ("model", "traces", "5 %", "median", "95 %", "longest"),
        [
            (f"{model}, {names[ok]}", *_quantiles(both[ok]))
            for model, both in tokens.items()
            for ok in (True, False)
            if both[ok]
        ],
    )


def scores(found: Sequence[Mapping[str, Any]]) -> Drawing | None:
    """Accuracy and interval of every score, with the published numbers."""
    shown = [score for score in found if score["accuracy"] is not None]
    if not shown:
        return None
    with _figure(0.9 + 0.3 * len(shown)) as (figure, axes):
        for place, score in enumerate(reversed(shown)):
            axes.plot(
                [score["low"], score["high"]],
                [place, place],
                color=SERIES[0],
                linewidth=5,
                alpha=0.4,
                solid_capstyle="round",
            )
            axes.plot(score["accuracy"], place, "o", color=SERIES[0], markersize=6)
            for entry in score["published"]:
                axes.plot(
                    entry["score"],
                    place,
                    "D",
                    color=INK,
                    markersize=5,
                    fillstyle="none",
                )
        names = [f"{score['benchmark']}, {score['model']}" for score in shown]
        axes.set_yticks(range(len(shown)), names[::-1])
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.set_xlabel("accuracy in percent")
        axes.set_xlim(-2, 102)
        svg = _finish(figure, axes, "scores", 1)
    return Drawing(
        "scores",
        "Scores",
        "A dot is the accuracy, its bar the 95 % interval, a diamond a published one.",
        svg,
        ("score", "accuracy", "low", "high"),
        [
            (name, *(f"{score[key]:.1f}" for key in ("accuracy", "low", "high")))
            for name, score in zip(names, shown, strict=True)
        ],
    )


def nothing(name: str) -> str:
    """A figure that says that there is nothing to draw."""
    with _figure(1.0) as (figure, axes):
        axes.text(0.5, 0.5, "no data", ha="center", va="center", color=MUTED)
        axes.set_axis_off()
        return _finish(figure, axes, name, 1)


def _boxes(
    axes: Any, groups: Sequence[Sequence[int]], colour: str, offset: float
) -> None:
    axes.boxplot(
        [list(group) for group in groups],
        positions=[len(groups) - i + offset for i in range(len(groups))],
        orientation="horizontal",
        widths=0.3,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "edgecolor": "none", "alpha": 0.75},
        medianprops={"color": INK, "linewidth": 1.4},
        whiskerprops={"color": colour},
        capprops={"color": colour},
    )


def _quantiles(values: Sequence[int]) -> tuple[str, ...]:
    found = np.quantile(values, [0.05, 0.5, 0.95, 1.0])
    return (f"{len(values):,}", *(f"{value:,.0f}" for value in found))


def _curves(
    key: str, title: str, label: str, curves: Mapping[str, Sequence[tuple[int, float]]]
) -> Drawing:
    with _figure() as (figure, axes):
        for number, (student, points) in enumerate(curves.items()):
            steps = [step for step, _ in points]
            values = [value for _, value in points]
            colour = SERIES[number % len(SERIES)]
            if key in NOISY and len(values) > 40:
                axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
                values = _smooth(values)
            axes.plot(steps, values, color=colour, linewidth=1.6, label=student)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if key == "learning_rate":
            axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        svg = _finish(figure, axes, key, len(curves))
    caption = "; ".join(
        f"{student}: from {points[0][1]:.4g} at step {points[0][0]} to"
        f" {points[-1][1]:.4g} at step {points[-1][0]}"
        for student, points in curves.items()
    )
    caption += "."
    if key in NOISY and any(len(points) > 40 for points in curves.values()):
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
def _figure(height: float = HEIGHT) -> Iterator[tuple[Figure, Any]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.add_subplot()


def _finish(figure: Figure, axes: Any, name: str, series: int) -> str:
    axes.tick_params(length=0)
    axes.margins(x=0.02)
    if series > 1:
        labels = axes.get_legend_handles_labels()[1]
        long = max(map(len, labels), default=0) > LONG_LABEL
        figure.legend(
            loc="outside upper left", ncols=1 if long else min(series, 2 + series % 2)
        )
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
