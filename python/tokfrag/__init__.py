"""Cut data into pieces a network can eat, and put the results back.

Text is cut into tokens, space-time is cut into fragments; both have a native kernel and a readable
twin in :mod:`tokfrag.reference`. Names are imported on first use, so that ``import tokfrag`` stays
fast and never imports torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokfrag._core import __version__

if TYPE_CHECKING:
    from tokfrag.compat.transformers import patch_transformers as patch_transformers
    from tokfrag.fragments import (
        FragmentDataset as FragmentDataset,
        FragmentFeatures as FragmentFeatures,
        FragmentGrid as FragmentGrid,
        FragmentMerger as FragmentMerger,
        FragmentPlan as FragmentPlan,
        GridShards as GridShards,
        RaggedSeries as RaggedSeries,
        aggregate as aggregate,
        extract as extract,
        fragment_features as fragment_features,
        fragment_graph as fragment_graph,
        gather_merge as gather_merge,
        knn_graph as knn_graph,
        map_fragments as map_fragments,
        merge as merge,
        merge_boxes as merge_boxes,
        merge_labels as merge_labels,
        plan_fragments as plan_fragments,
        scatter_fragments as scatter_fragments,
        segment_merge as segment_merge,
        unmerge as unmerge,
    )
    from tokfrag.sparse import (
        GramLasso as GramLasso,
        SparseEmbedding as SparseEmbedding,
        SparseLinear as SparseLinear,
        SparseLSTM as SparseLSTM,
        regrow as regrow,
        sparsify as sparsify,
    )
    from tokfrag.stream import (
        PackedLoader as PackedLoader,
        pack as pack,
        patchify as patchify,
        unpatchify as unpatchify,
    )
    from tokfrag.tokens import (
        TokenBatch as TokenBatch,
        Tokenizer as Tokenizer,
        TokenShards as TokenShards,
        WordCounts as WordCounts,
    )

_NAMES = {
    "tokfrag.compat.transformers": ("patch_transformers",),
    "tokfrag.fragments": (
        "FragmentDataset",
        "FragmentFeatures",
        "FragmentGrid",
        "FragmentMerger",
        "FragmentPlan",
        "GridShards",
        "RaggedSeries",
        "aggregate",
        "extract",
        "fragment_features",
        "fragment_graph",
        "gather_merge",
        "knn_graph",
        "map_fragments",
        "merge",
        "merge_boxes",
        "merge_labels",
        "plan_fragments",
        "scatter_fragments",
        "segment_merge",
        "unmerge",
    ),
    "tokfrag.sparse": (
        "GramLasso",
        "SparseEmbedding",
        "SparseLSTM",
        "SparseLinear",
        "regrow",
        "sparsify",
    ),
    "tokfrag.stream": ("PackedLoader", "pack", "patchify", "unpatchify"),
    "tokfrag.tokens": ("TokenBatch", "TokenShards", "Tokenizer", "WordCounts"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
_SUBMODULES = frozenset(
    {"compare", "compat", "fragments", "nn", "reference", "scale", "sparse", "stream", "tokens"}
)

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"tokfrag.{name}")
    else:
        raise AttributeError(f"module 'tokfrag' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
