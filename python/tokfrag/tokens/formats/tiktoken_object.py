"""Read a ``tiktoken.Encoding`` that somebody holds."""

from __future__ import annotations

from typing import Any

from tokfrag.tokens.formats.huggingface_patterns import portable
from tokfrag.tokens.patterns import native_name
from tokfrag.tokens.specification import (
    BpeModel,
    Pipeline,
    Profile,
    Specification,
    special_added,
)


def read_tiktoken_object(encoding: Any) -> Specification:
    """Describe a ``tiktoken.Encoding``; ValueError if its pattern cannot be reproduced."""
    pattern: str = encoding._pat_str
    unsure = None if native_name(pattern) else portable(pattern, braces_possess=True)
    if unsure is not None:
        raise ValueError(
            f"pattern: {unsure!r} in {pattern!r} may mean something else outside tiktoken"
        )
    ranked = sorted(encoding._mergeable_ranks.items(), key=lambda entry: entry[1])
    return Specification(
        BpeModel(tuple(ranked), None, pattern, True),
        Pipeline(special_added(encoding._special_tokens), profile=Profile(name=encoding.name)),
    )


__all__ = ["read_tiktoken_object"]
