"""Train a byte-pair vocabulary: the same merges and ids as Hugging Face's ``BpeTrainer``."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import training as _native
from tokfrag._progress import progress_bar
from tokfrag.reference.bpe_training import first_tokens
from tokfrag.tokens.checks import check_count
from tokfrag.tokens.training.word_counts import WordCounts

_NO_LIMIT = 2**63 - 1
_MERGES_A_STEP = 64  # between two looks at the progress bar: well under 0.1 s


@dataclass(frozen=True)
class CompressionCurve:
    """How far a training text shrinks as the vocabulary grows; see :attr:`Vocabulary.curve`.

    Attributes
    ----------
    vocab_sizes
        ``(n,)`` int64: tokens in the vocabulary, from the bytes alone to the whole.
    token_counts
        ``(n,)`` int64: tokens that the training text has under each, exactly.
    n_bytes
        Bytes of the training text.
    """

    vocab_sizes: NDArray[np.int64]
    token_counts: NDArray[np.int64]
    n_bytes: int

    @property
    def bytes_per_token(self) -> NDArray[np.float64]:
        """``(n,)`` float64: ``n_bytes / token_counts`` (1 where there is no text)."""
        return np.where(self.n_bytes == 0, 1.0, self.n_bytes / np.maximum(self.token_counts, 1))

    def vocab_size_for(self, bytes_per_token: float) -> int | None:
        """Return the smallest vocabulary that reaches ``bytes_per_token``, or None."""
        reached = np.flatnonzero(self.bytes_per_token >= bytes_per_token)
        return int(self.vocab_sizes[reached[0]]) if len(reached) else None


@dataclass(frozen=True)
class Vocabulary:
    """What byte-pair training gives, and continues from.

    Attributes
    ----------
    ids
        The id of each token that is spelled in bytes: the 256 bytes, and what is merged from them.
    merges
        ``(n, 3)`` uint32: ids of the left part, the right part and the result, in order of rank.
    special_tokens
        The id of each special token.
    curve
        Tokens of the training text against vocabulary size.
    """

    ids: dict[bytes, int]
    merges: NDArray[np.uint32]
    special_tokens: dict[str, int] = field(default_factory=dict)
    curve: CompressionCurve | None = None

    def __repr__(self) -> str:
        return f"Vocabulary: {self.size} tokens, {len(self.merges)} merges"

    @classmethod
    def from_ranks(
        cls, ranks: Mapping[bytes, int], special_tokens: Mapping[str, int] | None = None
    ) -> Vocabulary:
        """Return the vocabulary of a table of ranks, as tiktoken has it.

        Any two tokens that together spell a third may merge to it, the lowest rank first.
        """
        merges = [
            (ranks[token[:cut]], ranks[token[cut:]], id)
            for token, id in sorted(ranks.items(), key=operator.itemgetter(1))
            for cut in range(1, len(token))
            if token[:cut] in ranks and token[cut:] in ranks
        ]
        table = np.array(merges, np.uint32).reshape(-1, 3)
        return cls(dict(ranks), table, dict(special_tokens or {}))

    @classmethod
    def from_ranked(
        cls,
        tokens: Sequence[bytes],
        ids: Sequence[int],
        merges: NDArray[np.uint32],
        special_tokens: Mapping[str, int] | None = None,
    ) -> Vocabulary:
        """Return the vocabulary that :meth:`ranked` gives as lists."""
        known = dict(zip(tokens, ids, strict=True))
        rows = [
            (ids[left], ids[right], known[tokens[left] + tokens[right]])
            for left, right in merges.tolist()
        ]
        return cls(known, np.array(rows, np.uint32).reshape(-1, 3), dict(special_tokens or {}))

    @property
    def size(self) -> int:
        """The number of ids, special tokens and gaps included: the highest id, and one."""
        return 1 + max([-1, *self.ids.values(), *self.special_tokens.values()])

    @property
    def tokens(self) -> list[bytes]:
        """Bytes by id; special tokens in UTF-8, ids that nothing has as ``b""``."""
        tokens = [b""] * self.size
        for text, id in self.special_tokens.items():
            tokens[id] = text.encode()
        for token, id in self.ids.items():
            tokens[id] = token
        return tokens

    def ranked(self) -> tuple[list[bytes], list[int], NDArray[np.uint32]]:
        """Return the tokens, their ids, and the merges as indices into the tokens.

        Returns
        -------
        tokens, ids
            The tokens that are spelled in bytes, by ascending id.
        merges
            ``(n, 2)`` uint32: the two tokens of each merge, in order of rank; of a pair that is
            listed twice, the last.
        """
        tokens = sorted(self.ids, key=self.ids.__getitem__)
        ids = [self.ids[token] for token in tokens]
        index = np.zeros(self.size, np.uint32)
        index[ids] = np.arange(len(ids), dtype=np.uint32)
        last = {pair: rank for rank, pair in enumerate(map(tuple, self.merges[:, :2].tolist()))}
        return tokens, ids, index[self.merges[sorted(last.values()), :2]]

    @property
    def merge_pairs(self) -> list[tuple[bytes, bytes]]:
        """The merges as pairs of byte strings, in order of rank."""
        token = {id: spelling for spelling, id in self.ids.items()}
        return [(token[left], token[right]) for left, right, _ in self.merges.tolist()]


def train_vocabulary(
    counts: WordCounts,
    vocab_size: int,
    *,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
    progress: bool = False,
    keep_counts: bool = True,
) -> Vocabulary:
    """Train byte-level BPE from word counts.

    Ids are given to the special tokens in order, then to the 256 bytes by the code point of their
    byte-level character, then to the merges in order. The result is that of Hugging Face's
    ``BpeTrainer`` with ``initial_alphabet=ByteLevel.alphabet()``, but for two things: counts are
    64-bit (there they wrap at 2**31), and a vocabulary too small for the bytes is refused. It does
    not depend on the order of the texts, on threads, or on how they were sharded.

    Parameters
    ----------
    counts
        The words of the training text.
    vocab_size
        Tokens wanted, special ones and the 256 bytes included. Fewer come out if pairs run out.
    special_tokens
        Text of the special tokens. They are not cut out of the training text.
    min_frequency
        Merge no pair rarer than this.
    max_token_length
        Merge only to *less* than this many bytes (two single bytes may always merge): so reads the
        parameter there.
    progress
        Show a progress bar.
    keep_counts
        False: the counts are given up, and their memory is free for training.

    Raises
    ------
    ValueError
        A parameter out of range.
    TypeError
        ``special_tokens`` is one string, or holds something else than strings.
    OverflowError
        The text has 2**63 bytes or more.
    KeyboardInterrupt
        Within 0.1 s of Ctrl-C.

    Examples
    --------
    >>> counts = WordCounts(pattern="gpt2")
    >>> counts.add(["low lower lowest"])
    >>> vocabulary = train_vocabulary(counts, 260, special_tokens=["<end>"])
    >>> vocabulary.tokens[257:]
    [b'lo', b'low', b' low']
    """
    spellings, byte_ids, special_ids = first_tokens(check_special_tokens(special_tokens))
    trainer = _trainer(
        spellings, "the special tokens and bytes", vocab_size, min_frequency, max_token_length
    )
    n_bytes = counts.give_words(trainer, np.array(byte_ids, np.uint32))
    if not keep_counts:
        counts.clear()
    return _run(trainer, len(spellings), special_ids, n_bytes, progress)


def extend_vocabulary(
    vocabulary: Vocabulary,
    counts: WordCounts,
    vocab_size: int,
    *,
    min_frequency: int = 0,
    max_token_length: int | None = None,
    progress: bool = False,
) -> Vocabulary:
    """Continue training from a vocabulary: its ids and merges stay, new ones come after them.

    The words are first encoded with the merges there are; training goes on from those tokens. What
    :func:`train_vocabulary` gives is the same as a part of it, extended on the same counts.

    Parameters
    ----------
    vocabulary
        What to begin with: every byte must have a token.
    counts, vocab_size, min_frequency, max_token_length, progress
        As in :func:`train_vocabulary`.

    Examples
    --------
    >>> counts = WordCounts(pattern="gpt2")
    >>> counts.add(["low lower lowest"])
    >>> small = train_vocabulary(counts, 258)
    >>> extend_vocabulary(small, counts, 260).tokens[256:]
    [b'lo', b'low', b' low', b' lowe']
    """
    ids = vocabulary.ids
    missing = [byte for byte in range(256) if bytes([byte]) not in ids]
    if missing:
        raise ValueError(
            f"vocabulary: no token for byte {missing[0]:#04x}; takes one for each byte"
        )
    spellings = [b""] * vocabulary.size
    special, _, places = first_tokens(list(vocabulary.special_tokens))
    for text, id in vocabulary.special_tokens.items():
        spellings[id] = special[places[text]]
    for token, id in ids.items():
        spellings[id] = token
    trainer = _trainer(
        spellings, "the vocabulary to begin with", vocab_size, min_frequency, max_token_length
    )
    byte_ids = np.array([ids[bytes([byte])] for byte in range(256)], np.uint32)
    rules = _native.MergeRules(vocabulary.merges)
    with counts.settled() as table:
        trainer.add_encoded_counts(table, byte_ids, rules)
        n_bytes = table.n_bytes
    return _run(
        trainer, len(spellings), vocabulary.special_tokens, n_bytes, progress, vocabulary.merges
    )


def _trainer(
    spellings: list[bytes],
    what: str,
    vocab_size: int,
    min_frequency: int,
    max_token_length: int | None,
) -> _native.Trainer:
    vocab_size = check_count("vocab_size", vocab_size, 0, 2**32 - 2)
    if vocab_size < len(spellings):
        raise ValueError(
            f"vocab_size: got {vocab_size}, takes at least {len(spellings)}, the size of {what}"
        )
    longest = _NO_LIMIT
    if max_token_length is not None:
        longest = check_count("max_token_length", max_token_length, 1)
    least = check_count("min_frequency", min_frequency, 0)
    return _native.Trainer(spellings, vocab_size, least, longest)


def _run(
    trainer: _native.Trainer,
    n_first: int,
    special_tokens: dict[str, int],
    n_bytes: int,
    progress: bool,
    earlier: NDArray[np.uint32] | None = None,
) -> Vocabulary:
    wanted = trainer.vocab_size - n_first
    with progress_bar(wanted, "merging", " merges", progress) as advance:
        done = 0
        while trainer.run(_MERGES_A_STEP):
            advance(trainer.n_merges - done)
            done = trainer.n_merges
        advance(trainer.n_merges - done)
    spellings = trainer.tokens()
    merges = trainer.merges()
    # A merge that gave an older token (a special one) did not make the vocabulary larger.
    made = np.concatenate([[n_first], merges[:, 2].astype(np.int64) + 1])
    sizes = np.maximum.accumulate(made)
    curve = CompressionCurve(sizes, trainer.token_counts(), n_bytes)
    if earlier is not None:
        merges = np.concatenate([earlier, merges])
    # A special token has a spelling in bytes only where it is a byte's token or a merge gave it.
    reached = set(merges[:, 2].tolist())
    unspelled = {id for id in special_tokens.values() if id not in reached}
    ids = {
        token: id
        for id, token in enumerate(spellings)
        if token and (len(token) == 1 or id not in unspelled)
    }
    return Vocabulary(ids, merges, dict(special_tokens), curve)


def check_special_tokens(special_tokens: Sequence[str]) -> list[str]:
    """Return them as a list of different, non-empty strings."""
    if isinstance(special_tokens, (str, bytes)):
        raise TypeError(f"special_tokens: got {special_tokens!r}, takes a sequence of str, not one")
    checked: list[str] = []
    for token in special_tokens:
        if not isinstance(token, str):
            raise TypeError(f"special_tokens: got {token!r}, takes str")
        if not token or token in checked:
            raise ValueError(f"special_tokens: got {token!r} {'twice' if token else 'among them'}")
        checked.append(token)
    return checked


def encode_words(
    words: Sequence[bytes],
    vocabulary: Vocabulary,
    *,
    dropout: float = 0.0,
    seed: int = 0,
) -> list[NDArray[np.uint32]]:
    """Encode words with a list of merges, by choice with seeded BPE-dropout.

    The same seed gives the same ids, whatever else is encoded beside a word at the same index.

    Parameters
    ----------
    words
        Pieces of text, already cut by the pattern.
    vocabulary
        The merges; it must have a token for every byte in ``words``.
    dropout
        The probability, 0 to 1, with which a merge is passed over each time it comes up
        (arXiv 1910.13267).
    seed
        0 to ``2**64 - 1``; word ``i`` draws from stream ``i`` of it.

    Examples
    --------
    >>> vocabulary = Vocabulary.from_ranks({b"a": 0, b"b": 1, b"ab": 2})
    >>> encode_words([b"abab"], vocabulary)
    [array([2, 2], dtype=uint32)]
    >>> encode_words([b"abab"], vocabulary, dropout=1.0)
    [array([0, 1, 0, 1], dtype=uint32)]
    """
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout: got {dropout!r}, takes 0 to 1")
    seed = check_count("seed", seed, 0, 2**64 - 1)
    text = np.frombuffer(b"".join(words), np.uint8)
    byte_ids = np.zeros(256, np.uint32)
    for byte in np.unique(text).tolist():
        if bytes([byte]) not in vocabulary.ids:
            raise ValueError(f"words: byte {byte:#04x} has no token in the vocabulary")
        byte_ids[byte] = vocabulary.ids[bytes([byte])]
    offsets = np.cumsum([0, *map(len, words)], dtype=np.int64)
    rules = _native.MergeRules(vocabulary.merges)
    ids, ends = rules.apply(byte_ids[text], offsets, float(dropout), seed)
    return np.split(ids, ends[1:-1]) if len(words) else []
