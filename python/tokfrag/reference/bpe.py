"""Byte-pair encoding and decoding by plain loops: the definition of the native encoder."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from tokfrag.reference.bpe_training import SplitMix
from tokfrag.reference.scanning import scan


def merge(piece: bytes, ranks: Mapping[bytes, int]) -> list[bytes]:
    """The parts of a piece: the pair whose join has the lowest rank merges, leftmost first.

    >>> merge(b"aab", {b"a": 0, b"b": 1, b"ab": 2, b"aa": 3})
    [b'a', b'ab']
    """
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        best = min(
            (
                (ranks[left + right], i)
                for i, (left, right) in enumerate(itertools.pairwise(parts))
                if left + right in ranks
            ),
            default=None,
        )
        if best is None:
            return parts
        i = best[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def merge_listed(piece: bytes, merges: Mapping[tuple[bytes, bytes], int]) -> list[bytes]:
    """The same where only listed pairs merge, by their place in the list."""
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        pairs = list(itertools.pairwise(parts))
        best = min(
            ((merges[pair], i) for i, pair in enumerate(pairs) if pair in merges), default=None
        )
        if best is None:
            return parts
        i = best[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def encode(text: bytes, ranks: Mapping[bytes, int], family: str | None) -> list[int]:
    """The ids of a text: a piece that is a token becomes it, the others merge.

    >>> encode(b"ab ab", {b"a": 0, b"b": 1, b" ": 2, b"ab": 3}, "gpt2")
    [3, 2, 3]
    """
    ids: list[int] = []
    begin = 0
    ends = scan(text, family) if family else [len(text)] if text else []
    for end in ends:
        piece = text[begin:end]
        begin = end
        ids += [ranks[piece]] if piece in ranks else [ranks[part] for part in merge(piece, ranks)]
    return ids


def encode_with_dropout(
    text: bytes,
    ranks: Mapping[bytes, int],
    family: str | None,
    *,
    dropout: float,
    seed: int,
    stream: int = 0,
    merges: Mapping[tuple[bytes, bytes], int] | None = None,
) -> list[int]:
    """The ids of a text with BPE-dropout (arXiv 1910.13267): every piece merges from its bytes.

    The places where a pair merges are tried in order of rank, then of position; each is passed over
    with probability ``dropout``, the first that is not is merged, and all are tried afresh. The
    piece at byte ``b`` draws from stream ``stream + b`` of the seed. With ``merges``, only those
    pairs merge, by their place in the list.

    >>> ranks = {b"a": 0, b"b": 1, b"ab": 2}
    >>> encode_with_dropout(b"ab", ranks, None, dropout=1.0, seed=0)
    [0, 1]
    """
    ids: list[int] = []
    begin = 0
    for end in scan(text, family) if family else [len(text)] if text else []:
        random = SplitMix(seed, stream + begin)
        parts = [text[i : i + 1] for i in range(begin, end)]
        begin = end
        while True:
            pairs = enumerate(itertools.pairwise(parts))
            if merges is None:
                found = [(ranks[a + b], i) for i, (a, b) in pairs if a + b in ranks]
            else:
                found = [(merges[pair], i) for i, pair in pairs if pair in merges]
            for _, i in sorted(found):
                if random.random() >= dropout:
                    parts[i : i + 2] = [parts[i] + parts[i + 1]]
                    break
            else:
                break
        ids += [ranks[part] for part in parts]
    return ids


def decode(ids: Iterable[int], tokens: Mapping[int, bytes]) -> bytes:
    """The bytes of ids.

    >>> decode([3, 2], {2: b" ", 3: b"ab"})
    b'ab '
    """
    return b"".join(tokens[id] for id in ids)
