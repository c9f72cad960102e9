"""Byte-pair training in plain Python: the twin of ``tokfrag.tokens.training``, by recounting.

It follows Hugging Face's ``BpeTrainer`` over bytes: the pair of neighbouring symbols with the
highest count is merged, ties going to the smallest (left id, right id); a pair counts once for
every adjacent position of every word, overlaps included, times the word's count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

Merge = tuple[int, int, int]


def byte_alphabet() -> list[str]:
    """The character that byte-level BPE writes for each byte: GPT-2's table.

    >>> byte_alphabet()[ord("A")], byte_alphabet()[ord(" ")]
    ('A', 'Ġ')
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def first_tokens(special_tokens: Sequence[str]) -> tuple[list[bytes], list[int], dict[str, int]]:
    """The vocabulary before the first merge: specials, then bytes by their character's code point.

    A special token spelled like a byte-level string is that string's token too, as it is there.

    Returns
    -------
    tokens
        Spelling by id; ``b""`` for a special token that no byte or merge can spell.
    byte_ids
        The id of each of the 256 bytes.
    special_ids
        The id of each special token.
    """
    alphabet = byte_alphabet()
    byte_of = {char: byte for byte, char in enumerate(alphabet)}
    special_ids: dict[str, int] = {}
    tokens: list[bytes] = []
    for special in special_tokens:
        if special not in special_ids:
            special_ids[special] = len(tokens)
            plain = all(char in byte_of for char in special)
            tokens.append(bytes(byte_of[char] for char in special) if plain else b"")
    byte_ids = [0] * 256
    for char in sorted(alphabet):
        spelling = bytes([byte_of[char]])
        byte_ids[byte_of[char]] = special_ids.get(char, len(tokens))
        if char not in special_ids:
            tokens.append(spelling)
    return tokens, byte_ids, special_ids


def train(
    words: Mapping[Sequence[int], int] | Iterable[tuple[Sequence[int], int]],
    tokens: Sequence[bytes],
    vocab_size: int,
    *,
    min_frequency: int = 0,
    max_token_length: int | None = None,
) -> tuple[list[bytes], list[Merge], list[int]]:
    """Merge until the vocabulary is full or no pair is left; recount everything each time.

    Parameters
    ----------
    words : mapping of ids to int, or iterable of pairs of them
        Words as sequences of ids into ``tokens``, with their counts.
    tokens : sequence of bytes
        Spelling by id of the vocabulary to begin with.
    vocab_size
        Stop at this many tokens.
    min_frequency
        Stop at pairs rarer than this.
    max_token_length
        A pair of which one side is a merged token is a candidate only if its length in bytes is
        less than this.

    Returns
    -------
    tokens, merges, token_counts
        The vocabulary; ``(left, right, id)`` in order; symbols in all words, at the start and after
        each merge.
    """
    tokens = list(tokens)
    ids = {spelling: number for number, spelling in enumerate(tokens) if spelling}
    n_first = len(tokens)
    listed = words.items() if isinstance(words, Mapping) else words
    corpus = [(list(word), count) for word, count in listed]
    merges: list[Merge] = []
    token_counts = [sum(len(word) * count for word, count in corpus)]
    while len(tokens) < vocab_size:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, count in corpus:
            for pair in pairwise(word):
                length = len(tokens[pair[0]]) + len(tokens[pair[1]])
                first = max(pair) < n_first
                if max_token_length is None or first or length < max_token_length:
                    pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < max(1, min_frequency):
            break
        spelling = tokens[best[0]] + tokens[best[1]]
        if spelling not in ids:
            ids[spelling] = len(tokens)
            tokens.append(spelling)
        merges.append((*best, ids[spelling]))
        corpus = [(merge_pair(word, *merges[-1]), count) for word, count in corpus]
        token_counts.append(sum(len(word) * count for word, count in corpus))
    return tokens, merges, token_counts


def merge_pair(word: Sequence[int], left: int, right: int, merged: int) -> list[int]:
    """Replace each ``left, right`` by ``merged``, from left to right.

    >>> merge_pair([1, 1, 1, 2], 1, 1, 9)
    [9, 1, 2]
    """
    result: list[int] = []
    at = 0
    while at < len(word):
        if word[at] == left and at + 1 < len(word) and word[at + 1] == right:
            result.append(merged)
            at += 2
        else:
            result.append(word[at])
            at += 1
    return result


class SplitMix:
    """The random numbers of BPE-dropout: SplitMix64, one stream for each (seed, stream) pair.

    >>> 0.0 <= SplitMix(1, 0).random() < 1.0
    True
    """

    def __init__(self, seed: int, stream: int) -> None:
        self._state = seed % 2**64
        self._state = (self._next() + stream) % 2**64

    def _next(self) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (self._state ^ self._state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        return mixed ^ mixed >> 31

    def random(self) -> float:
        """Return the next number, uniform in [0, 1)."""
        return float((self._next() >> 11) * 2.0**-53)


def apply_merges(
    word: Sequence[int],
    merges: Sequence[Merge],
    *,
    dropout: float = 0.0,
    random: SplitMix | None = None,
) -> list[int]:
    """Encode one word: again and again the earliest merge that applies, at its leftmost place.

    With ``dropout``, each is passed over with that probability (BPE-dropout, arXiv 1910.13267): the
    places where a merge applies are tried in order of rank, then of position, and the first that is
    not passed over is merged; then all are tried afresh. A pair listed twice has its last rank.

    >>> apply_merges([1, 2, 1, 2], [(1, 2, 3), (3, 3, 4)])
    [4]
    """
    ranks = {(left, right): (rank, merged) for rank, (left, right, merged) in enumerate(merges)}
    random = random or SplitMix(0, 0)
    symbols = list(word)
    while True:
        found = sorted(
            (*ranks[pair], at) for at, pair in enumerate(pairwise(symbols)) if pair in ranks
        )
        for _, merged, at in found:
            if dropout == 0 or random.random() >= dropout:
                symbols[at : at + 2] = [merged]
                break
        else:
            return symbols
