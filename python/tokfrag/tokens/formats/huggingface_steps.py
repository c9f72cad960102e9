"""Normalisers and pre-tokenizers of ``tokenizer.json``, step by step."""

from __future__ import annotations

import base64
import binascii
from typing import get_args

import regex

from tokfrag.tokens.formats.huggingface_patterns import python_pattern
from tokfrag.tokens.formats.json_place import Place, shorten
from tokfrag.tokens.models.bert_steps import bert_steps, punctuation
from tokfrag.tokens.models.native_cuts import SPACE, WHITESPACE, bert
from tokfrag.tokens.models.text_cuts import (
    Behavior,
    CutStep,
    MarkBlanks,
    PrefixSpace,
    SpellBytes,
    Split,
)
from tokfrag.tokens.models.text_steps import (
    METASPACE,
    Lowercase,
    Nmt,
    Precompiled,
    Prepend,
    Replace,
    ReplacePattern,
    Strip,
    StripAccents,
    TextStep,
)
from tokfrag.tokens.models.unicode_step import UnicodeForm
from tokfrag.tokens.normalization import Form
from tokfrag.tokens.patterns import REGEX

_FORMS: dict[str, Form] = {"NFC": "NFC", "NFD": "NFD", "NFKC": "NFKC", "NFKD": "NFKD"}
_PLAIN: dict[str, TextStep] = {
    "Lowercase": Lowercase(),
    "StripAccents": StripAccents(),
    "Nmt": Nmt(),
}


def sequence_items(place: Place | None, members: str) -> list[Place]:
    """The steps of a part of the file: of a ``Sequence`` those in it, however deep."""
    if place is None:
        return []
    if place.get("type", str) != "Sequence":
        return [place]
    place.only("type", members)
    return [inner for step in place.at(members).items() for inner in sequence_items(step, members)]


def read_normalizer(place: Place | None) -> tuple[TextStep, ...]:
    """The steps that write a text before it is cut."""
    steps: list[TextStep] = []
    for step in sequence_items(place, "normalizers"):
        steps += _normalizer(step)
    return tuple(steps)


def only_forms(steps: tuple[TextStep, ...]) -> tuple[Form, ...] | None:
    """The Unicode forms that steps are; None if they are more."""
    forms = [step.form for step in steps if isinstance(step, UnicodeForm)]
    return tuple(forms) if len(forms) == len(steps) else None


