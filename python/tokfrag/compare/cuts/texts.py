"""Cuts of text: bytes, characters, byte-pair encoding trained on the spot, windows of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.cut import FittedCut, check_merge
from tokfrag.compare.pieces import Pieces, PieceSpec, pad_ids
from tokfrag.compare.task import Samples
from tokfrag.fragments import FragmentGrid, extract

_BYTES = 256


def _texts(train: Samples, name: str) -> list[bytes]:
    if isinstance(train.x, np.ndarray):
        raise ValueError(f"cut {name}: takes text, got an array of shape {train.x.shape}")
    return list(train.x)


def _fit_ids(
    train: Samples,
    encode: Callable[[Sequence[bytes]], list[NDArray[Any]]],
    vocabulary: int,
    merge: str,
    unknown: Callable[[list[NDArray[Any]]], float] | None = None,
) -> FittedCut:
    """The part that every tokenizer shares: room for the longest sample, rows filled up."""
    longest = max(len(row) for row in encode(train.x))
    # A tokenizer never makes more pieces than there are bytes, so nothing is cut off in testing.
    room = longest if merge == "concat" else max(longest, max(map(len, train.x)))

    def cut(texts: Sequence[bytes]) -> Pieces:
        rows = encode(texts)
        width = room if merge == "concat" else max(1, max(map(len, rows)))
        pieces = pad_ids(rows, vocabulary, min(width, room))
        return Pieces(pieces.values, pieces.lengths, unknown(rows) if unknown else 0.0)

    return FittedCut(PieceSpec(room, (), vocabulary, merge, padded=True), cut)


@dataclass(frozen=True)
class RawBytes:
    """Every byte a token: a vocabulary of 256, nothing unknown."""

    merge: str = "attention"

    @property
    def name(self) -> str:
        return "bytes" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        _texts(train, self.name)

        def encode(texts: Sequence[bytes]) -> list[NDArray[Any]]:
            return [np.frombuffer(text, np.uint8) for text in texts]

        return _fit_ids(train, encode, _BYTES, check_merge(self.merge))


@dataclass(frozen=True)
class Characters:
    """Every character seen in training a token; any other one falls back to its bytes."""

    merge: str = "attention"

    @property
    def name(self) -> str:
        return "chars" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        seen = sorted({c for text in _texts(train, self.name) for c in text.decode()})
        first = {character: i for i, character in enumerate(seen)}

        def encode_one(text: bytes) -> NDArray[Any]:
            ids: list[int] = []
            for character in text.decode():
                known = first.get(character)
                if known is not None:
                    ids.append(known)
                else:
                    ids.extend(len(seen) + byte for byte in character.encode())
            return np.array(ids, dtype=np.int32)

        def encode(texts: Sequence[bytes]) -> list[NDArray[Any]]:
            return [encode_one(text) for text in texts]

        def unknown(rows: list[NDArray[Any]]) -> float:
            ids = np.concatenate(rows)
            return float(np.mean(ids >= len(seen)))

        return _fit_ids(train, encode, len(seen) + _BYTES, check_merge(self.merge), unknown)


@dataclass(frozen=True)
class Bpe:
    """Byte-pair encoding of ``size`` tokens, learnt from the training part."""

    size: int
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if self.size < _BYTES + 1:
            raise ValueError(f"bpe: got {self.size} tokens; 256 are the bytes, so 257 or more")

    @property
    def name(self) -> str:
        return f"bpe:{self.size}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        from tokfrag.tokens import Tokenizer

        texts = [text.decode() for text in _texts(train, self.name)]
        # An iterator: a list of strings could be meant as paths.
        tokenizer = Tokenizer.train(iter(texts), self.size)
        return TokenizerCut(tokenizer, merge=self.merge).fit(train)


@dataclass(frozen=True)
class WordPieces:
    """WordPiece with a given vocabulary file, one piece a line."""

    path: str
    merge: str = "attention"

    @property
    def name(self) -> str:
        return f"wordpiece:{self.path}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        from tokfrag.tokens import Tokenizer

        if not Path(self.path).is_file():
            raise FileNotFoundError(f"cut {self.name}: no such vocabulary file: {self.path}")
        tokenizer = Tokenizer.from_wordpiece(self.path)
        return TokenizerCut(tokenizer, merge=self.merge).fit(train)


class TokenizerCut:
    """The tokenizer a user already holds: any object with ``encode(text) -> ids``."""

    def __init__(self, tokenizer: Any, *, name: str | None = None, merge: str = "attention"):
        self.tokenizer = tokenizer
        self.merge = check_merge(merge)
        self.size = _vocabulary_size(tokenizer)
        self.name = name or f"{type(tokenizer).__name__.lower()}:{self.size}"

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        _texts(train, self.name)
        return _fit_ids(train, self._encode, self.size, self.merge)

    def _encode(self, texts: Sequence[bytes]) -> list[NDArray[Any]]:
        from tokfrag.tokens import Tokenizer

        decoded = [text.decode() for text in texts]
        if isinstance(self.tokenizer, Tokenizer):
            batch = self.tokenizer.encode_batch(decoded)
            return [np.asarray(batch[i]) for i in range(len(batch))]
        rows = []
        for text in decoded:
            ids = self.tokenizer.encode(text)
            rows.append(np.asarray(getattr(ids, "ids", ids), dtype=np.int64))
        return rows


def _vocabulary_size(tokenizer: Any) -> int:
    """One more than the largest id, as tokenizers of several libraries tell it."""
    for attribute in ("vocab_size", "n_vocab", "get_vocab_size"):
        size = getattr(tokenizer, attribute, None)
        size = size() if callable(size) else size
        if isinstance(size, int):
            return size
    raise TypeError(
        f"cut: a tokenizer of type {type(tokenizer).__name__} tells no vocab_size, n_vocab or "
        "get_vocab_size()"
    )


@dataclass(frozen=True)
class ByteWindows:
    """Fragments of text: windows of ``size`` bytes, each ending in ``stride`` new ones."""

    size: int
    stride: int
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if self.size < 1:
            raise ValueError(f"window: got size {self.size}; it takes 1 or more")
        if not 1 <= self.stride <= self.size:
            raise ValueError(
                f"window: got size {self.size}, stride {self.stride}; a window ends in 1 to "
                f"{self.size} new bytes"
            )

    @property
    def name(self) -> str:
        text = f"window:{self.size}"
        text += "" if self.stride == self.size else f"/{self.stride}"
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "fragments"

    def fit(self, train: Samples) -> FittedCut:
        longest = max(map(len, _texts(train, self.name)))
        n = -(-longest // self.stride)
        before = self.size - self.stride
        extent = before + n * self.stride
        grid = FragmentGrid((extent,), (self.size,), (self.stride,))

        def cut(texts: Sequence[bytes]) -> Pieces:
            rows = np.full((len(texts), 1, extent), _BYTES, dtype=np.int16)
            for row, text in zip(rows, texts, strict=True):
                row[0, before : before + len(text)] = np.frombuffer(text, np.uint8)[
                    : extent - before
                ]
            windows = np.asarray(extract(rows, grid))[:, :, 0]
            lengths = np.array([min(n, -(-len(t) // self.stride)) for t in texts], np.int64)
            return Pieces(windows, lengths, 0.0)

        spec = PieceSpec(n, (self.size,), _BYTES, self.merge, fresh=self.stride, padded=True)
        return FittedCut(spec, cut, overlap=self.size / self.stride)
