"""What stands around a model: added tokens, Unicode normalisation, a leading space."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tokfrag._core.added_tokens import Finder
from tokfrag.tokens.arguments import check_count, check_threads
from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.contracts import Ids, Model, Offsets
from tokfrag.tokens.models import make_model
from tokfrag.tokens.prepared_text import Preparation, spans_of_sources, utf8_of
from tokfrag.tokens.spans import SPACES
from tokfrag.tokens.specification import AddedToken, Pipeline, Specification

Text = str | bytes
Names = str | Collection[str]

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
    # Which stretch of the text each byte stands for; None: the bytes are those of the text.
    sources: NDArray[np.int64] | None = None


class Sought(NamedTuple):
    """Which added tokens to look for: a byte each, or None for none.

    In the text as it is, in the normalised text, and in either.
    """

    raw: bytes | None
    normalized: bytes | None
    either: bytes | None


class Piped(Protocol):
    """What has a text pipeline: a Tokenizer, for those that stand below it."""

    @property
    def text_pipeline(self) -> TextPipeline:
        """The whole way from text to ids."""


class TextPipeline:
    """The whole way from text to ids: a model, and what is done to the text around it.

    Added tokens that are not special are found in every text; special ones where the caller allows
    them. A text without any goes to the model as it is, so that a short call costs little, however
    many tokens are added.

    Parameters
    ----------
    model
        What encodes the text between added tokens.
    values
        What is done around it.
    """

    __slots__ = (
        "_all",
        "_always",
        "_finder",
        "_model_finds",
        "_names",
        "_place",
        "_plain",
        "_prepare",
        "added_ids",
        "encode_plain",
        "model",
        "special_tokens",
        "values",
    )

    def __init__(self, model: Model, values: Pipeline) -> None:
        added = values.added_tokens
        self.model = model
        self.values = values
        self.special_tokens = values.special_tokens
        self.added_ids = {token.content: token.id for token in added}
        self._place = {token.content: i for i, token in enumerate(added) if token.special}
        self._prepare = Preparation(values.normalizers)
        self._names = Finder([token.content.encode() for token in added])
        sought = normal_tokens(values)
        as_named = all(token.normal is None for token in sought)
        self._finder = (
            self._names if as_named else Finder([token.spelling.encode() for token in sought])
        )
        self._always = self._sought(not token.special for token in added)
        self._all = self._sought(True for _ in added)
        # The model may look for them itself where that is all there is to it.
        self._model_finds = (
            model.finds_added
            and not values.prefix_space
            and as_named
            and all(token.plain for token in added)
            and len({token.normalized for token in added}) < 2
        )
        # Whether every text goes to the model as it is.
        self._plain = not values.prefix_space and not values.normalizers
        self._plain &= self._model_finds or not added
        direct = self._plain and self._always.either is None
        #: The ids of one text without its special tokens: of the model where nothing is to be done.
        self.encode_plain = model.encode if direct else self._encode_ordinary

    @classmethod
    def of(cls, specification: Specification) -> TextPipeline:
        """The pipeline of a specification."""
        values = specification.pipeline
        return cls(make_model(specification.model, normal_tokens(values)), values)

    def __reduce__(self) -> tuple[Any, ...]:
        return TextPipeline, (self.model, self.values)

    @property
    def specification(self) -> Specification:
        """What it is, as plain values."""
        return Specification(self.model.description, self.values)

    @property
    def id_count(self) -> int:
        """One more than the largest id."""
        return self.model.id_count

    def id_of(self, token: Text) -> int | None:
        """The id of a token by its text or bytes, ordinary or added; None if there is none."""
        if isinstance(token, str):
            if token in self.added_ids:
                return self.added_ids[token]
            return self.model.bytes_id(token.encode("utf-8", "surrogatepass"))
        if not isinstance(token, bytes):
            raise TypeError(f"token: expected bytes or str, got {type(token).__name__}")
        found = self.model.bytes_id(token)
        return self.added_ids.get(token.decode("utf-8", "replace")) if found is None else found

    # Which added tokens are meant.

    def _sought(self, wanted: Iterable[bool]) -> Sought:
        added = self.values.added_tokens
        either = bytes(wanted)
        raw, normalized = (
            bytes(
                want and token.normalized == phase
                for want, token in zip(either, added, strict=True)
            )
            for phase in (False, True)
        )
        return Sought(*(flags if any(flags) else None for flags in (raw, normalized, either)))

    def sought(self, names: Names, argument: str = "allowed_special") -> Sought:
        """Which added tokens to look for where these special ones are allowed."""
        if isinstance(names, str):
            if names != "all":
                raise ValueError(f"{argument}: expected 'all' or a collection, got {names!r}")
            return self._all
        if not names:
            return self._always
        added = self.values.added_tokens
        flags = [bytearray(part or bytes(len(added))) for part in self._always]
        for name in names:
            place = self._place.get(name)
            if place is None:
                raise ValueError(f"{argument}: {name!r} is not a special token of this tokenizer")
            flags[2][place] = flags[added[place].normalized][place] = 1
        return Sought(*(bytes(part) if any(part) else None for part in flags))

    def refuse(self, text: Text, allowed: Names, disallowed: Names) -> None:
        """ValueError if a text holds a special token that is disallowed."""
        if isinstance(disallowed, str):
            self.sought(disallowed, "disallowed_special")
            allowed_names = set(self._place) if allowed == "all" else set(allowed)
            disallowed = self._place.keys() - allowed_names
        flags = bytearray(len(self.values.added_tokens))
        for name in disallowed:
            if name not in self._place:
                raise ValueError(
                    f"disallowed_special: {name!r} is not a special token of this tokenizer"
                )
            flags[self._place[name]] = 1
        found = self._names.first(text, bytes(flags)) if any(flags) else -1
        if found >= 0:
            name = self.values.added_tokens[found].content
            raise ValueError(
                f"text: holds the special token {name!r}; name it in allowed_special to encode it "
                f"as one, or leave it out of disallowed_special to encode it as text"
            )

    # Encoding.

    def _encode_ordinary(self, text: Text) -> Ids:
        return self.encode(text, self._always)

    def encode(self, text: Text, sought: Sought) -> Ids:
        """The ids of one text."""
        if not isinstance(text, (str, bytes)):
            raise TypeError(f"text: expected str or bytes, got {type(text).__name__}")
        if self._plain or self.leaves(text, sought):
            ready = self.spaced(text)
            if self._model_finds:
                return self.model.encode(ready, sought.either)
            return self.model.encode(ready)
        written = self._written([text], sought, 1)
        if written is not None:
            return self.model.encode(self.spaced(written[0]))
        return self.encode_batch([text], sought, 1).ids

    def encode_batch(
        self, texts: Sequence[str | bytes], sought: Sought, threads: int | None = None
    ) -> TokenBatch:
        """The ids of many texts."""
        count = check_threads(threads)
        given = sought.either if self._model_finds else None
        if self._plain:
            return TokenBatch._trusted(*self.model.encode_batch(texts, given, count))
        if self.leaves_all(texts, sought):
            if self.values.prefix_space:
                texts = [self.spaced(text) for text in texts]
            return TokenBatch._trusted(*self.model.encode_batch(texts, given, count))
        written = self._written(texts, sought, count)
        if written is not None:
            ready = [self.spaced(text) for text in written]
            return TokenBatch._trusted(*self.model.encode_batch(ready, None, count))
        segments, bounds = self._all_segments(texts, sought)
        plain = self.model.encode_batch(
            [segment.text for segment in segments], None, count, _inner(segments)
        )
        return _with_added(segments, bounds, *plain)

    def encode_inner(self, text: Text, sought: Sought) -> Ids:
        """The ids of a text that does not begin its document."""
        check_texts([text])
        segments = self._segments(utf8_of(text), sought)
        plain = self.model.encode_batch(
            [segment.text for segment in segments], None, 1, bytes([1] * len(segments))
        )
        return _with_added(segments, [0, len(segments)], *plain).ids

    def encode_with_dropout(
        self,
        texts: Sequence[str | bytes],
        sought: Sought,
        *,
        dropout: float,
        seed: int,
        threads: int | None = None,
    ) -> TokenBatch:
        """The ids of many texts, merges passed over at random.

        What a text becomes depends on its place among the texts: the piece at byte ``b`` of text
        ``i`` draws from stream ``(i << 40) + b``.
        """
        try:
            possible = 0 <= dropout <= 1
        except TypeError:
            raise TypeError(f"dropout: got {dropout!r}, takes a number") from None
        if not possible:
            raise ValueError(f"dropout: got {dropout!r}, takes 0 to 1")
        seed = check_count("seed", seed, 0, 2**64 - 1)
        check_texts(texts)
        segments, bounds = self._all_segments(texts, sought)
        streams = np.arange(0, len(texts) << 40, 1 << 40, dtype=np.uint64)
        streams = np.repeat(streams, np.diff(bounds))
        streams += np.array([segment.begin for segment in segments], np.uint64)
        plain = self.model.encode_with_dropout(
            [segment.text for segment in segments],
            streams,
            float(dropout),
            seed,
            check_threads(threads),
        )
        return _with_added(segments, bounds, *plain)

    def encode_spans(
        self, text: Text, sought: Sought, limit: int | None = None
    ) -> tuple[Ids, Offsets]:
        """The ids of a text, and ``(n, 2)`` int64: the bytes of the text that each stands for.

        With ``limit``, as many ids are enough.

        A character that normalisation has written stands for those that it was written from.
        """
        if self._plain:
            return self.model.encode_spans(text, sought.either, limit=limit)
        check_texts([text])
        utf8 = utf8_of(text)
        segments = self._segments(utf8, sought, aligned=True)
        parts = [(np.empty(0, np.uint32), np.empty((0, 2), np.int64))]
        for segment in segments:
            if segment.id >= 0:
                spans = np.array([[segment.begin, segment.end]], np.int64)
                parts.append((np.array([segment.id], np.uint32), spans))
                continue
            ids, spans = self.model.encode_spans(segment.text, inner=segment.begin > 0)
            if segment.spaced:
                # A space that was put there stands for the character that it was put before.
                spans = np.maximum(spans - 1, [0, 1])
            parts.append((ids, segment.begin + spans_of_sources(spans, segment.sources)))
        ids, spans = (np.concatenate(column) for column in zip(*parts, strict=True))
        return ids, spans

    def count_batch(
        self, texts: Sequence[str | bytes], sought: Sought, threads: int | None = None
    ) -> NDArray[np.int64]:
        """How many tokens each text has."""
        if self._plain and sought.either is None:
            return self.model.count_batch(texts, check_threads(threads))
        return self.encode_batch(texts, sought, threads).lengths

    # How a text is prepared.

    def leaves(self, text: Text, sought: Sought) -> bool:
        """Whether there is nothing to be done to a text but to put a space before it."""
        if self._plain:
            return True
        if not self._prepare.leaves(text):
            return False
        if self._model_finds or sought.either is None:
            return True
        return self._finder.first(text, sought.either) < 0

    def leaves_all(self, texts: Sequence[str | bytes], sought: Sought) -> bool:
        """The same of many texts; those of a pipeline without steps are not even looked at."""
        if self._plain:
            return True
        check_texts(texts)
        return all(self.leaves(text, sought) for text in texts)

    def _written(
        self, texts: Sequence[str | bytes], sought: Sought, threads: int
    ) -> list[bytes] | None:
        """The texts as they are prepared; None if there is an added token in one of them."""
        if not self._prepare:
            return None
        first = self._finder.first
        if sought.raw is not None and any(first(text, sought.raw) >= 0 for text in texts):
            return None
        written = self._prepare.write_batch(texts, threads)
        normalized = sought.normalized
        if normalized is not None and any(first(text, normalized) >= 0 for text in written):
            return None
        return written

    def spaced(self, text: Any) -> Any:
        """The text with a space before it, if it is to have one and has none."""
        space = " " if isinstance(text, str) else b" "
        if not self.values.prefix_space or not text or text.startswith(space):
            return text
        return space + text

    def segments(self, text: Text, sought: Sought) -> list[Segment]:
        """What a text is cut into before its model sees it."""
        return self._segments(utf8_of(text), sought)

    def _all_segments(
        self, texts: Sequence[str | bytes], sought: Sought
    ) -> tuple[list[Segment], list[int]]:
        segments: list[Segment] = []
        bounds = [0]
        for text in texts:
            segments += self._segments(utf8_of(text), sought)
            bounds.append(len(segments))
        return segments, bounds

    def _segments(self, utf8: bytes, sought: Sought, *, aligned: bool = False) -> list[Segment]:
        """Cut a text at its added tokens, and normalise what is between."""
        segments: list[Segment] = []
        for outer in self._cut(utf8, sought.raw):
            if outer.id >= 0:
                segments.append(outer)
                continue
            part, sources = outer.text, None
            if aligned:
                part, sources = self._prepare.write_aligned(part)
            elif self._prepare:
                part = self._prepare.write_utf8(part)
            for inner in self._cut(part, sought.normalized):
                text = self.spaced(inner.text)
                begin, end, own = inner.begin, inner.end, None
                if sources is not None:
                    begin, end = int(sources[begin, 0]), int(sources[end - 1, 1])
                    own = sources[inner.begin : inner.end + 1] - begin
                segments.append(
                    Segment(
                        text,
                        inner.id,
                        outer.begin + begin,
                        outer.begin + end,
                        len(text) > len(inner.text),
                        own,
                    )
                )
        return segments

    def _cut(self, text: bytes, wanted: bytes | None) -> Sequence[Segment]:
        """The parts of a text: those tokens, and what is between."""
        if wanted is None:
            return [Segment(text, -1, 0, len(text))]
        segments: list[Segment] = []
        done = 0
        for begin, end, index in self._finder.all(text, wanted).tolist():
            token = self.values.added_tokens[index]
            if token.single_word and _touches_word(text, begin, end):
                continue
            # One that begins within the white space that the token before takes counts as well:
            # Hugging Face's library minds what is taken only for one that takes from its left.
            if token.lstrip:
                before = text[done : max(done, begin)].decode("utf-8", "surrogateescape")
                stripped = before.rstrip(SPACES).encode("utf-8", "surrogateescape")
                begin = done + len(stripped)
            if token.rstrip:
                match = _SPACE_RUN.match(text, end)
                end = match.end() if match else end
            if begin >= end:
                # The token before has taken all of it.
                continue
            if done < begin:
                segments.append(Segment(text[done:begin], -1, done, begin))
            segments.append(Segment(b"", token.id, begin, end))
            done = end
        if done < len(text):
            segments.append(Segment(text[done:], -1, done, len(text)))
        return segments


def normal_tokens(values: Pipeline) -> tuple[AddedToken, ...]:
    """The added tokens, those that are looked for normalised with their normalised text.

    Raises
    ------
    ValueError
        Normalising leaves nothing of one.
    """
    prepare = Preparation(values.normalizers)
    tokens: list[AddedToken] = []
    for token in values.added_tokens:
        if token.normalized and prepare and not prepare.leaves(token.content):
            text = prepare.write(token.content)
            if not text:
                raise ValueError(
                    f"added_tokens: {token.content!r} is looked for normalised, and nothing is left"
                    " of it"
                )
            if text != token.content:
                token = replace(token, normal=text)
        tokens.append(token)
    return tuple(tokens)


def check_texts(texts: Iterable[object]) -> None:
    """TypeError names the first that is no text."""
    for index, text in enumerate(texts):
        if not isinstance(text, (str, bytes)):
            raise TypeError(
                f"texts: item {index} is a {type(text).__name__}, expected str or bytes"
            )


def _inner(segments: list[Segment]) -> bytes:
    return bytes(segment.begin > 0 for segment in segments)


def _with_added(
    segments: list[Segment], bounds: list[int], ids: Ids, offsets: Offsets
) -> TokenBatch:
    """The ids of the texts: those of their segments, and of the added tokens among these."""
    added = np.array([segment.id for segment in segments], np.int64)
    places = np.flatnonzero(added >= 0)
    whole = np.insert(ids, offsets[places], added[places].astype(np.uint32))
    ends = offsets + np.concatenate([[0], np.cumsum(added >= 0)])
    return TokenBatch(whole, ends[bounds])


def _touches_word(text: bytes, begin: int, end: int) -> bool:
    import regex

    before = text[max(0, begin - 4) : begin].decode("utf-8", "ignore")[-1:]
    after = text[end : end + 4].decode("utf-8", "ignore")[:1]
    return any(regex.match(_WORD, character) is not None for character in (before, after))


__all__ = ["Piped", "Segment", "Sought", "TextPipeline", "check_texts", "normal_tokens"]
