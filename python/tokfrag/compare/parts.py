"""The three parts of the data: to learn from, to choose on, to be judged on; and what they share.

What stands in two parts is taken out of the earlier one and counted: a network is not judged on
what it was shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Samples, Split

#: Texts that share a string of this many bytes are near-duplicates.
SHINGLE = 32
_CHOOSE = 10


@dataclass(frozen=True)
class Parts:
    """Learn, choose and judge; ``removed`` counts what was taken out of the first two.

    ``shared`` counts what should have been, where that would have left too little to learn from.
    """

    learn: Samples
    choose: Samples
    judge: Samples
    removed: int = 0
    shared: int = 0

    @property
    def note(self) -> str | None:
        """What was taken out, as a sentence."""
        if not self.removed and not self.shared:
            return None
        kind = (
            "a copy of one"
            if isinstance(self.judge.x, np.ndarray)
            else f"a string of {SHINGLE} bytes"
        )
        if self.shared:
            return (
                f"the parts are not apart: {self.shared} samples to learn from or to choose on "
                f"share {kind} with a later part, and too few would be left without them"
            )
        return (
            f"{self.removed} samples left out of learning and choosing: they share {kind} with a "
            "later part"
        )


def in_parts(split: Split) -> Parts:
    """Part a split in three, without near-duplicates between the parts.

    Where the split names no part to choose on, every tenth training sample is it, drawn once; of
    a text that predicts itself, whose samples follow each other, the last tenth. Where samples form
    groups, whole groups are it, the last ones.

    Where more than half of a part would go, nothing does, and the note says so.

    Raises
    ------
    ValueError
        Where there is too little to part, or a value is not finite.
    """
    learn, choose = split.train, split.choose
    if not len(split.test):
        raise ValueError(f"data: got {len(learn)} samples to learn from, none to be judged on")
    for part in (learn, choose, split.test):
        _check_finite(part)
    if choose is None:
        learn, choose = _held_out(learn)
    kept_learn = _apart(learn, [split.test, choose])
    kept_choose = _apart(choose, [split.test])
    removed = len(learn) - len(kept_learn) + len(choose) - len(kept_choose)
    if 2 * len(kept_learn) < len(learn) or 2 * len(kept_choose) < len(choose):
        return Parts(learn, choose, split.test, shared=removed)
    return Parts(
        learn.take(kept_learn) if len(kept_learn) < len(learn) else learn,
        choose.take(kept_choose) if len(kept_choose) < len(choose) else choose,
        split.test,
        removed,
    )


def rehearsed(parts: Parts) -> Parts:
    """The same without the judging part: the part to choose on is judged, another is held out.

    So settings can be tried as often as one likes, and the judging part is looked at once, by those
    that came out of it.

    Parameters
    ----------
    parts
        Of the comparison that is rehearsed.

    Returns
    -------
    Parts
        None of them holds a sample of ``parts.judge``.
    """
    return in_parts(Split(parts.learn, parts.choose))


def _held_out(learn: Samples) -> tuple[Samples, Samples]:
    """A part to learn from without a tenth of it, and that tenth."""
    held = max(1, len(learn) // _CHOOSE)
    order = np.arange(len(learn))
    if learn.groups is not None and len(np.unique(learn.groups)) > 1:
        # Windows that overlap, or clips of one person, on both sides would choose what remembers.
        order = np.argsort(learn.groups, kind="stable")
        first = learn.groups[order[-held]]
        if first == learn.groups[order[0]]:
            first = learn.groups[order[-1]]
        held = int(np.count_nonzero(learn.groups >= first))
    elif isinstance(learn.x, np.ndarray) or learn.y is not None:
        # Files are often sorted by what is to be told.
        order = np.random.default_rng(0).permutation(len(learn))
    if len(order) <= held:
        raise ValueError(f"data: got {len(order)} samples to learn from; takes 2 or more")
    return learn.take(np.sort(order[:-held])), learn.take(np.sort(order[-held:]))


def _check_finite(part: Samples | None) -> None:
    for what in ("x", "y"):
        values = getattr(part, what, None)
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
            continue
        finite = np.isfinite(values)
        if not finite.all():
            raise ValueError(
                f"data: {finite.size - np.count_nonzero(finite)} of {finite.size} values of {what} "
                "are NaN or infinite"
            )


def _apart(part: Samples, later: list[Samples]) -> NDArray[np.int64]:
    """Which samples share nothing with later parts."""
    if isinstance(part.x, np.ndarray):
        seen = {sample.tobytes() for other in later for sample in np.asarray(other.x)}
        return np.flatnonzero([sample.tobytes() not in seen for sample in part.x])
    known = np.unique(np.concatenate([_shingles(other.x)[0] for other in later]))
    hashes, owners = _shingles(part.x)
    shared = np.unique(owners[np.isin(hashes, known)])
    return np.setdiff1d(np.arange(len(part)), shared)


def _shingles(texts: list[Any]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A hash of every string of 32 bytes in every text, and the text it is in.

    Texts shorter than that are strings of their own.
    """
    hashes, owners = [], []
    for i, text in enumerate(texts):
        raw = np.frombuffer(text.ljust(SHINGLE, b"\0"), np.uint8)
        words = np.lib.stride_tricks.sliding_window_view(raw, SHINGLE).copy().view(np.uint64)
        # Odd multipliers (of splitmix64 and xorshift64*): sums of products, modulo 2^64.
        mixed = words[:, 0] * np.uint64(0x9E3779B97F4A7C15)
        for column, factor in enumerate(
            (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x2545F4914F6CDD1D), 1
        ):
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(factor) + words[:, column]
        if len(text) < SHINGLE:
            # What fills it up is no part of it: zeros of its own are.
            mixed = mixed ^ np.uint64((len(text) + 1) * 0xD6E8FEB86659FD93 % (1 << 64))
        hashes.append(mixed)
        owners.append(np.full(len(mixed), i, np.int64))
    if not hashes:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    return np.concatenate(hashes), np.concatenate(owners)


def shared_share(train: list[bytes], test: list[bytes]) -> float:
    """The share of the test bytes that lie in a string of 32 bytes which training holds too.

    >>> shared_share([b"a" * 40], [b"a" * 40, b"b" * 40])
    0.5
    """
    known = np.unique(_shingles(train)[0])
    covered = total = 0
    for text in test:
        marks = np.zeros(max(len(text), SHINGLE), bool)
        for start in np.flatnonzero(np.isin(_shingles([text])[0], known)):
            marks[start : start + SHINGLE] = True
        covered += int(marks[: len(text)].sum())
        total += len(text)
    return covered / max(1, total)
