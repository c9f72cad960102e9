"""What a tokenizer is, apart from any file format and any engine: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.normalization import Form


class TextRule(Protocol):
    """A step that writes a text in another way: a frozen dataclass.

    ``first`` says whether the text begins its document.
    """

    def apply(self, text: str, first: bool) -> str:
        """Return the text as the step writes it."""

    def align(
        self, text: str, sources: list[tuple[int, int]], first: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return the same and which stretch of the first text each character comes from."""


@dataclass(frozen=True)
class AddedToken:
    """A token that is looked for in the text before anything else is done to it.

    Attributes
    ----------
    content
        Its text.
    id
        Its id.
    special
        Special tokens are found only where the caller allows them; the others always.
    normalized
        Looked for in the normalised text, normalised itself; else in the text as it is.
    single_word
        Found only where no word character touches it.
    lstrip, rstrip
        The white space before it, or after it, belongs to it.
    normal
        Its normalised text, which is what decoding gives; None: its content.
    """

    content: str
    id: int
    special: bool = True
    normalized: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normal: str | None = field(default=None, repr=False)

    @property
    def spelling(self) -> str:
        """What its id is decoded to."""
        return self.content if self.normal is None else self.normal

    @property
    def plain(self) -> bool:
        """Whether it is found wherever its text is."""
        return not (self.single_word or self.lstrip or self.rstrip)


def special_added(special_tokens: Mapping[str, int]) -> tuple[AddedToken, ...]:
    """Special tokens that are found wherever their text is, by text and id."""
    return tuple(AddedToken(text, id) for text, id in special_tokens.items())


class ModelDescription(Protocol):
    """What a model is, as plain values: a frozen dataclass with its tokens and their ids."""

    @property
    def tokens(self) -> tuple[tuple[Any, int], ...]:
        """``(token, id)`` in the order of ids; tokens as ``bytes``, or as ``str``."""


@dataclass(frozen=True)
class BpeModel:
    """Byte-level byte-pair encoding.

    Attributes
    ----------
    tokens
        ``(token, id)`` in the order of ids.
    merges
        ``(n, 2)`` ids of the pairs that merge, the first merging first; None where a pair merges
        whenever its bytes are a token, the lowest id first (tiktoken's rule).
    pattern
        What the text is cut by: a family, an expression, or None for one piece.
    whole_pieces
        Whether a piece that is a token is that token without any merging.
    spaced_decoding
        Whether decoding gives tokens as ``tokenizer.json`` spells them, parted by blanks: what
        Hugging Face does with a file that names no decoder.
    """

    tokens: tuple[tuple[bytes, int], ...]
    merges: NDArray[np.int64] | None
    pattern: str | None
    whole_pieces: bool
    spaced_decoding: bool = field(default=False, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BpeModel):
            return NotImplemented
        if self.merges is None or other.merges is None:
            return self.merges is other.merges and self._plain == other._plain
        return self._plain == other._plain and np.array_equal(self.merges, other.merges)

    def __hash__(self) -> int:
        return hash(self._plain)

    @property
    def _plain(self) -> tuple[object, ...]:
        """All but the merges: an array has no truth and no hash of its own."""
        return self.tokens, self.pattern, self.whole_pieces, self.spaced_decoding


@dataclass(frozen=True)
class WordPieceModel:
    """BERT's greedy longest match, after BERT's normaliser and splitter.

    Attributes
    ----------
    tokens
        ``(token, id)`` in the order of ids.
    unknown_token
        What stands for a word that cannot be spelled.
    prefix
        What a token that continues a word begins with.
    max_word_length
        Longer words, in characters, are unknown.
    clean_text, split_chinese, lowercase, strip_accents
        What the normaliser does.
    clean_up_decoding
        Whether decoding removes the spaces before punctuation.
    spaced_decoding
        As in :class:`BpeModel`.
    """

    tokens: tuple[tuple[str, int], ...]
    unknown_token: str = "[UNK]"
    prefix: str = "##"
    max_word_length: int = 100
    clean_text: bool = True
    split_chinese: bool = True
    lowercase: bool = True
    strip_accents: bool = True
    clean_up_decoding: bool = field(default=True, repr=False)
    spaced_decoding: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class Template:
    """What is put around one text, and around and between two.

    ``single`` and ``pair`` hold ``(item, type)``: an item is an id, ``"A"`` for the first text or
    ``"B"`` for the second; the type goes to ``token_type_ids``.
    """

    single: tuple[tuple[int | str, int], ...] = (("A", 0),)
    pair: tuple[tuple[int | str, int], ...] = (("A", 0), ("B", 1))

    @property
    def added(self) -> tuple[int, int]:
        """How many ids are put around one text, and around two."""
        single, pair = (
            sum(isinstance(item, int) for item, _ in items) for items in (self.single, self.pair)
        )
        return single, pair


@dataclass(frozen=True)
class CallDefaults:
    """What a file asks of a call that does not say: truncation and padding.

    ``max_length`` None: no truncation. ``padding``: None, ``"longest"``, or a length.
    ``special_in_text``: whether a call finds special tokens in the text.
    """

    max_length: int | None = None
    truncation_side: str = "right"
    padding: str | int | None = None
    padding_side: str = "right"
    pad_to_multiple_of: int | None = None
    pad_id: int | None = None
    pad_type_id: int = 0
    special_in_text: bool = True


@dataclass(frozen=True)
class Profile:
    """What a library keeps beside a tokenizer, of no effect on the ids of a text.

    Attributes
    ----------
    name
        What the tokenizer is called.
    roles
        ``(role, token)``: which tokens are ``"pad"``, ``"eos"``, ``"bos"``, ``"unk"``, ``"cls"``,
        ``"sep"`` and ``"mask"``. None: not known, so that usual names count.
    model_max_length
        What a call that truncates cuts to.
    token_type_ids
        Whether a call gives them unasked. None: not known, so that the template counts.
    attention_mask
        Whether a call gives it unasked.
    chat_template
        How messages are written as one text; of several ``(name, template)``.
    """

    name: str | None = None
    roles: tuple[tuple[str, str], ...] | None = None
    model_max_length: int | None = None
    token_type_ids: bool | None = None
    attention_mask: bool = True
    chat_template: str | tuple[tuple[str, str], ...] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Pipeline:
    """What is done to a text before its model sees it, and to the ids after.

    Attributes
    ----------
    added_tokens
        In the order of the file.
    normalizers
        Unicode normalisation forms (``"NFC"``, ...) and steps of other kinds, applied in turn.
    prefix_space
        Whether a space is put before a text that has none there.
    template
        What is put around texts.
    trim_offsets
        Whether offsets leave out the white space at both ends of a token.
    trim_prefix_space
        Whether such trimming takes one leading space of the first token to be its own.
    call
        Truncation and padding.
    profile
        Name, roles and the like.
    """

    added_tokens: tuple[AddedToken, ...] = ()
    normalizers: tuple[Form | TextRule, ...] = ()
    prefix_space: bool = False
    template: Template = field(default_factory=Template)
    trim_offsets: bool = False
    trim_prefix_space: bool = True
    call: CallDefaults = field(default_factory=CallDefaults)
    profile: Profile = field(default_factory=Profile, repr=False)

    @property
    def special_tokens(self) -> dict[str, int]:
        """The ids of the special tokens by their text."""
        return {token.content: token.id for token in self.added_tokens if token.special}


@dataclass(frozen=True)
class Specification:
    """A tokenizer: its model, and what is done around it."""

    model: ModelDescription
    pipeline: Pipeline = field(default_factory=Pipeline)
