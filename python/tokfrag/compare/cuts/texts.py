"""Cuts of text: bytes, characters, byte-pair encoding trained on the spot, windows of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import FittedCut, Pieces, PieceSpec, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_geometry, read_number, refuse_flags
from tokfrag.compare.cuts.tokenizers import TokenizerCut, check_texts, fit_ids
from tokfrag.fragments import FragmentGrid, extract
from tokfrag.tokens import Tokenizer

_BYTES = 256


@dataclass(frozen=True)
class RawBytes:
    """Every byte a token: a vocabulary of 256, nothing unknown."""

    merge: str = "attention"

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> RawBytes:
        """From a short name."""
        refuse_flags(flags)
        return cls(merge or "attention")

    @property
    def name(self) -> str:
        return "bytes" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        check_texts(train, self.name)

        def encode(texts: Sequence[bytes]) -> list[NDArray[Any]]:
            return [np.frombuffer(text, np.uint8) for text in texts]

        def decode(ids: NDArray[Any]) -> bytes:
            return ids.astype(np.uint8).tobytes()

        return fit_ids(train, encode, _BYTES, check_merge(self.merge), decode=decode)


@dataclass(frozen=True)
class Characters:
    """Every character seen in training a token; any other one falls back to its bytes."""

    merge: str = "attention"

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> Characters:
        """From a short name."""
        refuse_flags(flags)
        return cls(merge or "attention")

    @property
    def name(self) -> str:
        return "chars" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        seen = sorted({c for text in check_texts(train, self.name) for c in text.decode()})
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

        def decode(ids: NDArray[Any]) -> bytes:
            return b"".join(
                seen[i].encode() if i < len(seen) else bytes([i - len(seen)]) for i in ids.tolist()
            )

        def unknown(rows: Sequence[NDArray[Any]]) -> float:
            ids = np.concatenate(rows)
            return float(np.mean(ids >= len(seen))) if len(ids) else 0.0

        return fit_ids(
            train,
            encode,
            len(seen) + _BYTES,
            check_merge(self.merge),
            decode=decode,
            unknown=unknown,
        )


@dataclass(frozen=True)
class Bpe:
    """Byte-pair encoding of ``size`` tokens, learnt from the training part."""

    size: int
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if self.size < _BYTES + 1:
            raise ValueError(f"bpe: got {self.size} tokens; 256 are the bytes, so 257 or more")

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> Bpe:
        """From a short name."""
        refuse_flags(flags)
        return cls(read_number(args), merge or "attention")

    @property
    def name(self) -> str:
        return f"bpe:{self.size}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        texts = [text.decode() for text in check_texts(train, self.name)]
        # An iterator: a list of strings could be meant as paths.
        tokenizer = Tokenizer.train(iter(texts), self.size)
        return TokenizerCut(tokenizer, self.merge, self.name).fit(train)


@dataclass(frozen=True)
class WordPieces:
    """WordPiece with a given vocabulary file, one piece a line."""

    path: str
    merge: str = "attention"

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> WordPieces:
        """From a short name."""
        refuse_flags(flags)
        if not args:
            raise ValueError("takes a vocabulary file after the colon")
        return cls(args, merge or "attention")

    @property
    def name(self) -> str:
        return f"wordpiece:{self.path}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        if not Path(self.path).is_file():
            raise FileNotFoundError(f"cut {self.name}: no such vocabulary file: {self.path}")
        tokenizer = Tokenizer.from_wordpiece(self.path)
        return TokenizerCut(tokenizer, self.merge, self.name).fit(train)


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

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> ByteWindows:
        """From a short name."""
        refuse_flags(flags)
        size, stride = read_geometry(args)
        if len(size) != 1 or (stride is not None and len(stride) != 1):
            raise ValueError(f"text has one axis, got {len(size)}")
        return cls(size[0], stride[0] if stride else size[0], merge or "attention")

    @property
    def name(self) -> str:
        text = f"window:{self.size}"
        text += "" if self.stride == self.size else f"/{self.stride}"
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        return "fragments"

    def fit(self, train: Samples) -> FittedCut:
        longest = max(map(len, check_texts(train, self.name)))
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

        def decode(windows: NDArray[Any]) -> bytes:
            new = windows[:, before:].reshape(-1)
            return new[new < _BYTES].astype(np.uint8).tobytes()

        return FittedCut(spec, cut, overlap=self.size / self.stride, decode=decode)
