"""Fragments of one grid over several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokfrag.fragments.distributed.shards import GridShards

if TYPE_CHECKING:
    from tokfrag.fragments.distributed.collectives import (
        gather_merge as gather_merge,
        scatter_fragments as scatter_fragments,
    )

__all__ = ["GridShards", "gather_merge", "scatter_fragments"]


def __getattr__(name: str) -> Any:
    if name not in ("gather_merge", "scatter_fragments"):
        raise AttributeError(f"module 'tokfrag.fragments.distributed' has no attribute {name!r}")
    from tokfrag.fragments.distributed import collectives  # imports torch

    return getattr(collectives, name)
