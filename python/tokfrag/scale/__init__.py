"""Past one machine: corpora in parts, on engines that exist; a killed worker costs one part."""

from __future__ import annotations

from tokfrag.scale.corpora import encode_corpus
from tokfrag.scale.counting import count_corpus
from tokfrag.scale.datatrove_step import TokenizerStep
from tokfrag.scale.engines import DaskEngine, Engine, LocalEngine, RayEngine, WorkerLostError
from tokfrag.scale.parts import join_corpus

__all__ = [
    "DaskEngine",
    "Engine",
    "LocalEngine",
    "RayEngine",
    "TokenizerStep",
    "WorkerLostError",
    "count_corpus",
    "encode_corpus",
    "join_corpus",
]
