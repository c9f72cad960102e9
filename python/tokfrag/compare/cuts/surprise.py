"""Patches of bytes that begin where a small byte model is surprised, as in BLT (2412.09871).

The model counts which byte follows the three before it, backing off to two, one and none. It sees
nothing but what came before, so whoever predicts a text knows where each patch begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import FittedCut, Pieces, PieceSpec, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_number, refuse_flags
from tokfrag.compare.cuts.tokenizers import check_texts

_BYTES = 256
_ORDERS = 3
# How many times a context must have been seen before its own counts weigh as much as the shorter
# one's probabilities.
_PRIOR = 4.0
# Bytes of text that are counted at a time, and contexts that get a row of 256 numbers at a time:
# the model takes 66 MB, 100 MB while it counts, and 16 bytes for each different run of four bytes.
_SLICE = 1 << 22
_AT_ONCE = 1 << 14


class ByteModel:
    """The entropy of the next byte by the three before it, learnt by counting.

    Parameters
    ----------
    texts : sequence of bytes
        What to count.

    Examples
    --------
    >>> model = ByteModel([b"abab" * 50])
    >>> bool(model.entropy(b"aba")[1] < model.entropy(b"aba")[0])
    True
    """

    def __init__(self, texts: Sequence[bytes]):
        counts = np.zeros(_BYTES)
        for text in texts:
            counts += np.bincount(np.frombuffer(text, np.uint8), minlength=_BYTES)
        chances = (counts + 1) / (counts.sum() + _BYTES)
        self._none = _entropy(chances)
        self._contexts: list[NDArray[np.int64]] = []
        self._entropies: list[NDArray[np.float64]] = []
        below: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
        for order in range(1, _ORDERS + 1):
            pairs, seen = _counted(texts, order)
            if not len(pairs):
                break
            contexts = np.unique(pairs // _BYTES)
            mixed = np.empty((len(contexts) if order < _ORDERS else 0, _BYTES), np.float32)
            entropies = np.empty(len(contexts))
            # The longest contexts are as many as there are texts to tell; only so many at a time
            # get a row of 256 numbers, and of those only the entropy is kept.
            for begin in range(0, len(contexts), _AT_ONCE):
                some = contexts[begin : begin + _AT_ONCE]
                low, high = np.searchsorted(pairs, (some[0] * _BYTES, (some[-1] + 1) * _BYTES))
                held = np.zeros((len(some), _BYTES), np.float32)
                which = np.searchsorted(some, pairs[low:high] // _BYTES)
                held[which, pairs[low:high] % _BYTES] = seen[low:high]
                if below is None:
                    prior = np.broadcast_to(chances, held.shape)
                else:
                    # A shorter context is the longer one without its first byte, and was seen too.
                    short = some % (_BYTES ** (order - 1))
                    prior = below[1][np.searchsorted(below[0], short)]
                found = (held + _PRIOR * prior) / (held.sum(1, keepdims=True) + _PRIOR)
                entropies[begin : begin + len(some)] = _entropy(found)
                if order < _ORDERS:
                    mixed[begin : begin + len(some)] = found
            self._contexts.append(contexts)
            self._entropies.append(entropies)
            below = (contexts, mixed)

    def entropy(self, text: bytes) -> NDArray[np.float64]:
        """Bits that each byte of a text is expected to take, before it is seen."""
        raw = np.frombuffer(text, np.uint8).astype(np.int64)
        found = np.full(len(raw), float(self._none))
        for order, (contexts, entropies) in enumerate(
            zip(self._contexts, self._entropies, strict=True), 1
        ):
            if len(raw) <= order:
                break
            keys = _keys(raw, order)[:-1]
            place = np.minimum(np.searchsorted(contexts, keys), len(contexts) - 1)
            known = contexts[place] == keys
            found[order:][known] = entropies[place][known]
        return found


def _counted(texts: Sequence[bytes], order: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every run of ``order`` bytes with the byte after it, as one rising number, and how often."""
    pairs, seen = np.empty(0, np.int64), np.empty(0, np.int64)
    runs: list[NDArray[np.int64]] = []

    def merge() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        new, counts = np.unique(np.concatenate(runs), return_counts=True)
        both, where = np.unique(np.concatenate((pairs, new)), return_inverse=True)
        weights = np.concatenate((seen, counts))
        return both, np.bincount(where, weights, len(both)).astype(np.int64)

    held = 0
    for text in texts:
        for begin in range(0, len(text) - order, _SLICE):
            raw = np.frombuffer(text[begin : begin + _SLICE + order], np.uint8).astype(np.int64)
            runs.append(_keys(raw, order + 1))
            held += len(runs[-1])
            if held >= _SLICE:
                pairs, seen = merge()
                runs, held = [], 0
    return merge() if runs else (pairs, seen)


