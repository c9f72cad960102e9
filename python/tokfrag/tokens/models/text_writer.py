"""Steps as native code: a whole batch written and encoded at once, without the GIL."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from functools import cache

from tokfrag._core import writing as _native
from tokfrag.tokens.models.bert_steps import (
    CleanText,
    DropMarks,
    SetChineseApart,
    cleaned,
    marks,
    set_apart,
)
from tokfrag.tokens.models.graphemes import grapheme_table
from tokfrag.tokens.models.text_steps import (
    MARK,
    METASPACE,
    NMT,
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
    lowered,
    without_metaspaces,
)
from tokfrag.tokens.models.unicode_step import UnicodeForm
from tokfrag.tokens.normalization import Form, combining_class, normalize
from tokfrag.tokens.specification import TextRule

# Patterns that have native code of their own: T5's and XLM-R's, DeBERTa's, CLIP's.
_BLANKS = " {2,}"
_SPACES = r"\s{2,}|[\n\r\t]"
_SPACE_RUNS = r"\s+"


def text_writer(steps: Iterable[TextStep]) -> _native.TextWriter | None:
    """Return what writes texts as :func:`~tokfrag.tokens.models.text_steps.apply_steps` does.

    None where a step has no native code: a pattern of one's own.

    >>> text_writer((Metaspace(),)).write_batch(["a b", "", "\\u2581c"], None, 1)
    [b' a b', b'', b' c']
    """
    steps = without_metaspaces(tuple(steps))
    made = [_native_step(step) for step in steps]
    if not (steps and isinstance(steps[-1], Metaspace)):
        made.append(_native.replace(METASPACE, " "))
    return _writer(made)


def plain_writer(steps: Iterable[TextRule]) -> _native.TextWriter | None:
    """Return what writes texts as the steps do one by one, metaspaces as any other character.

    None where a step has no native code.

    >>> plain_writer((Lowercase(),)).write_batch(["A\\u2581"], None, 1)
    [b'a\\xe2\\x96\\x81']
    """
    return _writer([_native_step(step) for step in steps])


def _writer(made: list[_native.Step | None]) -> _native.TextWriter | None:
    ready = [step for step in made if step is not None]
    return _native.TextWriter(ready, True) if len(ready) == len(made) else None


def _native_step(step: TextRule) -> _native.Step | None:
    match step:
        case Replace(old, new):
            return _native.replace(well_spelled(old), well_spelled(new))
        case ReplacePattern(pattern, new) if (pattern, new) == (_BLANKS, " "):
            return _native.squeeze()
        case ReplacePattern(pattern, new) if pattern == _SPACES:
            return _native.squeeze_spaces(well_spelled(new), False)
        case ReplacePattern(pattern, new) if pattern == _SPACE_RUNS:
            return _native.squeeze_spaces(well_spelled(new), True)
        case Prepend(new):
            return _native.prepend(well_spelled(new))
        case Strip(left, right):
            return _native.strip(left, right)
        case Lowercase():
            return _native.map(_lowercase())
        case StripAccents():
            return _native.map(_marks())
        case Nmt():
            return _native.map(_nmt())
        case CleanText():
            return _native.map(_map_of(cleaned))
        case SetChineseApart():
            return _native.map(_map_of(set_apart))
        case DropMarks():
            return _native.map(_map_of(marks))
        case Precompiled():
            return _native.charsmap(step.native, grapheme_table())
        case Metaspace(prepend, words):
            return _native.metaspace(prepend, words)
        case UnicodeForm(form):
            return _unicode_form(form)
    return None


def well_spelled(text: str) -> bytes:
    """Return a text in UTF-8; half of a surrogate pair is no text that another could hold."""
    return text.encode("utf-8", "surrogatepass")


@cache
def _lowercase() -> _native.CharacterMap:
    ascii = {code: chr(code).lower() for code in range(ord("A"), ord("Z") + 1)}
    return _native.CharacterMap({**ascii, **lowered()})


@cache
def _map_of(rules: Callable[[], dict[int, str]]) -> _native.CharacterMap:
    return _native.CharacterMap(rules())


@cache
def _nmt() -> _native.CharacterMap:
    return _native.CharacterMap(NMT)


@cache
def _marks() -> _native.CharacterMap:
    return _native.CharacterMap(
        {code: "" for code in range(0x300, 0xE0200) if MARK.match(chr(code))}
    )


# Beyond these, nothing is taken apart, put together or in order.
_CHANGING = (
    *range(0xA0, 0x3400),
    *range(0xA000, 0xAC00),
    *range(0xF900, 0x20000),
    *range(0x2F800, 0x2FA20),
)


@cache
def _unicode_form(form: Form) -> _native.Step:
    """A form by the tables that Python has, as :func:`normalize` reads them."""
    apart: Form = "NFD" if form in ("NFC", "NFD") else "NFKD"
    composes = form in ("NFC", "NFKC")
    rules: dict[int, str] = {}
    classes: list[tuple[int, int]] = []
    pairs: list[list[int]] = []
    for code in _CHANGING:
        char = chr(code)
        order = combining_class(char)
        if order:
            classes.append((code, order))
        parts = unicodedata.decomposition(char)
        if not parts:
            continue
        written = normalize(char, (apart,))
        if written != char:
            rules[code] = written
        points = [int(part, 16) for part in parts.split() if not part.startswith("<")]
        two = composes and not parts.startswith("<") and len(points) == 2
        if two and normalize("".join(map(chr, points)), ("NFC",)) == char:
            pairs.append([*points, code])
    return _native.unicode_form(rules, classes, pairs, composes)


__all__ = ["plain_writer", "text_writer"]
