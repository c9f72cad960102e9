"""Tokenizers as cuts: the object a user holds, or a file on disk, whatever library made it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import (
    FittedCut,
    Pieces,
    PieceSpec,
    Samples,
    check_merge,
    pad_ids,
)
from tokfrag.tokens import Tokenizer

_SUFFIXES = (".json", ".tiktoken", ".model")


def check_texts(train: Samples, name: str) -> list[bytes]:
    """The training part as texts, or an error that says what came instead."""
    if isinstance(train.x, np.ndarray):
        raise ValueError(f"cut {name}: takes text, got an array of shape {train.x.shape}")
    return list(train.x)


def fit_ids(
    train: Samples,
    encode: Callable[[Sequence[bytes]], Sequence[NDArray[Any]]],
    vocabulary: int,
    merge: str,
    *,
    decode: Callable[[NDArray[Any]], bytes] | None,
    unknown: Callable[[Sequence[NDArray[Any]]], float] | None = None,
) -> FittedCut:
    """Fit what every tokenizer shares: room for the longest sample, rows filled up."""
    longest = max(1, max(len(row) for row in encode(train.x)))
    # A tokenizer seldom makes more pieces than there are bytes; where it does, the gate says so.
    room = longest
    if merge != "concat":
        room = max(longest, train.longest, *map(len, train.x))

    def cut(texts: Sequence[bytes]) -> Pieces:
        rows = encode(texts)
        ids = np.concatenate(rows) if rows else np.empty(0, np.int64)
        if len(ids) and not 0 <= ids.min() <= ids.max() < vocabulary:
            wrong = int(ids.max() if ids.max() >= vocabulary else ids.min())
            raise ValueError(
                f"ids: got {wrong}; the tokenizer tells a vocabulary of {vocabulary}, so ids "
                f"lie from 0 to {vocabulary - 1}"
            )
        width = room if merge == "concat" else max(1, max(map(len, rows)))
        pieces = pad_ids(rows, vocabulary, min(width, room))
        return Pieces(pieces.values, pieces.lengths, unknown(rows) if unknown else None)

    spec = PieceSpec(room, (), vocabulary, merge, padded=True)
    return FittedCut(spec, cut, decode=decode)


@dataclass(frozen=True)
class Adapter:
    """One tokenizer's ``encode`` and ``decode`` with special tokens off, and its vocabulary.

    ``decode`` is None where the tokenizer has none.
    """

    encode: Callable[[Sequence[bytes]], list[NDArray[Any]]]
    decode: Callable[[NDArray[Any]], bytes] | None
    vocabulary: int
    unknown_id: int | None = None

    @classmethod
    def of(cls, tokenizer: Any) -> Adapter:
        """Find out how to speak to a tokenizer: ours, Hugging Face's, tiktoken's, one's own."""
        unknown = _unknown_id(tokenizer)
        if isinstance(tokenizer, Tokenizer):

            def encode_ours(texts: Sequence[bytes]) -> list[NDArray[Any]]:
                batch = tokenizer.encode_batch([text.decode() for text in texts])
                return [np.asarray(batch[i]) for i in range(len(batch))]

            return cls(encode_ours, _decode_ours(tokenizer), _vocabulary_size(tokenizer), unknown)
        # tiktoken's encode_ordinary knows no special tokens; Hugging Face's adds some by default.
        call = getattr(tokenizer, "encode_ordinary", None) or tokenizer.encode
        options = _accepted(call, {"add_special_tokens": False, "disallowed_special": ()})

        def encode(texts: Sequence[bytes]) -> list[NDArray[Any]]:
            rows = []
            for text in texts:
                ids = call(text.decode(), **options)
                rows.append(np.asarray(getattr(ids, "ids", ids), dtype=np.int64).reshape(-1))
            return rows

        return cls(encode, _decode_any(tokenizer), _vocabulary_size(tokenizer), unknown)


def _decode_ours(tokenizer: Tokenizer) -> Callable[[NDArray[Any]], bytes]:
    return lambda ids: tokenizer.decode_bytes(np.asarray(ids, dtype=np.uint32))


def _decode_any(tokenizer: Any) -> Callable[[NDArray[Any]], bytes] | None:
    exact = getattr(tokenizer, "decode_bytes", None)
    if callable(exact):
        return lambda ids: bytes(exact(ids.tolist()))
    call = getattr(tokenizer, "decode", None)
    if not callable(call):
        return None
    # A clean-up of spaces would make a tokenizer that keeps all look as if it lost some.
    options = _accepted(call, {"skip_special_tokens": False, "clean_up_tokenization_spaces": False})

    def decode(ids: NDArray[Any]) -> bytes:
        found = call(ids.tolist(), **options)
        return found if isinstance(found, bytes) else str(found).encode("utf-8", "surrogatepass")

    return decode