def _normalizer(step: Place) -> tuple[TextStep, ...]:
    kind = step.get("type", str)
    if kind in _FORMS:
        step.only("type")
        return (UnicodeForm(_FORMS[kind]),)
    if kind in _PLAIN:
        step.only("type")
        return (_PLAIN[kind],)
    if kind == "Prepend":
        step.only("type", "prepend")
        return (Prepend(step.get("prepend", str)),)
    if kind == "Strip":
        step.only("type", "strip_left", "strip_right")
        return (Strip(step.get("strip_left", bool), step.get("strip_right", bool)),)
    if kind == "Replace":
        step.only("type", "pattern", "content")
        return (_replace(step),)
    if kind == "Precompiled":
        step.only("type", "precompiled_charsmap")
        return (_precompiled(step.at("precompiled_charsmap")),)
    if kind == "BertNormalizer":
        step.only("type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
        lowercase = step.get("lowercase", bool)
        # Unsaid, accents are stripped when letters are lowered.
        strips = step.given("strip_accents")
        return bert_steps(
            clean_text=step.get("clean_text", bool),
            split_chinese=step.get("handle_chinese_chars", bool),
            strip_accents=step.get("strip_accents", bool) if strips else lowercase,
            lowercase=lowercase,
        )
    known = (*_FORMS, *_PLAIN, "Prepend", "Strip", "Replace", "Precompiled", "BertNormalizer")
    raise step.refusal(f"got {kind!r}, takes {', '.join(known)} or a sequence of them")


def _replace(step: Place) -> TextStep:
    content = step.get("content", str)
    pattern = step.at("pattern")
    match pattern.value:
        case {"String": str(old)} if old:
            return Replace(old, content)
        case {"Regex": str(expression)}:
            return ReplacePattern(python_pattern(expression, pattern), content)
    raise pattern.refusal(f"got {shorten(pattern.value)}, takes a 'String' or a 'Regex'")


def _precompiled(place: Place) -> TextStep:
    try:
        step = Precompiled(base64.b64decode(place.take(str), validate=True))
        step.apply("\u00e9", True)
    except (binascii.Error, ValueError) as error:
        raise place.refusal(f"is no map of characters ({error})") from None
    return step


def read_cuts(place: Place | None) -> tuple[CutStep, ...]:
    """The steps that cut a text."""
    steps: list[CutStep] = []
    for step in sequence_items(place, "pretokenizers"):
        steps += _pre_tokenizer(step)
    return tuple(steps)


def _pre_tokenizer(step: Place) -> tuple[CutStep, ...]:
    kind = step.get("type", str)
    if kind == "ByteLevel":
        step.only("type", "add_prefix_space", "trim_offsets", "use_regex")
        prefix = (PrefixSpace(),) if step.get("add_prefix_space", bool) else ()
        by_regex = (Split(REGEX["gpt2"]),) if step.get("use_regex", bool, True) else ()
        return (*prefix, *by_regex, SpellBytes())
    if kind == "Split":
        step.only("type", "pattern", "behavior", "invert")
        return (_split(step),)
    if kind == "Digits":
        step.only("type", "individual_digits")
        individual = step.get("individual_digits", bool)
        return (Split(r"\p{N}", "Isolated" if individual else "Contiguous"),)
    if kind == "Punctuation":
        step.only("type", "behavior")
        return (Split(punctuation(), _behavior(step, "Isolated")),)
    if kind == "Whitespace":
        step.only("type")
        return WHITESPACE
    if kind == "WhitespaceSplit":
        step.only("type")
        return (Split(SPACE, "Removed"),)
    if kind == "BertPreTokenizer":
        step.only("type")
        return bert()
    if kind == "CharDelimiterSplit":
        step.only("type", "delimiter")
        return (Split(regex.escape(step.get("delimiter", str)), "Removed"),)
    if kind == "Metaspace":
        prepend, split = read_metaspace(step)
        marks = MarkBlanks(prepend)  # type: ignore[arg-type]
        return (marks, Split(METASPACE, "MergedWithNext")) if split else (marks,)
    raise step.refusal(
        f"got {kind!r}, takes ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit,"
        " BertPreTokenizer, Metaspace, CharDelimiterSplit or a sequence of them"
    )


def read_metaspace(step: Place) -> tuple[str, bool]:
    """Of a ``Metaspace``: where one is put first, and whether text is cut at them."""
    step.only("type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep")
    if step.get("replacement", str) != METASPACE:
        raise step.at("replacement").refusal(
            f"got {step.get('replacement', str)!r}, takes {METASPACE!r}"
        )
    if not step.given("prepend_scheme"):
        # Files of before 2023 say it so.
        prepend = "always" if step.get("add_prefix_space", bool, True) else "never"
    else:
        prepend = step.get("prepend_scheme", str)
    if prepend not in ("always", "first", "never"):
        raise step.at("prepend_scheme").refusal(
            f"got {prepend!r}, takes 'always', 'first' or 'never'"
        )
    return prepend, step.get("split", bool, True)


def _split(step: Place) -> Split:
    pattern = step.at("pattern")
    match pattern.value:
        case {"String": str(text)} if text:
            expression = regex.escape(text)
        case {"Regex": str(given)}:
            expression = python_pattern(given, pattern)
        case _:
            raise pattern.refusal(f"got {shorten(pattern.value)}, takes a 'String' or a 'Regex'")
    return Split(expression, _behavior(step), step.get("invert", bool, False))


def _behavior(step: Place, default: str | None = None) -> Behavior:
    name = step.get("behavior", str, default)
    for behavior in get_args(Behavior):
        if name == behavior:
            found: Behavior = behavior
            return found
    raise step.at("behavior").refusal(f"got {name!r}, takes {', '.join(get_args(Behavior))}")


__all__ = ["only_forms", "read_cuts", "read_metaspace", "read_normalizer", "sequence_items"]
