"""Tokens and fragments side by side: one task, one body, one budget, one table.

A *task* is data, a split, a problem and naive baselines; a *cut* turns samples into pieces; the
*body* is the same for all cuts. The runner knows none of them by name.
"""

from __future__ import annotations

from tokfrag.compare.budget import Budget
from tokfrag.compare.comparison import compare
from tokfrag.compare.contracts import (
    Cut,
    FittedCut,
    Floor,
    Pieces,
    PieceSpec,
    Recipe,
    Samples,
    Split,
    Task,
)
from tokfrag.compare.cuts.arrays import Patches, Quantised
from tokfrag.compare.cuts.features import FrozenFeatures
from tokfrag.compare.cuts.names import as_cut, parse_cut
from tokfrag.compare.cuts.texts import (
    Bpe,
    ByteWindows,
    Characters,
    RawBytes,
    WordPieces,
)
from tokfrag.compare.cuts.tokenizers import TokenizerCut, TokenizerFile
from tokfrag.compare.extras import MissingExtraError
from tokfrag.compare.facts import CutFacts
from tokfrag.compare.report import Report
from tokfrag.compare.row import Prices, Row, Run, Rung
from tokfrag.compare.tasks import TASKS
from tokfrag.compare.tasks.arrays import ArrayTask

__all__ = [
    "TASKS",
    "ArrayTask",
    "Bpe",
    "Budget",
    "ByteWindows",
    "Characters",
    "Cut",
    "CutFacts",
    "FittedCut",
    "Floor",
    "FrozenFeatures",
    "MissingExtraError",
    "Patches",
    "PieceSpec",
    "Pieces",
    "Prices",
    "Quantised",
    "RawBytes",
    "Recipe",
    "Report",
    "Row",
    "Run",
    "Rung",
    "Samples",
    "Split",
    "Task",
    "TokenizerCut",
    "TokenizerFile",
    "WordPieces",
    "as_cut",
    "compare",
    "parse_cut",
]
