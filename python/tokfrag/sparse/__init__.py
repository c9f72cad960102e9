"""Sparse layers, and finding the sparse weights.

Names are imported on first use: :class:`GramLasso` needs NumPy only, everything else torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokfrag.sparse.embedding import SparseEmbedding as SparseEmbedding
    from tokfrag.sparse.lasso import GramLasso as GramLasso
    from tokfrag.sparse.layers import SparseLinear as SparseLinear
    from tokfrag.sparse.pruning import sparsify as sparsify
    from tokfrag.sparse.recurrent import SparseLSTM as SparseLSTM
    from tokfrag.sparse.regrowth import regrow as regrow
    from tokfrag.sparse.report import LayerReport as LayerReport, SparsityReport as SparsityReport

_HOME = {
    "GramLasso": "lasso",
    "SparseEmbedding": "embedding",
    "SparseLSTM": "recurrent",
    "SparseLinear": "layers",
    "LayerReport": "report",
    "SparsityReport": "report",
    "regrow": "regrowth",
    "sparsify": "pruning",
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
