"""Cut space-time into fragments, and put results back."""

from __future__ import annotations

from tokfrag._core.fragments import release_workspace
from tokfrag.fragments.dataset import FragmentDataset
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.graph import aggregate, fragment_graph, knn_graph
from tokfrag.fragments.grid import FragmentGrid, UncoveredWarning
from tokfrag.fragments.merging import merge
from tokfrag.fragments.planning import FragmentPlan, plan_fragments
from tokfrag.fragments.segments import segment_merge, unmerge
from tokfrag.fragments.sliding import OutOfMemoryWarning, map_fragments

__all__ = [
    "FragmentDataset",
    "FragmentGrid",
    "FragmentPlan",
    "OutOfMemoryWarning",
    "UncoveredWarning",
    "aggregate",
    "extract",
    "fragment_features",
    "fragment_graph",
    "knn_graph",
    "map_fragments",
    "merge",
    "plan_fragments",
    "release_workspace",
    "segment_merge",
    "unmerge",
]
