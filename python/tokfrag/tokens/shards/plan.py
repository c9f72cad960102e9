"""Which inputs go into which shard of a folder, and what of it is there already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tokfrag.tokens.pipeline import TextPipeline
from tokfrag.tokens.shards.fingerprint import earlier_fingerprints, is_fingerprint
from tokfrag.tokens.shards.index import Shard, ShardIndex
from tokfrag.tokens.shards.sources import Source, ranges_of

_SETTINGS = ("tokenizer", "dtype", "begin_of_text", "end_of_text", "field", "column")


def shards_of(sources: Sequence[Source], shard_bytes: int, *, text: bool) -> tuple[Shard, ...]:
    """Group the inputs, in order, into shards; a file that is larger than one is divided.

    ``text``: whether texts may be cut.
    """
    return tuple(_grouped(_divided(sources, shard_bytes, text), shard_bytes))


def _divided(sources: Sequence[Source], most: int, text: bool) -> Iterator[Source]:
    for source in sources:
        for begin, end in ranges_of(source.path, source.bytes, most, text=text):
            yield source if end < 0 else replace(source, begin=begin, end=end)


def _grouped(sources: Iterator[Source], shard_bytes: int) -> Iterator[Shard]:
    group: list[Source] = []
    size = number = 0
    for source in sources:
        if group and size + source.size > shard_bytes:
            yield Shard(f"{number:05d}", tuple(group))
            group, size, number = [], 0, number + 1
        group.append(source)
        size += source.size
    if group:
        yield Shard(f"{number:05d}", tuple(group))


def resumed(
    index: ShardIndex, before: ShardIndex, out: Path, way: TextPipeline, shard_bytes: int
) -> ShardIndex:
    """The index with the shards that are there already, if they are of the same making."""
    before = _renewed(before, index, way)
    if before.plan:
        raise ValueError(f"out: {out} holds a corpus that encode_corpus writes")
    for setting in _SETTINGS:
        new, old = getattr(index, setting), getattr(before, setting)
        if new != old:
            raise ValueError(f"out: {out} holds shards with {setting} {old!r}, not {new!r}")
    if before.version == 1 and index.version == 2:
        index = replace(index, shards=_undivided(index, shard_bytes))
    for new, old in zip(index.shards, before.shards, strict=False):
        if _parts(new) != _parts(old):
            raise ValueError(
                f"out: {out} holds a shard {old.name} of {_names(old)}, not of {_names(new)}"
            )
    if len(index.shards) < len(before.shards):
        raise ValueError(
            f"out: {out} holds {len(before.shards)} shards, more than these inputs give"
        )
    for number, old in enumerate(before.shards):
        if old.done and old.sources == index.shards[number].sources and is_there(old, out, index):
            index = index.with_shard(number, old)
    return index


def _undivided(index: ShardIndex, shard_bytes: int) -> tuple[Shard, ...]:
    """The plan of a release that divided no file."""
    sources = (source for shard in index.shards for source in shard.sources)
    whole = (replace(source, begin=0, end=-1) for source in sources if source.begin == 0)
    return tuple(_grouped(whole, shard_bytes))


def _renewed(before: ShardIndex, index: ShardIndex, way: TextPipeline) -> ShardIndex:
    """An index whose tokenizer an earlier release has hashed, with the hash of today."""
    earlier = not is_fingerprint(before.tokenizer)
    if earlier and before.tokenizer in earlier_fingerprints(way):
        return replace(before, tokenizer=index.tokenizer)
    return before


def _parts(shard: Shard) -> list[tuple[str, int, int]]:
    # A file that has changed may be of another length, and is still the same input.
    return [(source.path, source.begin, min(source.end, 0)) for source in shard.sources]


def _names(shard: Shard) -> list[str]:
    return [source.path for source in shard.sources]


def is_there(shard: Shard, out: Path, index: ShardIndex) -> bool:
    """Whether the files of a shard are there, each as long as it should be."""
    ids, ends = out / f"{shard.name}.bin", out / f"{shard.name}.ends"
    if not (ids.exists() and ends.exists()):
        return False
    size = np.dtype(index.dtype).itemsize * shard.tokens
    return ids.stat().st_size == size and ends.stat().st_size == 8 * shard.documents


__all__ = ["is_there", "resumed", "shards_of"]
