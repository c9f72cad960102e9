"""Cut space-time into fragments, and put results back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokfrag._core.fragments import release_workspace
from tokfrag.fragments.distributed.shards import GridShards
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.graph import aggregate, fragment_graph, knn_graph
from tokfrag.fragments.grid import FragmentGrid, UncoveredWarning
from tokfrag.fragments.instances import MergedBoxes, merge_boxes, merge_labels
from tokfrag.fragments.merging import merge
from tokfrag.fragments.planning.plan import FragmentPlan, plan_fragments
from tokfrag.fragments.ragged import RaggedFragments, RaggedSeries
from tokfrag.fragments.segments import segment_merge, unmerge
from tokfrag.fragments.series import SERIES_FEATURES
from tokfrag.fragments.streams.dataset import FragmentDataset
from tokfrag.fragments.streams.merger import FragmentMerger
from tokfrag.fragments.streams.sliding import OutOfMemoryWarning, map_fragments
from tokfrag.fragments.transformer import FragmentFeatures

if TYPE_CHECKING:
    from tokfrag.fragments.distributed.collectives import (
        gather_merge as gather_merge,
        scatter_fragments as scatter_fragments,
    )

__all__ = [
    "SERIES_FEATURES",
    "FragmentDataset",
    "FragmentFeatures",
    "FragmentGrid",
    "FragmentMerger",
    "FragmentPlan",
    "GridShards",
    "MergedBoxes",
    "OutOfMemoryWarning",
    "RaggedFragments",
    "RaggedSeries",
    "UncoveredWarning",
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
    "release_workspace",
    "scatter_fragments",
    "segment_merge",
    "unmerge",
]


def __getattr__(name: str) -> Any:
    if name not in ("gather_merge", "scatter_fragments"):
        raise AttributeError(f"module 'tokfrag.fragments' has no attribute {name!r}")
    from tokfrag.fragments.distributed import collectives as distributed  # imports torch

    return getattr(distributed, name)
