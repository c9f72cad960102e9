"""Tokens and fragments side by side: one task, one body, one budget, one table.

A *task* is data, a split, a problem and naive baselines; a *cut* turns samples into pieces; the
*body* is the same for all cuts. The runner knows none of them by name.
"""

from __future__ import annotations

from tokfrag.compare.budget import Budget
from tokfrag.compare.comparison import compare
from tokfrag.compare.cut import Cut, FittedCut, as_cut, parse_cut
from tokfrag.compare.cuts.arrays import Patches, Quantised
from tokfrag.compare.cuts.texts import (
    Bpe,
    ByteWindows,
    Characters,
    RawBytes,
    TokenizerCut,
    WordPieces,
)
from tokfrag.compare.extras import MissingExtraError
from tokfrag.compare.pieces import Pieces, PieceSpec
from tokfrag.compare.report import Report
from tokfrag.compare.row import CutFacts, Row, Run
from tokfrag.compare.task import ArrayTask, Samples, Split, Task
from tokfrag.compare.tasks import TASKS

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
    "MissingExtraError",
    "Patches",
    "PieceSpec",
    "Pieces",
    "Quantised",
    "RawBytes",
    "Report",
    "Row",
    "Run",
    "Samples",
    "Split",
    "Task",
    "TokenizerCut",
    "WordPieces",
    "as_cut",
    "compare",
    "parse_cut",
]
