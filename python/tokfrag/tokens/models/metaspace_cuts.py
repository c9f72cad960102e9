"""Where texts of metaspace models fall apart, and how what follows such a place is written.

docs/live.md has the argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tokfrag.tokens.models.model_text import ModelText
from tokfrag.tokens.models.text_steps import (
    METASPACE,
    Lowercase,
    Metaspace,
    Nmt,
    Precompiled,
    Prepend,
    Replace,
    ReplacePattern,
    Strip,
    StripAccents,
    TextStep,
    apply_steps,
)
from tokfrag.tokens.models.unicode_step import UnicodeForm

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_RUNS = (" {2,}", r"\s{2,}|[\n\r\t]")


def rest_of(text: tuple[TextStep, ...] | ModelText) -> tuple[TextStep, ...] | ModelText | None:
    """Return how a text is written from a safe cut on: nothing is put before it, or stripped there.

    None where a step may look over a blank between two ASCII letters, or change these.

    >>> rest_of((Prepend(METASPACE), Replace(" ", METASPACE)))
    (Replace(old=' ', new='▁'),)
    >>> rest_of((ReplacePattern("[a-z] ", ""),)) is None
    True
    """
    if isinstance(text, ModelText):
        plain = not text.charsmap and not text.remove_extra_whitespaces
        return replace(text, add_dummy_prefix=False) if plain else None
    rest: list[TextStep] = []
    for step in text:
        match step:
            case Prepend():
                continue
            case Strip():
                step = Strip(False, step.right)
            case Metaspace(_, False):
                step = Metaspace("never")
            case Metaspace("always", True):
                pass
            case Replace(old, new):
                blank = old in (" ", METASPACE)
                if (blank and new not in (" ", METASPACE)) or any(char in _LETTERS for char in old):
                    return None
            case ReplacePattern(pattern):
                if pattern not in _RUNS:
                    return None
            case Precompiled():
                if not _keeps_letters(step):
                    return None
            case Lowercase() | StripAccents() | Nmt() | UnicodeForm():
                pass
            case _:
                return None
        rest.append(step)
    return tuple(rest)


def leaves_characters(text: tuple[TextStep, ...] | ModelText) -> bool:
    """Whether every character but blanks is written as it is, whatever stands beside it."""
    if isinstance(text, ModelText):
        return rest_of(text) is not None
    marks = (Replace(" ", METASPACE), Replace(METASPACE, " "))
    return all(
        isinstance(step, Prepend)
        or step in marks
        or (isinstance(step, Metaspace) and not step.words)
        for step in text
    )


def joined_pairs(tokens: Iterable[str]) -> frozenset[str]:
    """Return all two characters that stand side by side in a token, its metaspaces as blanks.

    >>> sorted(joined_pairs(["\u2581ab", "b"]))
    [' a', 'ab']
    """
    pairs: set[str] = set()
    for token in tokens:
        token = token.replace(METASPACE, " ")
        pairs.update(token[i : i + 2] for i in range(len(token) - 1))
    return frozenset(pairs)


def _keeps_letters(step: Precompiled) -> bool:
    """Whether the map leaves ASCII letters and the blank: they are graphemes of their own here."""
    alone = " ".join(_LETTERS)
    return apply_steps((step,), alone) == alone


__all__ = ["joined_pairs", "leaves_characters", "rest_of"]
