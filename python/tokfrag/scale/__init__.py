"""Past one machine: corpora and volumes in parts, on engines; a killed worker costs one part."""

from __future__ import annotations

from tokfrag.scale.corpora import encode_corpus
from tokfrag.scale.counting import count_corpus
from tokfrag.scale.datatrove_step import TokenizerStep
from tokfrag.scale.engines import DaskEngine, Engine, LocalEngine, RayEngine, WorkerLostError
from tokfrag.scale.parts import join_corpus
from tokfrag.scale.volume_jobs import VolumeMap
from tokfrag.scale.volume_labels import label_volume
from tokfrag.scale.volumes import map_volume, verify_volume

__all__ = [
    "DaskEngine",
    "Engine",
    "LocalEngine",
    "RayEngine",
    "TokenizerStep",
    "VolumeMap",
    "WorkerLostError",
    "count_corpus",
    "encode_corpus",
    "join_corpus",
    "label_volume",
    "map_volume",
    "verify_volume",
]
