"""The plot of a report: quality against cost, with the Pareto front drawn."""

from __future__ import annotations

import math
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from tokfrag.compare.extras import require
from tokfrag.compare.row import Row
from tokfrag.compare.table import count_text

if TYPE_CHECKING:
    from tokfrag.compare.report import Report

_COLOURS = {"tokens": "#c2571a", "fragments": "#1f6fb2"}
FORMATS = ("png", "svg", "pdf")


def check_format(path: str | os.PathLike[str]) -> str:
    """The format that a path's suffix names."""
    suffix = Path(path).suffix.lstrip(".").lower()
    if suffix not in FORMATS:
        raise ValueError(f"plot: got {os.fspath(path)!r}; it takes .{', .'.join(FORMATS)}")
    return suffix


def render(report: Report, suffix: str, *, title: bool = True) -> bytes:
    """The plot as the bytes of a file of the given format."""
    require("matplotlib", purpose="the plot")
    # The object interface: no global state, no display.
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    metric = report.metric
    scored = [row for row in report.rows if row.facts is not None and row.quality is not None]
    for row in scored:
        assert row.facts is not None
        assert row.quality is not None
        half = row.half_interval
        axes.errorbar(
            row.facts.flops,
            row.quality * metric.scale,
            yerr=None if half is None else half * metric.scale,
            fmt="o",
            color=_COLOURS.get(row.facts.family, "#555555"),
            capsize=3,
            markersize=7 if row.pareto else 5,
            markerfacecolor=None if row.pareto else "white",
        )
    for row in scored:
        # Of two neighbours on the cost axis the upper has its name above, the lower below.
        others = [other for other in scored if other is not row]
        near = min(others, key=lambda other: _apart(row, other), default=row)
        above = (row.quality or 0.0) >= (near.quality or 0.0)
        axes.annotate(
            row.name,
            (_flops(row), (row.quality or 0.0) * metric.scale),
            xytext=(6, 6 if above else -12),
            textcoords="offset points",
            fontsize=8,
        )
    front = sorted((row for row in scored if row.pareto), key=_flops)
    axes.plot(
        [_flops(row) for row in front],
        [(row.quality or 0.0) * metric.scale for row in front],
        color="#999999",
        linewidth=1,
        zorder=0,
    )
    if scored:
        axes.set_xscale("log")
        axes.margins(x=0.15, y=0.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda flops, _: count_text(flops)))
        axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    naive = [row for row in report.rows if row.baseline is not None]
    for i, row in enumerate(naive):
        assert row.baseline is not None
        level = row.baseline * metric.scale
        # A baseline far from every cut is named at the edge: drawn, it would flatten the rest.
        far = scored and not low - (high - low) <= level <= high + (high - low)
        if far:
            edge, side = (0.02, "below") if level < low else (0.98, "above")
            name = f"{row.name}: {metric.text(row.baseline)} ({side})"
        else:
            axes.axhline(level, color="#777777", linestyle=":", linewidth=1)
            edge, name = level, row.name
        # Baselines are often close to each other: their names take turns from left to right.
        axes.annotate(
            name,
            (0.01 + 0.98 * i / max(1, len(naive)), edge),
            xycoords="axes fraction" if far else ("axes fraction", "data"),
            xytext=(0, 0 if far else 3),
            textcoords="offset points",
            va=("bottom" if level < low else "top") if far else "baseline",
            fontsize=8,
            color="#555555",
        )
    if metric.unit == "%":
        # An interval may reach beyond what there is.
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -4), min(high, 104))
    axes.set_xlabel("training FLOPs a sample")
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    unit = f" in {metric.unit}" if metric.unit else ""
    axes.set_ylabel(f"{metric.name}{unit} ({direction})")
    if title:
        figure.suptitle(report.title, fontsize=9)
    for family, colour in _COLOURS.items():
        axes.plot([], [], "o", color=colour, label=family)
    axes.legend(
        fontsize=8, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0.1
    )
    buffer = BytesIO()
    figure.savefig(buffer, format=suffix, dpi=150)
    return buffer.getvalue()


def _apart(one: Row, other: Row) -> float:
    return abs(math.log(max(1.0, _flops(one))) - math.log(max(1.0, _flops(other))))


def _flops(row: Row) -> float:
    return 0.0 if row.facts is None else row.facts.flops
