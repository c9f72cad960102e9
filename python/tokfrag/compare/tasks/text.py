"""Text: predict what comes next, judged in bits per byte whatever the pieces are."""

from __future__ import annotations

import lzma
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.text import chunks, read_text


class TextTask:
    """Python's own manual (``pydoc_data.topics``), or the user's file, `context` bytes a sample.

    The last tenth is for testing. A sample never ends within a character, so it can be a little
    shorter. Every piece of a sample is predicted from those before it, the first from nothing.
    With `pieces`, a network is shown so many pieces at a time in place of a whole sample, so that
    all cuts have the same context in pieces; samples are then of eight times as many bytes.
    """

    name = "text"

    def __init__(
        self,
        data: Path | None = None,
        *,
        context: int | None = None,
        pieces: int | None = None,
        texts: Sequence[str] | None = None,
    ):
        if pieces is not None and pieces < 2:
            raise ValueError(f"pieces: got {pieces}; it takes 2 or more")
        context = context if context is not None else 8 * pieces if pieces else 128
        self.pieces = pieces
        if context < 8:
            raise ValueError(f"context: got {context} bytes; it takes 8 or more")
        self.data = data
        if texts is not None:
            source, raw = "texts", "\n".join(texts).encode()
        elif data is None:
            source, raw = "Python's manual", _manual()
        else:
            source, raw = Path(data).name, read_text(Path(data))
        samples = chunks(raw, context)
        held = len(samples) // 10
        if held < 1:
            raise ValueError(
                f"data: got {len(raw)} bytes, {len(samples)} samples of {context}; "
                f"a split takes 10 samples or more"
            )
        self._split = Split(Samples(samples[:-held]), Samples(samples[-held:]))
        self.about = (
            f"{source}, {self._split.train.raw_bytes} bytes to learn from, "
            f"{self._split.test.raw_bytes} to be judged on, {context} a sample"
            + (f", {pieces} pieces at a time" if pieces else "")
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit this data."""
        return Recipe(batch=8, rate=6e-3, width=32)

    def split(self) -> Split:
        """The last tenth of the text is held out."""
        return self._split

    def problem(self) -> Problem:
        """Every piece from those before it."""
        from tokfrag.compare.problems import PredictNext

        return PredictNext(self.pieces)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Byte frequencies of the training part, and xz that has seen it."""
        train, test = b"".join(split.train.x), b"".join(split.test.x)
        together = len(lzma.compress(train + test)) - len(lzma.compress(train))
        return {
            "byte frequencies": _unigram_bits(train, test),
            "xz": 8 * together / len(test),
        }

    def default_cuts(self) -> Sequence[str]:
        """Bytes, characters, byte pairs, windows of bytes."""
        return ("bytes", "chars", "bpe:512", "bpe:2048", "window:8/4")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "120 GFLOP"


def _manual() -> bytes:
    from pydoc_data.topics import topics

    # Sections stand under several names; each is learnt from, or judged on, once.
    return "\n\n".join(dict.fromkeys(topics[name] for name in sorted(topics))).encode()


def _unigram_bits(train: bytes, test: bytes) -> float:
    """Bits per byte of a model that knows only how frequent each byte is."""
    counts = np.bincount(np.frombuffer(train, np.uint8), minlength=256) + 1
    bits = -np.log2(counts / counts.sum())
    return float(bits[np.frombuffer(test, np.uint8)].mean()) if test else math.nan
