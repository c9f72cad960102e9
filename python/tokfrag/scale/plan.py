"""A plan of parts: which stretches of which files each part reads. Pure data, and hashed."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._files import whole_file
from tokfrag.tokens.shards.index import INDEX
from tokfrag.tokens.shards.sealing import compact_json, sealed, unsealed
from tokfrag.tokens.shards.sources import (
    Paths,
    Source,
    is_url,
    kind_of,
    ranges_of,
    size_and_stamp,
)

PLAN = "plan.json"
FILES = "plan.files"

_FORMAT = "tokfrag-corpus-plan"
_CHUNK = 1 << 14  # paths that are hashed, or written, at a time

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class CorpusPart:
    """A part of a plan, which a worker does by itself.

    Attributes
    ----------
    number
        Its place among the parts.
    sources
        What it reads.
    """

    number: int
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        """Of its files."""
        return part_name(self.number)

    @property
    def size(self) -> int:
        """About how many bytes it reads."""
        return sum(source.size for source in self.sources)

    def __repr__(self) -> str:
        first = self.sources[0].path if self.sources else None
        return f"CorpusPart({self.name}: {len(self.sources)} inputs from {first!r} on)"


def part_name(number: int) -> str:
    """The name of a part's files."""
    return f"{number:06d}"


class CorpusPlan:
    """Files, as they are now, in parts of about equal size: small even for a million files.

    Parameters
    ----------
    paths : path or iterable of paths
        As in ``encode_files``.
    part_bytes : int
        About how many bytes of input a part reads: small files are put together, a large one is
        divided where that is possible.
    settings : mapping
        All else that the results depend on; values that JSON holds.
    text : bool
        Whether texts may be cut.

    Raises
    ------
    ValueError
        No paths, a folder, or a kind of file that is not read.
    """

    def __init__(self, paths: Paths, part_bytes: int, settings: Settings, *, text: bool) -> None:
        if part_bytes < 1:
            raise ValueError(f"part_bytes: got {part_bytes}, takes 1 or more")
        if isinstance(paths, (str, os.PathLike)):
            paths = [paths]
        self.settings = {**settings, "part_bytes": part_bytes}
        self.paths: list[str] = []
        # Columns, not objects: a tenth of the memory. Of each file, and of each stretch: the file,
        # and from where to where.
        sizes, stamps, files, begins, ends = (array("q") for _ in range(5))
        for number, path in enumerate(paths):
            text_path = os.fspath(path)
            if not text_path.startswith("/") and not is_url(text_path):
                text_path = os.path.abspath(text_path)  # workers may stand in another folder
            size, stamp = size_and_stamp(text_path)
            kind_of(text_path)
            self.paths.append(text_path)
            sizes.append(size)
            stamps.append(stamp)
            ranges = [(0, -1)]
            if size > part_bytes:
                ranges = ranges_of(text_path, size, part_bytes, text=text)
            for begin, end in ranges:
                files.append(number)
                begins.append(begin)
                ends.append(end)
        if not self.paths:
            raise ValueError("paths: got none, takes a path or several")
        self._sizes, self._stamps, self._files, self._begins, self._ends = (
            np.frombuffer(column, np.int64) for column in (sizes, stamps, files, begins, ends)
        )
        whole = self._ends < 0
        spans = np.where(whole, self._sizes[self._files], self._ends - self._begins)
        self._starts = _grouped(spans, part_bytes)
        self.total_bytes = int(spans.sum())
        self.hash = self._hashed()

    def __len__(self) -> int:
        """How many parts there are."""
        return len(self._starts) - 1

    def part(self, number: int) -> CorpusPart:
        """One part, by its number."""
        first, last = self._starts[number : number + 2].tolist()
        sources = (
            Source(
                self.paths[file],
                int(self._sizes[file]),
                int(self._stamps[file]),
                int(self._begins[item]),
                int(self._ends[item]),
            )
            for item, file in enumerate(self._files[first:last].tolist(), first)
        )
        return CorpusPart(number, tuple(sources))

    def _hashed(self) -> str:
        digest = hashlib.sha256(compact_json(self.settings))
        for chunk in self._path_chunks():
            digest.update(compact_json(chunk))
        for column in (self._sizes, self._stamps, self._files, self._begins, self._ends):
            digest.update(column.data)
        digest.update(self._starts.data)
        return digest.hexdigest()

    def _path_chunks(self) -> Iterator[list[str]]:
        for at in range(0, len(self.paths), _CHUNK):
            yield self.paths[at : at + _CHUNK]

    def write(self, folder: Path, *, resume: bool) -> None:
        """Write the plan to a folder, or go on with the same plan that is there.

        Parameters
        ----------
        folder : Path
        resume : bool
            Take a folder that holds this plan already.

        Raises
        ------
        ValueError
            The folder holds another plan: names what differs.
        FileExistsError
            It holds something else, or, without ``resume``, this plan.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / PLAN).exists():
            if not resume:
                raise FileExistsError(f"out: {folder} holds a corpus; resume=True goes on with it")
            self._check_same(folder)
            return
        if (folder / INDEX).exists():
            raise FileExistsError(f"out: {folder} holds shards that encode_files wrote")
        with whole_file(folder / FILES) as file:
            at = 0
            for chunk in self._path_chunks():
                end = at + len(chunk)
                sizes, stamps = (c[at:end].tolist() for c in (self._sizes, self._stamps))
                file.write(compact_json([chunk, sizes, stamps]) + b"\n")
                at = end
        write_head(folder, self.hash, len(self), self.settings)

    def _check_same(self, folder: Path) -> None:
        before = PlanHead.read(folder)
        if before.hash == self.hash:
            return
        for name, value in self.settings.items():
            if before.settings.get(name) != value:
                raise ValueError(
                    f"out: {folder} holds a corpus with {name} {before.settings.get(name)!r}, not"
                    f" {value!r}"
                )
        raise ValueError(
            f"out: {folder} holds a corpus of other files, or of the same before they changed;"
            f" {FILES} there lists them"
        )


@dataclass(frozen=True)
class PlanHead:
    """What a folder says of its plan: the hash, how many parts, the settings."""

    hash: str
    parts: int
    settings: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> PlanHead:
        """Read it; ValueError names what is wrong with it."""
        root = unsealed((folder / PLAN).read_bytes(), str(folder / PLAN))
        if root.get("format", str, "") != _FORMAT or root.get("version", int, 0) != 1:
            raise root.refusal(f"is no {_FORMAT} of version 1")
        return cls(root.get("hash", str), root.get("parts", int), root.at("settings").take(dict))


def write_head(folder: Path, plan_hash: str, parts: int, settings: Settings) -> None:
    """Write ``plan.json``."""
    head = {"format": _FORMAT, "version": 1, "hash": plan_hash, "parts": parts}
    with whole_file(folder / PLAN) as file:
        file.write(sealed({**head, "settings": settings}))


def settings_hash(settings: Settings) -> str:
    """The hash of a plan that is its settings alone."""
    return hashlib.sha256(compact_json(settings)).hexdigest()


def _grouped(spans: NDArray[np.int64], part_bytes: int) -> NDArray[np.int64]:
    """Where parts begin among the stretches, and the end: each as full as it can be, or one."""
    totals = np.concatenate([[0], np.cumsum(spans)])
    starts = [0]
    while starts[-1] < len(spans):
        first = starts[-1]
        end = int(np.searchsorted(totals, totals[first] + part_bytes, "right")) - 1
        starts.append(max(end, first + 1))
    return np.array(starts, np.int64)


__all__ = [
    "FILES",
    "PLAN",
    "CorpusPart",
    "CorpusPlan",
    "PlanHead",
    "part_name",
    "settings_hash",
    "write_head",
]