def _entropy(chances: NDArray[Any]) -> Any:
    return -(chances * np.log2(np.maximum(chances, 1e-30))).sum(-1)


def _keys(raw: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """Every run of ``order`` bytes as one number."""
    windows = np.lib.stride_tricks.sliding_window_view(raw, order)
    place: NDArray[np.int64] = windows @ (_BYTES ** np.arange(order - 1, -1, -1))
    return place


@dataclass(frozen=True)
class EntropyPatches:
    """Patches of about ``size`` bytes that begin where the next byte is hard to tell.

    The threshold is such that the training part has that many bytes a patch; no patch is longer
    than three times the size.

    Examples
    --------
    >>> from tokfrag.compare import Samples
    >>> texts = [b"the cat and the dog and the cow "] * 8
    >>> fitted = EntropyPatches(4).fit(Samples(texts))
    >>> fitted.decode(fitted.cut(texts).values[0]) == texts[0]
    True
    """

    size: int
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if not 2 <= self.size <= 64:
            raise ValueError(f"entropy: got patches of {self.size} bytes; it takes 2 to 64")

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> EntropyPatches:
        """From a short name: ``entropy:SIZE``, in bytes a patch."""
        refuse_flags(flags)
        return cls(read_number(args), merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return f"entropy:{self.size}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"fragments"``."""
        return "fragments"

    def fit(self, train: Samples) -> FittedCut:
        """Count bytes, and find the threshold."""
        texts = check_texts(train, self.name)
        model, longest = ByteModel(texts), 3 * self.size
        surprises = [model.entropy(text) for text in texts]
        threshold = _threshold(surprises, self.size, longest)
        most = max(len(_ends(s, threshold, longest)) for s in surprises)
        # A text harder to tell than those may have as many patches as bytes.
        room = most if self.merge == "concat" else max(1, train.longest, *map(len, texts))

        def cut(given: Sequence[bytes]) -> Pieces:
            ends = [_ends(model.entropy(text), threshold, longest) for text in given]
            lengths = np.array([min(room, len(e)) for e in ends], np.int64)
            width = room if self.merge == "concat" else max(1, int(lengths.max(initial=1)))
            values = np.full((len(given), width, longest), _BYTES, np.int16)
            for row, text, stops in zip(values, given, ends, strict=True):
                begin = 0
                for patch, end in zip(row, stops, strict=False):
                    patch[: end - begin] = np.frombuffer(text[begin:end], np.uint8)
                    begin = end
            return Pieces(values, lengths, 0.0)

        def decode(values: NDArray[Any]) -> bytes:
            held = values.reshape(-1)
            return held[held < _BYTES].astype(np.uint8).tobytes()

        spec = PieceSpec(room, (longest,), _BYTES, self.merge, fresh=longest, padded=True)
        notes = (f"boundaries where the next byte takes more than {threshold:.2f} bits",)
        return FittedCut(spec, cut, decode=decode, notes=notes)


def _ends(surprise: NDArray[np.float64], threshold: float, longest: int) -> list[int]:
    """Where each patch ends: before a surprise, or when it is as long as it may be."""
    ends: list[int] = []
    begin, length = 0, len(surprise)
    for place in [*np.flatnonzero(surprise > threshold).tolist(), length]:
        while place - begin > longest:
            begin += longest
            ends.append(begin)
        if place > begin:
            ends.append(place)
            begin = place
    return ends


def _threshold(surprises: list[NDArray[np.float64]], size: int, longest: int) -> float:
    """The threshold with as many bytes a patch as was asked for, by halving an interval."""
    total = sum(map(len, surprises))
    low, high = 0.0, 8.0
    for _ in range(20):
        middle = (low + high) / 2
        patches = sum(len(_ends(s, middle, longest)) for s in surprises)
        low, high = (middle, high) if total < size * patches else (low, middle)
    return high
