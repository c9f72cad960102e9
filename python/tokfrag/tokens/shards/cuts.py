"""Where a text may be cut without changing its ids."""

from __future__ import annotations

import re

from tokfrag.tokens.pipeline import Piped

_WINDOW = 1 << 10
_CONTEXT = 16  # bytes that no match is longer than, on either side of where it ends

# Letters that every version of Unicode knows as such, and white space that every family treats
# alike. Three places are the beginning of a piece under every native pattern, whatever surrounds
# them, and the pieces before are the same when the text ends there:
_ASCII = rb"[A-Za-z]"
_LETTER = (
    rb"(?:[A-Za-z]|\xd0[\x90-\xbf]|\xd1[\x80-\x8f]|\xe3\x81[\x81-\xbf]|\xe3\x82[\x80-\x96\xa1-\xbf]"
    rb"|\xe3\x83[\x80-\xba]|(?:[\xe5-\xe8]|[\xeb\xec])[\x80-\xbf]{2})"
)
_STOP = rb"(?:[,.;:!?]|\xe3\x80[\x81\x82]|\xef\xbc[\x81\x8c\x9a\x9b\x9f])"
#   a letter at the beginning of a line, after a line that ends in something visible;
_LINE = rb"(?:[!-~]|%s|%s)\n(?=%s)"
#   a space between two letters;
_SPACE = rb"%s(?= %s)"
#   a stop between two letters.
_CUT_ANYWHERE = re.compile(
    b"|".join((_LINE % (_LETTER, _STOP, _LETTER), _SPACE % (_LETTER, _LETTER)))
    + rb"|%s(?=%s%s)" % (_LETTER, _STOP, _LETTER)
)
_CUT_PLAIN = re.compile(b"|".join((_LINE % (_ASCII, _ASCII, _ASCII), _SPACE % (_ASCII, _ASCII))))
_CUT_SPACE = re.compile(_SPACE % (_ASCII, _ASCII))


def cut_rule(tokenizer: Piped) -> re.Pattern[bytes] | None:
    """A pattern that ends where a text may be cut without changing its ids; None: nowhere."""
    pipeline = tokenizer.text_pipeline.values
    allowed = tokenizer.text_pipeline.model.cuts
    if allowed is None:
        return None
    always = [token for token in pipeline.added_tokens if not token.special]
    for token in always:
        if not token.plain or any(character.isspace() for character in token.content):
            return None
    if pipeline.prefix_space or allowed == "space":
        return _CUT_SPACE
    if always or pipeline.normalizers or allowed == "plain":
        return _CUT_PLAIN
    return _CUT_ANYWHERE


def piece_rule(native: bool) -> re.Pattern[bytes] | None:
    """The same for cutting alone, by a pattern that has a native scanner or by another."""
    return _CUT_ANYWHERE if native else None


def last_cut(text: bytes, rule: re.Pattern[bytes]) -> int:
    """The last place where the rule allows a cut; 0 if there is none."""
    end = len(text)
    window = _WINDOW
    while end > 0:
        begin = max(0, end - window)
        found = 0
        # A few bytes more, so that no match is missed between two windows.
        for match in rule.finditer(text, begin, min(len(text), end + _CONTEXT)):
            found = match.end()
        if found:
            return found
        end = begin
        window *= 2
    return 0


def first_cut(text: bytes, rule: re.Pattern[bytes], place: int) -> int:
    """The first place at or after ``place`` where the rule allows a cut; -1 if there is none."""
    for match in rule.finditer(text, max(0, place - _CONTEXT)):
        if match.end() >= place:
            return match.end()
    return -1


__all__ = ["cut_rule", "first_cut", "last_cut", "piece_rule"]
