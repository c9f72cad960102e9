"""Cuts that a native scanner makes too, where pieces of white space are lost."""

from __future__ import annotations

from functools import cache

from tokfrag.tokens.models.bert_steps import punctuation
from tokfrag.tokens.models.text_cuts import CutStep, SpellBytes, Split
from tokfrag.tokens.patterns import REGEX

#: Rust's ``\w`` and ``\s``, as members of a set.
WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}"
SPACE = r"\p{White_Space}"

_CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

#: Hugging Face's ``Whitespace`` and ``BertPreTokenizer``.
WHITESPACE: tuple[CutStep, ...] = (Split(f"[{WORD}]+|[^{WORD}{SPACE}]+", "Removed", invert=True),)


@cache
def bert() -> tuple[CutStep, ...]:
    """Hugging Face's ``BertPreTokenizer``."""
    return Split(SPACE, "Removed"), Split(punctuation())


def native_cuts(cuts: tuple[CutStep, ...]) -> str | None:
    """The scanner that makes the same cuts, or None; how pieces are spelled is not its matter.

    >>> native_cuts(WHITESPACE)
    'whitespace'
    """
    kept = cuts[:-1] if cuts[-1:] == (SpellBytes(),) else cuts
    clip = Split(_CLIP, "Removed", invert=True)
    # What CLIP's pattern gives, GPT-2's leaves as it is.
    known = {
        WHITESPACE: "whitespace",
        bert(): "bert",
        (clip,): "clip",
        (clip, Split(REGEX["gpt2"])): "clip",
    }
    return known.get(kept)


__all__ = ["SPACE", "WHITESPACE", "WORD", "bert", "native_cuts"]
