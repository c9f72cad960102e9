"""Pre-tokenisation patterns: names, regular expressions, and which of them run natively."""

from __future__ import annotations

# Every spelling here cuts every text in the same places as the scanner of that name.
_R50K = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
_GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
_GPT2_CLASSES = (
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
)
_CL100K = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"""
    r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
)
_LLAMA3 = (
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_O200K = (
    rf"""[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}"""
    rf"""|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)

_TEKKEN = (
    rf"""[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"""
    r"""|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
_QWEN35 = _QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(
    r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]"
)
# Every number cut off, then GPT-2's: a number ends white space too.
_STARCODER = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"""
_UPPER_KIMI, _LOWER_KIMI = (f"{kinds[:-1]}&&[^\\p{{Han}}]]" for kinds in (_UPPER, _LOWER))
_KIMI = (
    rf"""[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER_KIMI}*{_LOWER_KIMI}+{_SUFFIX}"""
    rf"""|[^\r\n\p{{L}}\p{{N}}]?{_UPPER_KIMI}+{_LOWER_KIMI}*{_SUFFIX}"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
# Three cuts in one expression: numbers and Chinese end white space and words, and what the third
# does not match, controls that no word takes, is one piece up to where it matches again. Of Chinese
# it matches letters, then symbols (U+30FB), as it does elsewhere.
_CHINESE = r"\u4e00-\u9fa5\u3040-\u30ff"
_CONTROLS = r"[^\s\p{L}\p{M}\p{N}\p{P}\p{S}]"
_WORD, _SYMBOL, _CONTROL = (
    rf"(?:(?![{_CHINESE}]){kinds})" for kinds in (r"[\p{L}\p{M}]", r"[\p{P}\p{S}]", _CONTROLS)
)
_APART_WORD, _APART_SYMBOL, _APART_CONTROL = (
    kinds.replace("?!", "?=", 1) for kinds in (_WORD, _SYMBOL, _CONTROL)
)
_DEEPSEEK3 = (
    rf"""\p{{N}}{{1,3}}|{_APART_CONTROL}?{_APART_WORD}+|{_APART_SYMBOL}+"""
    rf"""|{_APART_CONTROL}+(?={_APART_CONTROL}{_APART_WORD})|{_APART_CONTROL}+"""
    rf"""|[!-/:-@\[-`{{-~][A-Za-z]+"""
    rf"""|[^\r\n\p{{L}}\p{{N}}\p{{P}}\p{{S}}]?{_WORD}+"""
    rf"""| ?{_SYMBOL}+[\r\n]*"""
    rf"""|\s*[\r\n]+|\s+(?![^\s\p{{N}}{_CHINESE}])|\s+|{_CONTROL}+(?={_CONTROL}{_WORD})|{_CONTROL}+"""
)

#: The regular expression of each native pattern, as its first publisher writes it.
REGEX = {
    "gpt2": _R50K,
    "r50k": _R50K,
    "p50k": _R50K,
    "cl100k": _CL100K,
    "o200k": _O200K,
    "llama3": _LLAMA3,
    "qwen2": _QWEN2,
    "tekken": _TEKKEN,
    "qwen35": _QWEN35,
    "starcoder": _STARCODER,
    "kimi": _KIMI,
    "deepseek3": _DEEPSEEK3,
}
#: Patterns that no expression says: pieces of "falcon" begin and end inside characters.
BYTE_PATTERNS = ("falcon",)
_NATIVE = {regex: name for name, regex in reversed(REGEX.items())}
# \s*[\r\n] reaches the last newline of white space as \s*[\r\n]+ does (Phi-4).
_NATIVE[_LLAMA3.replace(r"\s*[\r\n]+", r"\s*[\r\n]")] = "llama3"
_NATIVE[_GPT2] = _NATIVE[_GPT2_CLASSES] = "gpt2"


def native_name(pattern: str) -> str | None:
    """The native pattern that a name or regular expression stands for, or None."""
    if pattern in REGEX or pattern in BYTE_PATTERNS:
        return pattern
    return _NATIVE.get(pattern)


def replace_surrogates(text: str) -> str:
    """Pairs of surrogates joined, those alone as U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
