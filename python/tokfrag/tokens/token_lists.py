"""Specifications from what callers give: lists of tokens, and tokens that are added."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tokfrag.tokens.pipeline import TextPipeline
from tokfrag.tokens.specification import (
    AddedToken,
    BpeModel,
    Pipeline,
    Specification,
    special_added,
)


def specification_of_tokens(
    tokens: Mapping[bytes, int] | Sequence[bytes],
    pattern: str | None,
    special_tokens: Mapping[str, int] | None,
    merges: Sequence[tuple[bytes, bytes]] | None,
) -> Specification:
    """What :class:`Tokenizer` is made from; the arguments are those of its constructor."""
    entries = (
        sorted(tokens.items(), key=operator.itemgetter(1))
        if isinstance(tokens, Mapping)
        else [(token, id) for id, token in enumerate(tokens)]
    )
    for token, id in entries:
        if not isinstance(token, bytes) or isinstance(id, bool) or not isinstance(id, int):
            raise TypeError(f"tokens: got {token!r}: {id!r}, takes bytes: int")
        if not 0 <= id < 1 << 32:
            raise ValueError(f"tokens: {token!r} has id {id}, takes 0 to {2**32 - 1}")
    pairs = None
    if merges is not None:
        ids = dict(entries)
        pairs = np.empty((len(merges), 2), np.int64)
        for rank, (left, right) in enumerate(merges):
            for part in (left, right, left + right):
                if part not in ids:
                    raise ValueError(
                        f"merges: pair {rank}, {(left, right)!r}: {part!r} is no token"
                    )
            pairs[rank] = ids[left], ids[right]
    return Specification(
        BpeModel(tuple(entries), pairs, pattern, merges is None),
        Pipeline(special_added(special_tokens or {})),
    )


def added_to(
    way: TextPipeline, tokens: str | AddedToken | Iterable[str | AddedToken], special: bool
) -> Specification:
    """What :meth:`Tokenizer.add_tokens` gives; the arguments are its."""
    specification = way.specification
    known = dict(way.added_ids)
    following = way.id_count
    more: list[AddedToken] = []
    for token in [tokens] if isinstance(tokens, (str, AddedToken)) else tokens:
        if isinstance(token, str):
            token = AddedToken(token, -1, special=special)
        elif not isinstance(token, AddedToken):
            raise TypeError(f"tokens: got {token!r}, takes str or AddedToken")
        if not token.content:
            raise ValueError("tokens: one is empty")
        if token.content in known:
            continue
        if token.id < 0:
            there = way.model.token_id(token.content)
            token = replace(token, id=following if there is None else there)
        known[token.content] = token.id
        following = max(following, token.id + 1)
        more.append(token)
    pipeline = specification.pipeline
    added = (*pipeline.added_tokens, *more)
    return replace(specification, pipeline=replace(pipeline, added_tokens=added))


__all__ = ["added_to", "specification_of_tokens"]
