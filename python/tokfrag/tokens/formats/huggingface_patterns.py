r"""Pre-tokenizers of ``tokenizer.json``: which pattern of ours each one is.

The files hold regular expressions for Oniguruma in its Ruby syntax, where some text means something
else than in other engines: ``$`` matches before any newline, ``\p{N}{1,3}+`` repeats the group.
So a pattern is taken over only if it is one of those known here, or made of parts that mean the
same in both engines.
"""

from __future__ import annotations

import regex

from tokfrag.tokens.formats.json_place import Place, shorten
from tokfrag.tokens.patterns import REGEX

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"

# As it is written to a file. Each equals the family's definition, spelled for Oniguruma.
SPELLING = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s+\z|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}",
    "llama3": rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}",
    "qwen2": rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}",
    "tekken": rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}",
    "qwen35": rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}",
    "kimi": REGEX["kimi"],
}
_FAMILY = {spelling: family for family, spelling in SPELLING.items()} | {
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    # \s*[\r\n] reaches the last newline of white space as \s*[\r\n]+ does (Phi-4).
    SPELLING["llama3"].replace(r"\s*[\r\n]+", r"\s*[\r\n]"): "llama3",
    # Written for StarCoder's steps by earlier versions.
    REGEX["starcoder"]: "starcoder",
}

