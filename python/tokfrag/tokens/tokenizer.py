"""The tokenizer: text to ids and back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag._core import tokens as _native
from tokfrag.tokens.arguments import id_array, into, text_list, thread_count
from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.conversions import Conversions
from tokfrag.tokens.dropout import encode_with_dropout
from tokfrag.tokens.patterns import RegexPattern, native_name, replace_surrogates
from tokfrag.tokens.stream_decoder import StreamDecoder

if TYPE_CHECKING:
    from tokfrag.tokens.training.byte_pair import CompressionCurve


class Tokenizer(Conversions):
    """A byte-pair tokenizer: immutable, shared freely between threads, picklable.

    Made by :meth:`from_tiktoken`, :meth:`from_file` and the other readers. Ids are exactly those of
    the tokenizer whose vocabulary it reads. Text is ``str`` or UTF-8 ``bytes``; bytes outside
    well-formed UTF-8 are kept (``decode_bytes`` gives them back), and lone surrogates in a ``str``
    are read as U+FFFD, as tiktoken reads them.

    Examples
    --------
    >>> tok = Tokenizer._from_tokens([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
    >>> tok.encode("abc").tolist()
    [256, 99]
    >>> tok.decode([256, 99])
    'abc'
    """

    __slots__ = (
        "_curve",
        "_merges",
        "_model",
        "_pattern",
        "_regex",
        "_special",
        "_special_order",
        "_whole",
    )

    _curve: CompressionCurve | None
    _model: _native.Model
    _pattern: str | None
    _regex: RegexPattern | None
    _special: dict[str, int]
    _special_order: dict[str, int]
    _merges: NDArray[np.uint32] | None
    _whole: bool

    def __init__(self) -> None:
        raise TypeError("use Tokenizer.from_tiktoken, Tokenizer.from_gpt2 or another reader")

    # How one is made.

    @classmethod
    def _build(
        cls,
        blob: bytes,
        offsets: NDArray[np.int64],
        ids: NDArray[np.uint32],
        *,
        pattern: str | None,
        special_tokens: Mapping[str, int] | None = None,
        merges: NDArray[np.uint32] | None = None,
        whole_pieces: bool = True,
    ) -> Tokenizer:
        """A tokenizer from arrays: token ``i`` is ``blob[offsets[i]:offsets[i + 1]]``, ``ids[i]``.

        Without ``merges``, any two neighbours whose joined bytes are token ``i`` merge at rank
        ``i`` (tiktoken's rule); with them, ``merges[rank]`` is a pair of token indices, and only
        those merge. ``whole_pieces``: a piece that is a token becomes it without merging.
        """
        starts = np.ascontiguousarray(offsets, dtype=np.int64)
        numbers = np.ascontiguousarray(ids, dtype=np.uint32)
        return cls._assemble(
            lambda name, special: _native.Model(
                blob, starts, numbers, merges, whole_pieces, name, special
            ),
            pattern,
            special_tokens,
            merges,
            whole_pieces,
        )

    @classmethod
    def _restore(
        cls,
        archive: bytes | memoryview,
        *,
        pattern: str | None,
        special_tokens: Mapping[str, int] | None = None,
        merges: NDArray[np.uint32] | None = None,
        whole_pieces: bool = True,
    ) -> Tokenizer:
        """The same from the tables that ``_model.archive()`` has given."""
        return cls._assemble(
            lambda name, special: _native.Model.from_archive(archive, whole_pieces, name, special),
            pattern,
            special_tokens,
            merges,
            whole_pieces,
        )

    @classmethod
    def _assemble(
        cls,
        make_model: Callable[[str, list[tuple[bytes, int]]], _native.Model],
        pattern: str | None,
        special_tokens: Mapping[str, int] | None,
        merges: NDArray[np.uint32] | None,
        whole_pieces: bool,
    ) -> Tokenizer:
        special = dict(special_tokens or {})
        for text, number in special.items():
            if not isinstance(text, str) or not isinstance(number, (int, np.integer)):
                raise TypeError(f"special_tokens: expected str: int, got {text!r}: {number!r}")
            if not 0 <= number < 1 << 24:
                raise ValueError(
                    f"special_tokens: {text!r} has id {number}, outside 0 to {(1 << 24) - 1}"
                )
        if len(set(special.values())) != len(special):
            raise ValueError("special_tokens: two have the same id")
        if pattern is not None and not isinstance(pattern, str):
            raise TypeError(f"pattern: expected str or None, got {type(pattern).__name__}")
        name = "" if pattern is None else native_name(pattern)
        self = cls.__new__(cls)
        self._curve = None
        self._pattern = pattern
        self._regex = None
        if name is None:
            assert pattern is not None
            self._regex = RegexPattern(pattern)
        self._special = special
        self._special_order = {text: i for i, text in enumerate(special)}
        self._merges = merges
        self._whole = whole_pieces
        self._model = make_model(
            name or "", [(text.encode("utf-8"), int(number)) for text, number in special.items()]
        )
        return self

    @classmethod
    def _from_tokens(
        cls,
        tokens: Sequence[bytes],
        *,
        ids: Sequence[int] | None = None,
        pattern: str | None,
        special_tokens: Mapping[str, int] | None = None,
        merges: NDArray[np.uint32] | None = None,
        whole_pieces: bool = True,
    ) -> Tokenizer:
        """The same from a list of tokens in the order of their ranks; ids are ranks by default."""
        offsets = np.zeros(len(tokens) + 1, np.int64)
        np.cumsum([len(token) for token in tokens], out=offsets[1:])
        return cls._build(
            b"".join(tokens),
            offsets,
            np.arange(len(tokens), dtype=np.uint32) if ids is None else np.asarray(ids, np.uint32),
            pattern=pattern,
            special_tokens=special_tokens,
            merges=merges,
            whole_pieces=whole_pieces,
        )

    # What it holds.

    @property
    def pattern(self) -> str | None:
        """The pattern it was made with."""
        return self._pattern

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return dict(self._special)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, so that an embedding of this size has a row for each."""
        return self._model.id_count

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return (
            f"Tokenizer(vocab_size={self.vocab_size}, pattern={self._pattern!r}, "
            f"special_tokens={len(self._special)})"
        )

    def token_to_id(self, token: bytes | str) -> int | None:
        """The id of a token, ordinary or special; None if there is none."""
        if isinstance(token, str):
            if token in self._special:
                return self._special[token]
            token = token.encode("utf-8", "surrogatepass")
        elif not isinstance(token, bytes):
            raise TypeError(f"token: expected bytes or str, got {type(token).__name__}")
        found = self._model.token_id(token)
        if found is None:
            return self._special.get(token.decode("utf-8", "replace"))
        return found

    def id_to_token(self, id: int) -> bytes:
        """The bytes of a token; ``IndexError`` if no token has this id."""
        found = self._model.token_bytes(id)
        if found is None:
            raise IndexError(f"id: no token has id {id}")
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (
            *self._model.vocabulary(),
            self._pattern,
            self._special,
            self._merges,
            self._whole,
        )

    # Encoding.

    def encode(
        self,
        text: str | bytes,
        *,
        allowed_special: str | Collection[str] = (),
        disallowed_special: str | Collection[str] = (),
        out: NDArray[np.uint32] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> NDArray[np.uint32]:
        """The ids of a text.

        Parameters
        ----------
        text : str or bytes
        allowed_special : "all" or collection of str
            Special tokens that text may stand for; the text of others is ordinary text. The
            leftmost comes first, the longest of those that begin together.
        disallowed_special : "all" or collection of str
            Special tokens whose text raises ``ValueError`` ("all": those not allowed).
        out : array (at least tokens,), uint32, optional
            Where to put the ids; the part used is returned.
        dropout : float, 0 to 1
            The probability with which a merge is passed over each time it comes up (BPE-dropout,
            arXiv 1910.13267): 0 gives the usual ids, 1 those of the bytes.
        seed : int
            Of dropout, 0 to ``2**64 - 1``: the same seed gives the same ids.

        Returns
        -------
        array (tokens,), uint32
        """
        if dropout:
            if disallowed_special:
                self._refuse_special(text, allowed_special, disallowed_special)
            allowed = self._flags(allowed_special, "allowed_special")
            ids = encode_with_dropout(self, [text], allowed, dropout=dropout, seed=seed).ids
        elif not allowed_special and not disallowed_special and self._regex is None:
            ids = self._model.encode(text)
        else:
            allowed = self._flags(allowed_special, "allowed_special")
            if disallowed_special:
                self._refuse_special(text, allowed_special, disallowed_special)
            if self._regex is None:
                ids = self._model.encode(text, allowed)
            else:
                ids = self._encode_by_regex(text, allowed)
        return ids if out is None else into(out, ids)

    def encode_batch(
        self,
        texts: Iterable[str | bytes],
        *,
        allowed_special: str | Collection[str] = (),
        threads: int | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> TokenBatch:
        """The ids of many texts, on several threads; the result does not depend on how many.

        With ``dropout``, as in :meth:`encode`, what a text becomes depends on its place in the
        batch.
        """
        items = text_list(texts)
        allowed = self._flags(allowed_special, "allowed_special")
        if dropout:
            return encode_with_dropout(
                self, items, allowed, dropout=dropout, seed=seed, threads=threads
            )
        if self._regex is None:
            return TokenBatch._trusted(
                *self._model.encode_batch(items, allowed, thread_count(threads))
            )
        parts = [self._encode_by_regex(text, allowed) for text in items]
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return TokenBatch(np.concatenate([np.empty(0, np.uint32), *parts]), offsets)

    def count(
        self, texts: str | bytes | Iterable[str | bytes], *, threads: int | None = None
    ) -> Any:
        """How many tokens a text has (int), or each of many (array (texts,), int64)."""
        if isinstance(texts, (str, bytes)):
            if self._regex is None:
                return self._model.count(texts)
            return len(self.encode(texts))
        items = text_list(texts)
        if self._regex is None:
            return self._model.count_batch(items, thread_count(threads))
        return np.asarray([len(self.encode(text)) for text in items], dtype=np.int64)

    def encode_with_offsets(
        self,
        text: str | bytes,
        *,
        unit: str = "char",
        allowed_special: str | Collection[str] = (),
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of a text and where each lies in it.

        Parameters
        ----------
        text : str or bytes
        unit : "char" or "byte"
            "char": offsets index the text's characters; a token that holds part of a character
            has the whole of it. "byte": they index its UTF-8, end to end.
        allowed_special : "all" or collection of str
            As in :meth:`encode`.

        Returns
        -------
        ids : array (tokens,), uint32
        offsets : array (tokens, 2), int64
            Begin and end.
        """
        if unit not in ("char", "byte"):
            raise ValueError(f"unit: expected 'char' or 'byte', got {unit!r}")
        ids = self.encode(text, allowed_special=allowed_special)
        return ids, self._model.offsets(text, ids, unit == "char")

    def truncate(self, text: str | bytes, max_tokens: int) -> Any:
        """The longest beginning of a text found to have at most ``max_tokens`` tokens.

        It ends at the end of a token and of a character; the text itself if it is short enough.
        No more of the text is encoded than that takes.
        """
        if max_tokens < 0:
            raise ValueError(f"max_tokens: expected at least 0, got {max_tokens}")
        if self._regex is None:
            ids = self._model.encode(text, None, max_tokens + 1)
        else:
            ids = self.encode(text)
        if len(ids) <= max_tokens:
            return text
        utf8 = text if isinstance(text, bytes) else replace_surrogates(text).encode("utf-8")
        ends = self._model.offsets(text, ids[:max_tokens], False)[:, 1]
        # Alone, a beginning may have more tokens than it has in the text: then less of it is taken.
        kept, step = max_tokens, 1
        while kept > 0:
            end = int(ends[kept - 1])
            while end > 0 and utf8[end] & 0xC0 == 0x80:
                end -= 1
            part = utf8[:end] if isinstance(text, bytes) else utf8[:end].decode("utf-8")
            if self.count(part) <= max_tokens:
                return part
            kept, step = kept - step, 2 * step
        return text[:0]

    def _flags(self, names: str | Collection[str], argument: str) -> bytes | None:
        """Which special tokens a collection names: a byte each; None: none; empty: all."""
        if isinstance(names, str):
            if names != "all":
                raise ValueError(f"{argument}: expected 'all' or a collection, got {names!r}")
            return b"" if self._special else None
        if not names:
            return None
        flags = bytearray(len(self._special))
        for name in names:
            if name not in self._special_order:
                raise ValueError(f"{argument}: {name!r} is not a special token of this tokenizer")
            flags[self._special_order[name]] = 1
        return bytes(flags)

    def _refuse_special(
        self,
        text: str | bytes,
        allowed: str | Collection[str],
        disallowed: str | Collection[str],
    ) -> None:
        if disallowed == "all":
            allowed_names = set(self._special) if allowed == "all" else set(allowed)
            disallowed = set(self._special) - allowed_names
        flags = self._flags(disallowed, "disallowed_special")
        found = None if flags is None else self._model.find_special(text, flags)
        if found is not None:
            name = list(self._special)[found]
            raise ValueError(
                f"text: holds the special token {name!r}; name it in allowed_special to encode it "
                f"as one, or leave it out of disallowed_special to encode it as text"
            )

    def _encode_by_regex(self, text: str | bytes, allowed: bytes | None) -> NDArray[np.uint32]:
        assert self._regex is not None
        parts = []
        for part, special in self._split_special(text, allowed):
            if special is not None:
                parts.append(np.asarray([special], dtype=np.uint32))
            else:
                parts.append(self._model.encode_pieces(*self._regex.ends(part)))
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)

    def _split_special(
        self, text: str | bytes, allowed: bytes | None
    ) -> Iterable[tuple[str | bytes, int | None]]:
        if allowed is None or not self._special:
            return [(text, None)]
        if isinstance(text, str):
            text = replace_surrogates(text).encode("utf-8")
        numbers = list(self._special.values())
        parts: list[tuple[str | bytes, int | None]] = []
        at = 0
        for begin, end, token in self._model.all_special(text, allowed):
            parts += [(text[at:begin], None), (text[begin:end], numbers[token])]
            at = end
        return [*parts, (text[at:], None)]

    # Decoding.

    def decode(self, ids: ArrayLike, *, errors: str = "replace") -> str:
        """The text of ids (array, tensor or sequence of int).

        Bytes that are not UTF-8, such as half a character, go by ``errors`` as in
        ``bytes.decode``. An id that no token has raises ``IndexError`` with its position.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """The bytes of ids: exactly those that were encoded."""
        return self._model.decode(id_array(ids))

    def decode_batch(
        self, batch: TokenBatch | Iterable[ArrayLike], *, errors: str = "replace"
    ) -> list[str]:
        """The texts of many rows of ids."""
        return [self.decode(row, errors=errors) for row in batch]

    def stream_decoder(self, *, errors: str = "replace") -> StreamDecoder:
        """Decodes id by id, giving text out as soon as its characters are whole."""
        return StreamDecoder(self, errors)


def _rebuild(
    blob: bytes,
    offsets: NDArray[np.int64],
    ids: NDArray[np.uint32],
    pattern: str | None,
    special_tokens: dict[str, int],
    merges: NDArray[np.uint32] | None,
    whole_pieces: bool,
) -> Tokenizer:
    return Tokenizer._build(
        blob,
        offsets,
        ids,
        pattern=pattern,
        special_tokens=special_tokens,
        merges=merges,
        whole_pieces=whole_pieces,
    )
