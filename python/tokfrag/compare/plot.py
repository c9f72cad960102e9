"""The plot of a report: quality against cost, with the Pareto front drawn."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from tokfrag.compare.extras import require
from tokfrag.compare.row import Row

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


def render(report: Report, suffix: str) -> bytes:
    """The plot as the bytes of a file of the given format."""
    require("matplotlib", purpose="the plot")
    # The object interface: no global state, no display.
    from matplotlib.figure import Figure

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
    # Neighbours on the cost axis get their names above and below in turn.
    for i, row in enumerate(sorted(scored, key=lambda row: (_flops(row), row.quality))):
        axes.annotate(
            row.name,
            (_flops(row), (row.quality or 0.0) * metric.scale),
            xytext=(6, 6 if i % 2 else -12),
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
    low, high = axes.get_ylim()
    for row in report.rows:
        if row.baseline is None:
            continue
        level = row.baseline * metric.scale
        # A baseline far from every cut is named at the edge: drawn, it would flatten the rest.
        if scored and not low - (high - low) <= level <= high + (high - low):
            where, text = ("bottom", "below") if level < low else ("top", "above")
            axes.annotate(
                f"{row.name}: {metric.text(row.baseline)} ({text})",
                (0.01, 0.02 if where == "bottom" else 0.98),
                xycoords="axes fraction",
                va=where,
                fontsize=8,
                color="#555555",
            )
            continue
        axes.axhline(level, color="#777777", linestyle=":", linewidth=1)
        axes.annotate(
            row.name,
            (0.01, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
            color="#555555",
        )
    axes.set_xlabel("training FLOPs a sample")
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    unit = f" in {metric.unit}" if metric.unit else ""
    axes.set_ylabel(f"{metric.name}{unit} ({direction})")
    axes.set_title(report.title, fontsize=9)
    for family, colour in _COLOURS.items():
        axes.plot([], [], "o", color=colour, label=family)
    axes.legend(fontsize=8, frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format=suffix, dpi=150)
    return buffer.getvalue()


def _flops(row: Row) -> float:
    return 0.0 if row.facts is None else row.facts.flops
