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
    """Every byte a token: a vocabulary of 256, nothing unknown.

    Examples
    --------
    >>> from tokfrag.compare import RawBytes, Samples
    >>> texts = Samples([b"to be, or not to be"])
    >>> fitted = RawBytes().fit(texts)
    >>> fitted.cut(texts.x).values[0, :5].tolist()
    [116, 111, 32, 98, 101]
    """

    merge: str = "attention"

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> RawBytes:
        """From a short name: ``bytes``.

        Parameters
        ----------
        args
            Nothing stands after the colon.
        flags
            The words between plus signs; only a patch takes any.
        merge
            How the network joins pieces; by attention where it is None.

        Returns
        -------
        RawBytes
            The cut.

        Raises
        ------
        ValueError
            Where there are flags.
        """
        refuse_flags(flags)
        return cls(merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return "bytes" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Take every byte as it is; there is nothing to learn.

        Parameters
        ----------
        train
            The part to learn from: ``x`` is a list of bytes.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.

        Raises
        ------
        ValueError
            For arrays, which are no text.
        """
        check_texts(train, self.name)

        def encode(texts: Sequence[bytes]) -> list[NDArray[Any]]:
            return [np.frombuffer(text, np.uint8) for text in texts]

        def decode(ids: NDArray[Any]) -> bytes:
            return ids.astype(np.uint8).tobytes()

        return fit_ids(train, encode, _BYTES, check_merge(self.merge), decode=decode)


@dataclass(frozen=True)
class Characters:
    """Every character seen in training a token; any other one falls back to its bytes.

    Examples
    --------
    >>> from tokfrag.compare import Characters, Samples
    >>> fitted = Characters().fit(Samples(["été".encode()]))
    >>> fitted.cut(["té".encode(), b"a"]).lengths.tolist(), fitted.spec.vocabulary
    ([2, 1], 258)
    """

    merge: str = "attention"

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> Characters:
        """From a short name: ``chars``.

        Parameters
        ----------
        args
            Nothing stands after the colon.
        flags
            The words between plus signs; only a patch takes any.
        merge
            How the network joins pieces; by attention where it is None.

        Returns
        -------
        Characters
            The cut.

        Raises
        ------
        ValueError
            Where there are flags.
        """
        refuse_flags(flags)
        return cls(merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return "chars" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Number the characters of the training part.

        Parameters
        ----------
        train
            The part to learn from: ``x`` is a list of bytes.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.

        Raises
        ------
        ValueError
            For arrays, which are no text.
        """
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
    """Byte-pair encoding of ``size`` tokens, learnt from the training part.

    Examples
    --------
    >>> from tokfrag.compare import Bpe, Samples
    >>> texts = Samples([b"to be, or not to be"])
    >>> fitted = Bpe(260).fit(texts)
    >>> fitted.cut(texts.x).lengths.tolist()
    [12]
    """

    size: int
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if self.size < _BYTES + 1:
            raise ValueError(f"bpe: got {self.size} tokens; 256 are the bytes, so 257 or more")

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> Bpe:
        """From a short name: ``bpe:SIZE``.

        Parameters
        ----------
        args
            How many tokens.
        flags
            The words between plus signs; only a patch takes any.
        merge
            How the network joins pieces; by attention where it is None.

        Returns
        -------
        Bpe
            The cut.

        Raises
        ------
        ValueError
            Where there are flags, or no number.
        """
        refuse_flags(flags)
        return cls(read_number(args), merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return f"bpe:{self.size}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Train byte-pair encoding on the training part.

        Parameters
        ----------
        train
            The part to learn from: ``x`` is a list of bytes.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.

        Raises
        ------
        ValueError
            For arrays, which are no text.
        """
        texts = [text.decode() for text in check_texts(train, self.name)]
        # An iterator: a list of strings could be meant as paths.
        tokenizer = Tokenizer.train(iter(texts), self.size)
        return TokenizerCut(tokenizer, self.merge, self.name).fit(train)


@dataclass(frozen=True)
class WordPieces:
    """WordPiece with a given vocabulary file, one piece a line.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tokfrag.compare import Samples, WordPieces
    >>> pieces = ["[UNK]", "to", "be", "##come"]
    >>> _ = Path("vocab.txt").write_text("\\n".join(pieces))
    >>> fitted = WordPieces("vocab.txt").fit(Samples([b"to become"]))
    >>> fitted.cut([b"to become"]).values.tolist()
    [[1, 2, 3]]
    """

    path: str
    merge: str = "attention"

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> WordPieces:
        """From a short name: ``wordpiece:vocab.txt``.

        Parameters
        ----------
        args
            The vocabulary file, one piece a line.
        flags
            The words between plus signs; only a patch takes any.
        merge
            How the network joins pieces; by attention where it is None.

        Returns
        -------
        WordPieces
            The cut.

        Raises
        ------
        ValueError
            Where there are flags, or no file is named.
        """
        refuse_flags(flags)
        if not args:
            raise ValueError("takes a vocabulary file after the colon")
        return cls(args, merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        return f"wordpiece:{self.path}" + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Read the vocabulary file; a WordPiece has nothing to learn.

        Parameters
        ----------
        train
            The part to learn from: ``x`` is a list of bytes.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.

        Raises
        ------
        FileNotFoundError
            Where there is no such file.
        ValueError
            For arrays, which are no text.
        """
        if not Path(self.path).is_file():
            raise FileNotFoundError(f"cut {self.name}: no such vocabulary file: {self.path}")
        tokenizer = Tokenizer.from_wordpiece(self.path)
        return TokenizerCut(tokenizer, self.merge, self.name).fit(train)


@dataclass(frozen=True)
class ByteWindows:
    """Fragments of text: windows of ``size`` bytes, each ending in ``stride`` new ones.

    Examples
    --------
    >>> from tokfrag.compare import ByteWindows, Samples
    >>> fitted = ByteWindows(4, 2).fit(Samples([b"abcd"]))
    >>> pieces = fitted.cut([b"abcd"])
    >>> [bytes(window[window < 256].tolist()) for window in pieces.values[0]]
    [b'ab', b'abcd']
    """

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
        """From a short name: ``window:SIZE/STRIDE``, in bytes.

        Parameters
        ----------
        args
            The size, and how many of its bytes are new after a slash.
        flags
            The words between plus signs; only a patch takes any.
        merge
            How the network joins pieces; by attention where it is None.

        Returns
        -------
        ByteWindows
            The cut.

        Raises
        ------
        ValueError
            Where there are flags, or more than one axis.
        """
        refuse_flags(flags)
        size, stride = read_geometry(args)
        if len(size) != 1 or (stride is not None and len(stride) != 1):
            raise ValueError(f"text has one axis, got {len(size)}")
        return cls(size[0], stride[0] if stride else size[0], merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        text = f"window:{self.size}"
        text += "" if self.stride == self.size else f"/{self.stride}"
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"fragments"``."""
        return "fragments"

    def fit(self, train: Samples) -> FittedCut:
        """Make room for the longest training text; windows have nothing to learn.

        Parameters
        ----------
        train
            The part to learn from: ``x`` is a list of bytes.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.

        Raises
        ------
        ValueError
            For arrays, which are no text.
        """
        longest = max(train.longest, *map(len, check_texts(train, self.name)))
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
