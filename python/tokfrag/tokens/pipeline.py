"""Tokenizers that ask for more than a model: added tokens, normalisation, a leading space."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.arguments import into
from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.dropout import encode_with_dropout, text_streams
from tokfrag.tokens.normalization import normalize
from tokfrag.tokens.patterns import replace_surrogates
from tokfrag.tokens.spans import SPACES, beginning_of, in_unit
from tokfrag.tokens.specification import AddedToken, BpeModel, Pipeline, Specification
from tokfrag.tokens.tokenizer import Tokenizer

# What stands around added tokens goes by Rust's \s and \w.
_SPACE_RUN = re.compile(b"(?:%s)*" % b"|".join(re.escape(space.encode()) for space in SPACES))
_WORD = r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]"


class Segment(NamedTuple):
    """A stretch of text, or an added token (``id`` not -1), and where in the text it stands."""

    text: bytes
    id: int
    begin: int
    end: int
    # Whether the text has a space before it that was not there.
    spaced: bool = False


class PreparedTokenizer(Tokenizer):
    """A :class:`Tokenizer` with a :class:`Pipeline` around it, as ``tokenizer.json`` describes one.

    Added tokens that are not special are found in every text; special ones where
    ``allowed_special`` names them.
    """

    __slots__ = ("_direct", "_found", "_pipeline")

    _pipeline: Pipeline
    _found: tuple[AddedToken, ...]  # in the order in which the model numbers them
    _direct: bool  # whether the model itself does all there is to do

    @classmethod
    def from_specification(cls, specification: Specification) -> Tokenizer:
        """Make the tokenizer that a file describes."""
        model, pipeline = specification.model, specification.pipeline
        if not isinstance(model, BpeModel):
            from tokfrag.tokens.prepared_wordpiece import PreparedWordPiece

            return PreparedWordPiece.from_specification(specification)
        ids = np.array([id for _, id in model.tokens], np.int64)
        merges = None
        if model.merges is not None:
            dense = ids[-1] == len(ids) - 1
            places = model.merges if dense else np.searchsorted(ids, model.merges)
            merges = places.astype(np.uint32)
        base = Tokenizer._from_tokens(
            [token for token, _ in model.tokens],
            ids=ids.tolist(),
            pattern=model.pattern,
            special_tokens={token.content: token.id for token in pipeline.added_tokens},
            merges=merges,
            whole_pieces=model.whole_pieces,
        )
        return cls.around(base, pipeline)

    @classmethod
    def around(cls, base: Tokenizer, pipeline: Pipeline) -> Tokenizer:
        """Put a pipeline around a tokenizer that knows its added tokens as special ones."""
        self = cls.__new__(cls)
        for name in Tokenizer.__slots__:
            setattr(self, name, getattr(base, name))
        self._pipeline = pipeline
        self._found = pipeline.added_tokens
        self._direct = not pipeline.normalizers and not pipeline.prefix_space
        self._direct &= all(token.special and token.plain for token in self._found)
        self._direct &= len({token.normalized for token in self._found}) < 2
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        make, arguments = super().__reduce__()
        return _restore, (make, arguments, self._pipeline)

    @property
    def pipeline(self) -> Pipeline:
        """What is done around the model."""
        return self._pipeline

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return self._pipeline.special_tokens

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
        """The ids of a text; see :meth:`Tokenizer.encode`."""
        if self._direct:
            return super().encode(
                text,
                allowed_special=allowed_special,
                disallowed_special=disallowed_special,
                out=out,
                dropout=dropout,
                seed=seed,
            )
        if disallowed_special:
            self._refuse_special(text, allowed_special, disallowed_special)
        ids = self.encode_batch(
            [text], allowed_special=allowed_special, threads=1, dropout=dropout, seed=seed
        ).ids
        if out is None:
            return ids
        return into(out, ids)

    def encode_batch(
        self,
        texts: Iterable[str | bytes],
        *,
        allowed_special: str | Collection[str] = (),
        threads: int | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> TokenBatch:
        """The ids of many texts; see :meth:`Tokenizer.encode_batch`."""
        if self._direct:
            return super().encode_batch(
                texts, allowed_special=allowed_special, threads=threads, dropout=dropout, seed=seed
            )
        phases = self._phases(allowed_special)
        segments: list[Segment] = []
        bounds = [0]
        for text in _check_texts(texts):
            segments += self._segments(text, phases)
            bounds.append(len(segments))
        plain = None
        if dropout:
            streams = np.repeat(text_streams(len(bounds) - 1), np.diff(bounds))
            streams += np.array([segment.begin for segment in segments], np.uint64)
            plain = encode_with_dropout(
                self,
                [segment.text for segment in segments],
                None,
                dropout=dropout,
                seed=seed,
                threads=threads,
                streams=streams,
            )
        encoded = self._encode_segments(segments, threads, plain)
        return TokenBatch(encoded.ids, encoded.offsets[bounds])

    def encode_with_offsets(
        self,
        text: str | bytes,
        *,
        unit: str = "char",
        allowed_special: str | Collection[str] = (),
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of a text, and where in it each begins and ends: ``(n, 2)`` int64."""
        ids, spans = self.encode_spans(text, allowed_special=allowed_special)
        return ids, in_unit(text, spans, unit)

    def truncate(self, text: str | bytes, max_tokens: int) -> Any:
        """The longest beginning of a text, by whole tokens, that has at most so many."""
        return beginning_of(self, text, max_tokens)

    def _encode_segments(
        self,
        segments: list[Segment],
        threads: int | None = None,
        plain: TokenBatch | None = None,
    ) -> TokenBatch:
        """The ids of segments; ``plain``: those of their texts, where they are known."""
        if plain is None:
            plain = super().encode_batch([segment.text for segment in segments], threads=threads)
        added = np.array([segment.id for segment in segments], np.int64)
        places = np.flatnonzero(added >= 0)
        ids = np.insert(plain.ids, plain.offsets[places], added[places].astype(np.uint32))
        return TokenBatch(ids, plain.offsets + np.concatenate([[0], np.cumsum(added >= 0)]))

    def encode_spans(
        self, text: str | bytes, *, allowed_special: str | Collection[str] = ()
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of a text, and ``(n, 2)`` int64: the bytes of the text that each stands for.

        Raises
        ------
        ValueError
            Normalisation changes the text, so that tokens stand for no bytes of it.
        """
        utf8 = replace_surrogates(text).encode() if isinstance(text, str) else text
        segments = self._segments(utf8, self._phases(allowed_special))
        encoded = self._encode_segments(segments)
        spans = np.empty((len(encoded.ids), 2), np.int64)
        for segment, ids, place in zip(segments, encoded, encoded.offsets, strict=False):
            if segment.id >= 0:
                spans[place] = segment.begin, segment.end
                continue
            if len(segment.text) - segment.spaced != segment.end - segment.begin or (
                segment.text[segment.spaced :] != utf8[segment.begin : segment.end]
            ):
                forms = " and ".join(self._pipeline.normalizers)
                raise ValueError(
                    f"text: is not in form {forms}, so that tokens have no offsets in it"
                )
            ends = self._model.offsets(segment.text, ids, False)[:, 1]
            ends = ends - segment.spaced + segment.begin
            begins = np.concatenate([[segment.begin], ends[:-1]])[: len(ids)]
            # A space that was put there stands for the character that it was put before.
            ends = np.maximum(ends, segment.begin + 1)
            spans[place : place + len(ids)] = np.stack([begins, ends], axis=1)
        return encoded.ids, spans

    def count(
        self, texts: str | bytes | Iterable[str | bytes], *, threads: int | None = None
    ) -> Any:
        """How many tokens a text has, or each of many; see :meth:`Tokenizer.count`."""
        if self._direct:
            return super().count(texts, threads=threads)
        if isinstance(texts, (str, bytes)):
            return len(self.encode(texts))
        return self.encode_batch(texts, threads=threads).lengths

    # How a text is prepared.

    def _phases(self, allowed_special: str | Collection[str]) -> tuple[bytes | None, bytes | None]:
        """Which tokens to look for in the text as it is, and in the normalised text."""
        if isinstance(allowed_special, str) and allowed_special != "all":
            raise ValueError(
                f"allowed_special: expected 'all' or a collection, got {allowed_special!r}"
            )
        known = self.special_tokens
        allowed = set(known) if allowed_special == "all" else set(allowed_special)
        for name in allowed - set(known):
            raise ValueError(f"allowed_special: {name!r} is not a special token of this tokenizer")
        sought = [not token.special or token.content in allowed for token in self._found]
        raw, normalized = (
            bytes(
                wanted and token.normalized == phase
                for wanted, token in zip(sought, self._found, strict=True)
            )
            for phase in (False, True)
        )
        return (raw if any(raw) else None), (normalized if any(normalized) else None)

    def _segments(
        self, text: str | bytes, phases: tuple[bytes | None, bytes | None]
    ) -> list[Segment]:
        """Cut a text at its added tokens, and normalise what is between."""
        raw, normalized = phases
        forms = self._pipeline.normalizers
        utf8 = replace_surrogates(text).encode() if isinstance(text, str) else text
        segments: list[Segment] = []
        for outer in self._cut(utf8, raw):
            if outer.id >= 0:
                segments.append(outer)
                continue
            part = outer.text
            if forms:
                decoded = part.decode("utf-8", "surrogateescape")
                part = normalize(decoded, forms).encode("utf-8", "surrogateescape")
            for inner in self._cut(part, normalized):
                text = inner.text
                spaced = self._pipeline.prefix_space and bool(text) and not text.startswith(b" ")
                segments.append(
                    Segment(
                        b" " + text if spaced else text,
                        inner.id,
                        outer.begin + inner.begin,
                        outer.begin + inner.end,
                        spaced,
                    )
                )
        return segments

    def _cut(self, text: bytes, flags: bytes | None) -> Sequence[Segment]:
        """The parts of a text: those tokens, and what is between."""
        if flags is None:
            return [Segment(text, -1, 0, len(text))]
        segments: list[Segment] = []
        done = 0
        for begin, end, index in self._model.all_special(text, flags):
            token = self._found[index]
            if token.single_word and _touches_word(text, begin, end):
                continue
            if token.lstrip:
                before = text[done:begin].decode("utf-8", "surrogateescape")
                stripped = before.rstrip(SPACES).encode("utf-8", "surrogateescape")
                begin = done + len(stripped) if done <= begin else done
            if token.rstrip:
                match = _SPACE_RUN.match(text, end)
                end = match.end() if match else end
            if done < begin:
                segments.append(Segment(text[done:begin], -1, done, begin))
            segments.append(Segment(b"", token.id, begin, end))
            done = end
        if done < len(text):
            segments.append(Segment(text[done:], -1, done, len(text)))
        return segments

    def _refuse_special(
        self,
        text: str | bytes,
        allowed: str | Collection[str],
        disallowed: str | Collection[str],
    ) -> None:
        if disallowed == "all":
            names = set(self.special_tokens)
            disallowed = names - (names if allowed == "all" else set(allowed))
        for name in disallowed if not isinstance(disallowed, str) else (disallowed,):
            if name not in self.special_tokens:
                raise ValueError(
                    f"disallowed_special: {name!r} is not a special token of this tokenizer"
                )
            if (name if isinstance(text, str) else name.encode()) in text:  # type: ignore[operator]
                raise ValueError(
                    f"text: holds the special token {name!r}; name it in allowed_special to encode"
                    " it as one, or leave it out of disallowed_special to encode it as text"
                )


def _touches_word(text: bytes, begin: int, end: int) -> bool:
    import regex

    before = text[max(0, begin - 4) : begin].decode("utf-8", "ignore")[-1:]
    after = text[end : end + 4].decode("utf-8", "ignore")[:1]
    return any(regex.match(_WORD, character) is not None for character in (before, after))


def _check_texts(texts: Iterable[str | bytes]) -> Iterable[str | bytes]:
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"texts: expected many texts, got one {type(texts).__name__}")
    for index, text in enumerate(texts):
        if not isinstance(text, (str, bytes)):
            raise TypeError(
                f"texts: item {index} is a {type(text).__name__}, expected str or bytes"
            )
        yield text


def _restore(make: Any, arguments: tuple[Any, ...], pipeline: Pipeline) -> Tokenizer:
    return PreparedTokenizer.around(make(*arguments), pipeline)
