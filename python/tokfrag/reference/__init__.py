"""The plain Python or NumPy twin of every native kernel: same names, obvious loops.

A twin is the definition; the tests hold the kernels to it. Nothing here imports native code. The
twins of the token kernels are in :mod:`~tokfrag.reference.scanning`,
:mod:`~tokfrag.reference.bpe`, :mod:`~tokfrag.reference.bpe_training` and
:mod:`~tokfrag.reference.wordpiece`, the twins of the sparse kernels in
:mod:`~tokfrag.reference.sparse` and :mod:`~tokfrag.reference.lasso`.
"""

from __future__ import annotations

from tokfrag.reference.extraction import extract
from tokfrag.reference.features import fragment_features
from tokfrag.reference.graph import aggregate, fragment_graph, knn_graph
from tokfrag.reference.merging import extract_weighted, merge
from tokfrag.reference.segments import segment_merge, unmerge
from tokfrag.reference.stitching import cut, stitch_add, stitch_emit

__all__ = [
    "aggregate",
    "cut",
    "extract",
    "extract_weighted",
    "fragment_features",
    "fragment_graph",
    "knn_graph",
    "merge",
    "segment_merge",
    "stitch_add",
    "stitch_emit",
    "unmerge",
]