def _accepted(call: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that a function takes by name."""
    try:
        parameters = inspect.signature(call).parameters
    except (TypeError, ValueError):
        return {}
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    if open_ended and "add_special_tokens" in options:
        # transformers hides add_special_tokens behind **kwargs in some of its classes.
        return {"add_special_tokens": False} if hasattr(call, "__self__") else {}
    return {name: value for name, value in options.items() if name in parameters}


def _unknown_id(tokenizer: Any) -> int | None:
    """The id for what a tokenizer does not know, as several libraries tell it."""
    named = getattr(tokenizer, "unk_token_id", None)
    if isinstance(named, int):
        return named
    find = getattr(tokenizer, "token_to_id", None)
    if not callable(find):
        return None
    for token in ("[UNK]", "<unk>"):
        try:
            found = find(token)
        except (KeyError, ValueError):
            continue
        if isinstance(found, int):
            return found
    return None


def _vocabulary_size(tokenizer: Any) -> int:
    """One more than the largest id, as tokenizers of several libraries tell it."""
    try:
        # transformers leaves added tokens out of vocab_size, and counts them in len().
        counted = len(tokenizer)
    except TypeError:
        counted = 0
    for attribute in ("vocab_size", "n_vocab", "get_vocab_size"):
        size = getattr(tokenizer, attribute, None)
        size = size() if callable(size) else size
        if isinstance(size, int):
            return max(size, counted)
    raise TypeError(
        f"cut: a tokenizer of type {type(tokenizer).__name__} tells no vocab_size, n_vocab or "
        "get_vocab_size()"
    )


@dataclass(frozen=True, eq=False)
class TokenizerCut:
    """The tokenizer a user already holds: any object with ``encode(text) -> ids``.

    Special tokens stay off. With ``decode(ids)`` it can be shown to lose nothing; without, its row
    stands below the line.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> from tokfrag.compare import Samples, TokenizerCut
    >>> cut = TokenizerCut(Tokenizer.train(iter(["to be or not to be"]), 260))
    >>> cut.name
    'tokenizer:260'
    >>> fitted = cut.fit(Samples([b"to be"]))
    >>> fitted.decode(fitted.cut([b"to be"]).values[0])
    b'to be'
    """

    tokenizer: Any
    merge: str = "attention"
    given_name: str | None = None

    def __post_init__(self) -> None:
        check_merge(self.merge)
        _vocabulary_size(self.tokenizer)

    @property
    def name(self) -> str:
        """The name it was given, or its type with the size of its vocabulary."""
        if self.given_name is not None:
            return self.given_name
        size = _vocabulary_size(self.tokenizer)
        text = f"{type(self.tokenizer).__name__.lower()}:{size}"
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Make room for the longest training sample; a tokenizer has nothing to learn.

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
        spoken = Adapter.of(self.tokenizer)

        def unknown(rows: Sequence[NDArray[Any]]) -> float:
            ids = np.concatenate(rows) if rows else np.empty(0, np.int64)
            return float(np.mean(ids == spoken.unknown_id)) if len(ids) else 0.0

        return fit_ids(
            train,
            spoken.encode,
            spoken.vocabulary,
            self.merge,
            decode=spoken.decode,
            unknown=None if spoken.unknown_id is None else unknown,
        )


def is_tokenizer_file(text: str) -> bool:
    """Whether a cut's name is a tokenizer on disk: by its suffix, or ``hf:`` before a folder."""
    name = text.split("@")[0].removesuffix(".gz")
    return name.startswith("hf:") or name.endswith(_SUFFIXES)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file: ``tokenizer.json``, ``x.tiktoken``, ``x.model``, a ``vocab.txt``.

    A ``.tiktoken`` table does not hold its pattern; it is told from the name (``o200k_base``,
    ``r50k_base``, ``p50k_base``), and is that of ``cl100k_base`` for any other.
    """
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"no such tokenizer file: {path}")
    name = path.name.removesuffix(".gz")
    if name.endswith(".tiktoken"):
        known = {"o200k": "o200k", "r50k": "gpt2", "p50k": "gpt2", "gpt2": "gpt2"}
        found = next((p for start, p in known.items() if name.startswith(start)), "cl100k")
        return Tokenizer.from_tiktoken(path, pattern=found)
    if name.endswith(".json"):
        return Tokenizer.from_file(path)
    if name.endswith(".model"):
        read = getattr(Tokenizer, "from_sentencepiece", None)
        if read is None:
            raise ValueError(f"{path}: this version reads no SentencePiece model")
        tokenizer: Tokenizer = read(path)
        return tokenizer
    if name.endswith(".txt"):
        return Tokenizer.from_wordpiece(path)
    raise ValueError(f"{path}: takes .json, .tiktoken, .model or .txt")


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer on disk, named by its path; ``hf:`` stands before a folder.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> from tokfrag.compare import Samples, TokenizerFile
    >>> Tokenizer.train(iter(["to be or not to be"]), 260).save("shakespeare.json")
    >>> cut = TokenizerFile.read("shakespeare.json@mean")
    >>> cut.name, cut.fit(Samples([b"to be"])).spec.vocabulary
    ('shakespeare.json@mean', 260)
    """

    path: str
    merge: str = "attention"

    @classmethod
    def read(cls, text: str) -> TokenizerFile:
        """From a command line: the path, and how pieces are joined after an ``@``.

        Parameters
        ----------
        text
            Such as ``tokenizer.json@mean``.

        Returns
        -------
        TokenizerFile
            The cut.

        Raises
        ------
        ValueError
            Where pieces cannot be joined in that way.
        """
        path, _, merge = text.rpartition("@") if "@" in text else (text, "", "")
        return cls(path, check_merge(merge or "attention"))

    @property
    def name(self) -> str:
        """The file's name; of a ``tokenizer.json``, the folder's too."""
        path = Path(self.path.removeprefix("hf:"))
        plain = path.name.removesuffix(".gz")
        # Many files are called tokenizer.json; the folder tells them apart.
        text = f"{path.parent.name}/{plain}" if plain == "tokenizer.json" else plain
        return text.lstrip("/") + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Load the tokenizer.

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
            For a file that is no tokenizer, and for arrays, which are no text.
        """
        tokenizer = load_tokenizer(Path(self.path.removeprefix("hf:")))
        return TokenizerCut(tokenizer, self.merge, self.name).fit(train)
