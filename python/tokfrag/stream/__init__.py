"""Tokens and fragments of one document in one batch."""

from __future__ import annotations

from tokfrag.stream.audio import frame_audio, log_mel
from tokfrag.stream.layouts import LAYOUTS, Layout
from tokfrag.stream.loader import PackedLoader
from tokfrag.stream.packed import Packed
from tokfrag.stream.packing import pack, plan_rows
from tokfrag.stream.patches import Patches, patchify, unpatchify
from tokfrag.stream.placeholders import expand_placeholders, mrope_positions
from tokfrag.stream.resizing import area_size, longest_size, patches_size, resize
from tokfrag.stream.sources import ImageSource

__all__ = [
    "LAYOUTS",
    "ImageSource",
    "Layout",
    "Packed",
    "PackedLoader",
    "Patches",
    "area_size",
    "expand_placeholders",
    "frame_audio",
    "log_mel",
    "longest_size",
    "mrope_positions",
    "pack",
    "patches_size",
    "patchify",
    "plan_rows",
    "resize",
    "unpatchify",
]
