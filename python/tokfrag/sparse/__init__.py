"""Sparse layers, and finding the sparse weights.

Names are imported on first use: :class:`GramLasso` and :class:`GramLassoCV` need NumPy only,
everything else torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokfrag.sparse.lasso import GramLasso as GramLasso
    from tokfrag.sparse.lasso_path import GramLassoCV as GramLassoCV
    from tokfrag.sparse.layers.attention import (
        SparseMultiheadAttention as SparseMultiheadAttention,
    )
    from tokfrag.sparse.layers.convolution import (
        SparseConv1d as SparseConv1d,
        SparseConv2d as SparseConv2d,
    )
    from tokfrag.sparse.layers.embedding import SparseEmbedding as SparseEmbedding
    from tokfrag.sparse.layers.embedding_bag import SparseEmbeddingBag as SparseEmbeddingBag
    from tokfrag.sparse.layers.frozen import FrozenSparseLinear as FrozenSparseLinear
    from tokfrag.sparse.layers.linear import SparseLinear as SparseLinear
    from tokfrag.sparse.layers.recurrent import SparseGRU as SparseGRU, SparseLSTM as SparseLSTM
    from tokfrag.sparse.pruning.freezing import FrozenReport as FrozenReport, freeze as freeze
    from tokfrag.sparse.pruning.regrowth import regrow as regrow
    from tokfrag.sparse.pruning.report import (
        LayerReport as LayerReport,
        ModuleReport as ModuleReport,
        SparsityReport as SparsityReport,
    )
    from tokfrag.sparse.pruning.sparse_training import SparseTraining as SparseTraining
    from tokfrag.sparse.pruning.sparsify import sparsify as sparsify

_HOME = {
    "FrozenReport": "pruning.freezing",
    "FrozenSparseLinear": "layers.frozen",
    "GramLasso": "lasso",
    "GramLassoCV": "lasso_path",
    "SparseConv1d": "layers.convolution",
    "SparseConv2d": "layers.convolution",
    "SparseEmbedding": "layers.embedding",
    "SparseEmbeddingBag": "layers.embedding_bag",
    "SparseGRU": "layers.recurrent",
    "SparseLSTM": "layers.recurrent",
    "SparseLinear": "layers.linear",
    "SparseMultiheadAttention": "layers.attention",
    "SparseTraining": "pruning.sparse_training",
    "LayerReport": "pruning.report",
    "ModuleReport": "pruning.report",
    "SparsityReport": "pruning.report",
    "freeze": "pruning.freezing",
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
