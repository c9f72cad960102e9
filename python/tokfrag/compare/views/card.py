"""The verdict as one picture to be shared: how the sample is cut, the ladder, the differences."""

from __future__ import annotations

import textwrap
from typing import Any

from tokfrag.compare.extras import require
from tokfrag.compare.outcome import Outcome
from tokfrag.compare.views.plot import (
    draw_array,
    draw_differences,
    draw_ladder,
    draw_strip,
    saved,
    short,
)

_ROWS = 5


def render_card(outcome: Outcome) -> bytes:
    """A PNG of 1200 x 630 pixels."""
    return saved(drawn_card(outcome), "png", dpi=100)


def drawn_card(outcome: Outcome) -> Any:
    """The figure of a card."""
    require("matplotlib", purpose="the card")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.3))
    headline = textwrap.wrap(outcome.headline[:1].upper() + outcome.headline[1:], 88)[:2]
    figure.text(0.02, 0.955, "\n".join(headline), fontsize=15, fontweight="bold", va="top")
    figure.text(0.02, 0.02, _foot(outcome), fontsize=9, color="#666666")
    drawn = list(outcome.samples.items())[:_ROWS]
    top = 0.955 - 0.05 * len(headline)
    middle = _samples(figure, drawn, top) if drawn else top
    ladder = figure.add_axes((0.06, 0.12, 0.56, middle - 0.21))
    draw_ladder(ladder, outcome)
    differences = figure.add_axes((0.75, 0.16, 0.22, middle - 0.25))
    draw_differences(differences, outcome)
    return figure


def _samples(figure: Any, drawn: list[Any], top: float) -> float:
    """Draw the sample in every cut from ``top`` down; returns where the room below begins."""
    if drawn[0][1].pieces:
        for name, picture in drawn:
            top -= 0.065
            draw_strip(figure.add_axes((0.15, top, 0.84, 0.055)), name, picture)
        return top
    height = 0.27
    # So many characters, and "1234 pieces", stand over the picture and between its neighbours.
    longest = 148 // len(drawn) - 15
    for i, (name, picture) in enumerate(drawn):
        width = 0.94 / len(drawn)
        axes = figure.add_axes((0.03 + i * width, top - height, width * 0.86, height - 0.05))
        draw_array(axes, name, picture, longest=longest)
    return top - height


def _foot(outcome: Outcome) -> str:
    made = outcome.command or f"tokfrag compare {outcome.task}"
    return f"{short(made, 84)}   |   {short(outcome.about, 76)}"
