"""What byte-pair training gives, and continues from."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.specification import BpeModel, Pipeline, Specification, special_added


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
    def of_model(cls, model: BytePair, special_tokens: Mapping[str, int]) -> Vocabulary:
        """Return the vocabulary of a byte-pair model."""
        tokens = [token for token, _ in model.tokens]
        ranks = dict(model.tokens)
        if model.merges is None:
            return cls.from_ranks(ranks, special_tokens)
        ids = np.array(list(ranks.values()), np.uint32)
        made = [ranks[tokens[left] + tokens[right]] for left, right in model.merges.tolist()]
        merges = np.column_stack([ids[model.merges], np.array(made, np.uint32)])
        return cls(ranks, merges.astype(np.uint32), dict(special_tokens))

    def specification(self, pattern: str | None, *, whole_pieces: bool) -> Specification:
        """Describe the tokenizer that encodes with this vocabulary."""
        ordered = sorted(self.ids.items(), key=operator.itemgetter(1))
        # Of a pair that is listed twice, the last counts.
        last = {pair: rank for rank, pair in enumerate(map(tuple, self.merges[:, :2].tolist()))}
        merges = self.merges[sorted(last.values()), :2].astype(np.int64)
        return Specification(
            BpeModel(tuple(ordered), merges, pattern, whole_pieces),
            Pipeline(special_added(self.special_tokens)),
        )

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

    @property
    def merge_pairs(self) -> list[tuple[bytes, bytes]]:
        """The merges as pairs of byte strings, in order of rank."""
        token = {id: spelling for spelling, id in self.ids.items()}
        return [(token[left], token[right]) for left, right, _ in self.merges.tolist()]
