"""Words or characters as tokens: the plain tokenizers that others are compared with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.checks import check_count

_WORD = re.compile(r"\w+|[^\w\s]")
# English words that carry little meaning of their own, for classification.
_STOP_WORDS = """
    a about after all also an and any are as at be because been before but by can could did do does
    for from had has have he her here him his how i if in into is it its just me more most my no not
    of on only or other our out over she so some such than that the their them then there these they
    this those to too under up very was we were what when where which who will with would you your
"""
ENGLISH_STOP_WORDS = frozenset(_STOP_WORDS.split())


def normalize_text(text: str, *, lowercase: bool = False, stop_words: Collection[str] = ()) -> str:
    """Lower the case of a text and take stop words out of it, each if asked for.

    Parameters
    ----------
    text
        Any text.
    lowercase
        Lower the case.
    stop_words
        Words to take out with the white space before them, such as
        :data:`ENGLISH_STOP_WORDS`; compared in lower case.

    Examples
    --------
    >>> normalize_text("This is the House", lowercase=True, stop_words=ENGLISH_STOP_WORDS)
    'house'
    """
    if lowercase:
        text = text.lower()
    if stop_words:
        kept = re.sub(
            r"\s*\b\w+\b",
            lambda match: "" if match[0].strip().lower() in stop_words else match[0],
            text,
        )
        text = kept.lstrip() if kept != text else text
    return text


class SimpleTokenizer:
    """Words (runs of ``\\w``, and each other sign) or characters as tokens; immutable.

    Parameters
    ----------
    vocab
        Tokens; the id of each is its place. The first stands for what the vocabulary lacks.
    unit
        ``"word"`` or ``"char"``.
    lowercase, stop_words
        As in :func:`normalize_text`, done before cutting.

    Examples
    --------
    >>> tokenizer = SimpleTokenizer.train(["a cat, a dog"], 10)
    >>> tokenizer.vocab
    ['[UNK]', 'a', ',', 'cat', 'dog']
    >>> tokenizer.encode("a cow").tolist()
    [1, 0]
    """

    def __init__(
        self,
        vocab: Sequence[str],
        *,
        unit: str = "word",
        lowercase: bool = False,
        stop_words: Collection[str] = (),
    ) -> None:
        if unit not in ("word", "char"):
            raise ValueError(f"unit: got {unit!r}, takes 'word' or 'char'")
        if isinstance(vocab, str) or not vocab:
            raise ValueError(f"vocab: got {vocab!r}, takes a sequence of at least one token")
        self._vocab = list(vocab)
        self._ids: Mapping[str, int] = {token: id for id, token in enumerate(self._vocab)}
        if len(self._ids) != len(self._vocab):
            raise ValueError("vocab: holds a token twice")
        self._unit = unit
        self._lowercase = lowercase
        self._stop_words = frozenset(stop_words)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        unit: str = "word",
        lowercase: bool = False,
        stop_words: Collection[str] = (),
        unknown: str = "[UNK]",
    ) -> SimpleTokenizer:
        """Take the most frequent tokens of the texts, ties in the order of their characters."""
        vocab_size = check_count("vocab_size", vocab_size, 1)
        cutter = cls([unknown], unit=unit, lowercase=lowercase, stop_words=stop_words)
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(cutter.tokens(text))
        counts.pop(unknown, None)
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        return cls(
            [unknown, *ranked[: vocab_size - 1]],
            unit=unit,
            lowercase=lowercase,
            stop_words=stop_words,
        )

    @property
    def vocab(self) -> list[str]:
        """The tokens by id."""
        return list(self._vocab)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self._vocab)

    def tokens(self, text: str) -> list[str]:
        """Cut a text into its words or characters."""
        if not isinstance(text, str):
            raise TypeError(f"text: got {type(text).__name__}, takes str")
        text = normalize_text(text, lowercase=self._lowercase, stop_words=self._stop_words)
        return list(text) if self._unit == "char" else _WORD.findall(text)

    def encode(self, text: str) -> NDArray[np.uint32]:
        """Return the ids of a text, ``(n,)`` uint32; 0 for what the vocabulary lacks."""
        return np.array([self._ids.get(token, 0) for token in self.tokens(text)], np.uint32)

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Return the tokens of ids: words parted by blanks, characters as they are."""
        parts: list[str] = []
        for id in ids:
            number = check_count("ids", id, -(2**63))
            if not 0 <= number < len(self._vocab):
                raise IndexError(f"ids: got {number}, takes 0 to {len(self._vocab) - 1}")
            parts.append(self._vocab[number])
        return ("" if self._unit == "char" else " ").join(parts)
