"""Train a byte-pair vocabulary: the same merges and ids as Hugging Face's ``BpeTrainer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import training as _native
from tokfrag._progress import progress_bar
from tokfrag.tokens import byte_alphabet
from tokfrag.tokens.arguments import check_count, check_threads
from tokfrag.tokens.training.word_counts import WordCounts
from tokfrag.tokens.vocabulary import CompressionCurve, Vocabulary

_NO_LIMIT = 2**63 - 1
_MERGES_A_STEP = 64  # between two looks at the progress bar: well under 0.1 s


def train_vocabulary(
    counts: WordCounts,
    vocab_size: int,
    *,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
    threads: SupportsIndex | None = None,
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
    counts : WordCounts
        The words of the training text.
    vocab_size : int
        Tokens wanted, special ones and the 256 bytes included. Fewer come out if pairs run out.
    special_tokens : sequence of str
        Text of the special tokens. They are not cut out of the training text.
    min_frequency : int
        Merge no pair rarer than this.
    max_token_length : int, optional
        Merge only to *less* than this many bytes (two single bytes may always merge): so reads the
        parameter there.
    threads : int, optional
        That may merge: by default as many as there are processors.
    progress : bool
        Show a progress bar.
    keep_counts : bool
        False: the counts are given up, and their memory is free for training.

    Returns
    -------
    Vocabulary
        With the compression curve of this training.

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
        spellings,
        "the special tokens and bytes",
        vocab_size,
        min_frequency,
        max_token_length,
        threads,
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
    threads: SupportsIndex | None = None,
    progress: bool = False,
) -> Vocabulary:
    """Continue training from a vocabulary: its ids and merges stay, new ones come after them.

    The words are first encoded with the merges there are; training goes on from those tokens. What
    :func:`train_vocabulary` gives is the same as a part of it, extended on the same counts.

    Parameters
    ----------
    vocabulary : Vocabulary
        The beginning: every byte must have a token in it.
    counts, vocab_size, min_frequency, max_token_length, threads, progress
        As in :func:`train_vocabulary`.

    Returns
    -------
    Vocabulary
        A new one; the curve begins where ``vocabulary`` ends.

    Raises
    ------
    ValueError
        A byte has no token, or a parameter is out of range.

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
        spellings,
        "the vocabulary to begin with",
        vocab_size,
        min_frequency,
        max_token_length,
        threads,
    )
    byte_ids = np.array([ids[bytes([byte])] for byte in range(256)], np.uint32)
    rules = _native.MergeRules(vocabulary.merges)
    with counts.settled() as table:
        trainer.add_encoded_counts(table, byte_ids, rules)
        n_bytes = table.n_bytes
    return _run(
        trainer, len(spellings), vocabulary.special_tokens, n_bytes, progress, vocabulary.merges
    )


def first_tokens(special_tokens: Sequence[str]) -> tuple[list[bytes], list[int], dict[str, int]]:
    """The vocabulary before the first merge: specials, then bytes by their character's code point.

    A special token spelled like a byte-level string is that string's token too, as it is in
    Hugging Face's trainer.

    Returns
    -------
    tokens
        Spelling by id; ``b""`` for a special token that no byte or merge can spell.
    byte_ids
        The id of each of the 256 bytes.
    special_ids
        The id of each special token.
    """
    special_ids = {text: id for id, text in enumerate(dict.fromkeys(special_tokens))}
    tokens = [byte_alphabet.to_bytes(text) or b"" for text in special_ids]
    known = {token: id for id, token in enumerate(tokens) if len(token) == 1}
    byte_ids = [0] * 256
    for byte in sorted(range(256), key=lambda byte: byte_alphabet.to_text(bytes([byte]))):
        token = bytes([byte])
        if token not in known:
            known[token] = len(tokens)
            tokens.append(token)
        byte_ids[byte] = known[token]
    return tokens, byte_ids, special_ids


def _trainer(
    spellings: list[bytes],
    what: str,
    vocab_size: int,
    min_frequency: int,
    max_token_length: int | None,
    threads: SupportsIndex | None,
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
    return _native.Trainer(spellings, vocab_size, least, longest, check_threads(threads))


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
