"""What a network must learn from pieces, and how its answers are judged.

A score is always told in units of the data (samples, values, bytes of text), never of pieces: a
loss per token cannot be compared between tokenizers.
"""

from __future__ import annotations

from tokfrag.compare.problems.answers import Classify, Forecast, RankItems
from tokfrag.compare.problems.dense import DenseNetwork, Segment
from tokfrag.compare.problems.graphs import ForecastGraph
from tokfrag.compare.problems.items import Items, weighted_mean
from tokfrag.compare.problems.pairs import PredictTarget
from tokfrag.compare.problems.tags import TagWords
from tokfrag.compare.problems.texts import NextPiece, PredictNext

__all__ = [
    "Classify",
    "DenseNetwork",
    "Forecast",
    "ForecastGraph",
    "Items",
    "NextPiece",
    "PredictNext",
    "PredictTarget",
    "RankItems",
    "Segment",
    "TagWords",
    "weighted_mean",
]