#: Patterns that are several pre-tokenizers, as a file has them: a type and what it is told.
STEPS: dict[str, tuple[tuple[str | bool, ...], ...]] = {
    "starcoder": (("Digits", True), ("ByteLevel", False, True)),
    "deepseek3": (
        ("Split", r"\p{N}{1,3}", "Isolated", False),
        ("Split", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", "Isolated", False),
        (
            "Split",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
            r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
            rf"|{_SPACES}",
            "Isolated",
            False,
        ),
        ("ByteLevel", False, False),
    ),
    "falcon": (
        ("Punctuation", "Contiguous"),
        ("ByteLevel", False, True),
        ("Digits", False),
        ("Split", "[0-9][0-9][0-9]", "Isolated", False),
    ),
}
_FAMILY_OF_STEPS = {steps: family for family, steps in STEPS.items()}

_PORTABLE = regex.compile(
    r"""
      (?P<fold> \(\?i:'s\|'t\|'re\|'ve\|'m\|'ll\|'d\) | \(\?i:\[sdmt\]\|ll\|ve\|re\) )
    | (?P<open> \( (?: \?: | \?= | \?! | \?> | \?<= | \?<! )? (?! \? ) )
    | \) | \|
    | (?P<set> \[ \^? (?: \\[pP]\{[A-Z][a-z]{0,2}\} | \\[sSdDrnt] | \\[^\w\s] | [^\[\]\\&]
                    | & (?! & ) )+ \] )
    | (?P<class> \\[pP]\{[A-Z][a-z]{0,2}\} | \\[sSdDrnt] | \\[^\w\s] )
    | (?P<literal> [^\[\]\\(){}|?*+.^$] )
    | (?P<repeat> [?*+] [?+]? | \{ \d{1,4} (?: ,\d{0,4} )? \} )
    """,
    regex.VERBOSE,
)


def portable(pattern: str, *, braces_possess: bool = False) -> str | None:
    """The part of an expression that may mean something else to another engine, or None.

    ``braces_possess``: in that engine as in ours, ``{1,3}+`` does not give back what it matched.
    """
    position = 0
    repeated = False
    while position < len(pattern):
        match = _PORTABLE.match(pattern, position)
        # Two quantifiers in a row: "{1,3}+" and the like.
        if match is None or (repeated and match["repeat"]):
            return pattern[position : position + 12]
        position = match.end()
        repeated = match["repeat"] is not None
        if repeated and braces_possess and pattern[position - 1] == "}":
            position += pattern.startswith("+", position)
    return None


# Sets in sets and intersections, and anchors at lines, are written otherwise for our engine.
_ITEM = (
    r"(?: \\[pP]\{[A-Z][a-z]{0,2}\} | \\[sSdDrnt] | \\[^\w\s] | [^\[\]\\&|~-] | (?<!-)-(?!-)"
    r" | \|(?!\|) )"
)
_OTHER = regex.compile(
    rf"""
      (?P<nested> \[ \^? (?: {_ITEM} | \[ (?!:) \^? {_ITEM}+ \] | && )+ \] )
    | (?P<begin> \^ ) | (?P<end> \$ ) | (?P<last> \\z ) | (?P<any> \. )
    """,
    regex.VERBOSE,
)
_ANCHORS = {
    "begin": r"(?:\A|(?<=\n)(?!\Z))",
    "end": r"(?=\n|\Z)",
    "last": r"\Z",
    "any": r"[^\n]",
}


def python_pattern(pattern: str, place: Place) -> str:
    """An expression of the file as one of Python's ``regex`` that matches the same.

    Raises
    ------
    ValueError
        Part of it may mean something else there, or it matches the empty text.
    """
    written: list[str] = []
    nested = repeated = False
    at = 0
    while at < len(pattern):
        match = _PORTABLE.match(pattern, at)
        other = _OTHER.match(pattern, at) if match is None else None
        found = match or other
        if found is None or (repeated and match is not None and match["repeat"]):
            raise place.refusal(
                f"the expression {shorten(pattern)} has {pattern[at : at + 12]!r}, which may mean"
                " something else outside Hugging Face's engine"
            )
        repeated = match is not None and match["repeat"] is not None
        nested |= other is not None and other["nested"] is not None
        written.append(_ANCHORS.get(found.lastgroup or "", found[0]))
        at = found.end()
    ours = ("(?V1)" if nested else "") + "".join(written)
    try:
        compiled = regex.compile(ours)
    except regex.error as error:
        raise place.refusal(f"{shorten(pattern)} is no regular expression ({error})") from None
    if compiled.match("") is not None:
        raise place.refusal(f"the expression {shorten(pattern)} can match nothing at all")
    return ours


def family_of(pattern: str, place: Place) -> str:
    """The family an expression defines, or the expression itself where it is safe to run."""
    family = _FAMILY.get(pattern)
    if family:
        return family
    unsure = portable(pattern)
    if unsure is not None:
        raise place.refusal(
            f"the expression {shorten(pattern)} has {unsure!r}, which may mean something else"
            " outside Hugging Face's engine"
        )
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise place.refusal(f"{shorten(pattern)} is no regular expression ({error})") from None
    if compiled.match("") is not None:
        raise place.refusal(f"the expression {shorten(pattern)} can match nothing at all")
    # What no match covers is a piece of its own there.
    gap = rf"|(?:(?!{pattern})[\s\S])+"
    return pattern if pattern.endswith("[\\s\\S])+") else f"{pattern}{gap}"


def _byte_level(place: Place) -> tuple[bool, bool]:
    place.only("type", "add_prefix_space", "trim_offsets", "use_regex")
    return place.get("add_prefix_space", bool), place.get("use_regex", bool, True)


def native_pattern(place: Place | None) -> tuple[str | None, bool] | None:
    """Our pattern (None: a text is one piece), and whether a space is put before a text.

    None where the pre-tokenizer is no single pattern of ours: it is then to be read step by step.
    """
    if place is None:
        return None
    steps = [place]
    if place.get("type", str) == "Sequence":
        place.only("type", "pretokenizers")
        steps = list(place.at("pretokenizers").items())
    kinds = [step.get("type", str) for step in steps]
    if kinds == ["ByteLevel"]:
        prefix_space, by_regex = _byte_level(steps[0])
        return ("gpt2" if by_regex else None), prefix_space
    if kinds == ["Split", "ByteLevel"] and _byte_level(steps[1]) == (False, False):
        family = _split(steps[0])
        return None if family is None else (family, False)
    family = _FAMILY_OF_STEPS.get(tuple(map(_told, steps)))
    return None if family is None else (family, False)


def _told(step: Place) -> tuple[str | bool, ...]:
    """A step as :data:`STEPS` has it; what is none of these as its type alone."""
    kind = step.get("type", str)
    if kind == "ByteLevel":
        return (kind, *_byte_level(step))
    if kind == "Digits":
        step.only("type", "individual_digits")
        return kind, step.get("individual_digits", bool)
    if kind == "Punctuation":
        step.only("type", "behavior")
        return kind, step.get("behavior", str, "Isolated")
    if kind == "Split":
        step.only("type", "pattern", "behavior", "invert")
        expression = step.at("pattern").take(dict).get("Regex")
        if type(expression) is str:
            return kind, _escaped(expression), step.get("behavior", str), step.get("invert", bool)
    return (kind,)


def _escaped(expression: str) -> str:
    """The same with its newlines spelled out."""
    return expression.replace("\r", r"\r").replace("\n", r"\n")


def _split(place: Place) -> str | None:
    """The family of a Split that leaves no gaps, or its expression if it may have some."""
    place.only("type", "pattern", "behavior", "invert")
    pattern = place.at("pattern")
    expression = pattern.take(dict).get("Regex")
    if type(expression) is not str:
        return None
    manner = place.get("behavior", str), place.get("invert", bool)
    family = _FAMILY.get(_escaped(expression))
    # Without gaps between the matches, both of these cut at the same places.
    if family is not None and manner in {("Isolated", False), ("Removed", True)}:
        return family
    if manner != ("Isolated", False) or portable(expression) is not None:
        return None
    return family_of(expression, pattern)
