"""Sparse layers, and finding the sparse weights.

Names are imported on first use: :class:`GramLasso` needs NumPy only, everything else torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokfrag.sparse.lasso import GramLasso as GramLasso
    from tokfrag.sparse.layers.embedding import SparseEmbedding as SparseEmbedding
    from tokfrag.sparse.layers.linear import SparseLinear as SparseLinear
    from tokfrag.sparse.layers.recurrent import SparseLSTM as SparseLSTM
    from tokfrag.sparse.pruning.regrowth import regrow as regrow
    from tokfrag.sparse.pruning.report import (
        LayerReport as LayerReport,
        SparsityReport as SparsityReport,
    )
    from tokfrag.sparse.pruning.sparsify import sparsify as sparsify

_HOME = {
    "GramLasso": "lasso",
    "SparseEmbedding": "layers.embedding",
    "SparseLSTM": "layers.recurrent",
    "SparseLinear": "layers.linear",
    "LayerReport": "pruning.report",
    "SparsityReport": "pruning.report",
    "regrow": "pruning.regrowth",
    "sparsify": "pruning.sparsify",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tokfrag.sparse' has no attribute {name!r}")
    value = getattr(import_module(f"tokfrag.sparse.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
