"""Places where a text may be cut for good: its ids are those of the parts, whatever surrounds them.

A place is known by the two characters on either side of it, so that an edit elsewhere leaves it
what it is. docs/live.md has the argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokfrag.tokens.models.metaspace import MetaspaceModel
from tokfrag.tokens.pipeline import TextPipeline
from tokfrag.tokens.rests import has_rests
from tokfrag.tokens.specification import AddedToken

#: How many characters on either side decide whether a place is a cut.
MARGIN = 2
#: How long parts are meant to be, and what is longer is cut again, in characters.
PART = 192
LONGEST = 2 * PART

_ASCII = "A-Za-z"
# Letters that every version of Unicode knows as such: ASCII, Cyrillic, kana, most of the Chinese
# characters and Korean syllables.
_LETTER = _ASCII + "\u0410-\u044f\u3041-\u3096\u30a1-\u30fa\u5000-\u8fff\ub000-\ucfff"
_STOP = ",.;:!?\u3001\u3002\uff0c\uff01\uff1a\uff1b\uff1f"
# A space between two letters, and a letter at the beginning of a line after a visible character.
_SPACE = f"(?<=[{_ASCII}])(?= [{_ASCII}])"
_LINE = f"(?<=[!-~]\n)(?=[{_ASCII}])"
# No native pattern has a piece in which a letter is followed by ASCII that is no letter, but for
# the apostrophe; nor one in which a digit is followed by ASCII that is none. What a piece has after
# its letters or digits is never looked at but to see that it is neither.
_AFTER_LETTER = f"(?<=[{_LETTER}])(?=[\\x00-&(-@\\[-`{{-\\x7f{_STOP}])"
_AFTER_DIGIT = f"(?<=[0-9])(?=[\\x00-/:-\\x7f{_LETTER}])"
_WIDE_LINE = f"(?<=[!-~{_LETTER}{_STOP}]\n)(?=[{_LETTER}])"

_ANYWHERE = re.compile(f"{_AFTER_LETTER}|{_AFTER_DIGIT}|{_WIDE_LINE}")
_PLAIN = re.compile(f"{_SPACE}|{_LINE}")
_SPACES = re.compile(_SPACE)
# Anywhere: pairs of characters decide. A metaspace of the text is read as a blank.
_BETWEEN = re.compile(r"(?<!\u2581)(?!\u2581|\Z)")
# The same where added tokens may take white space: what they take it before is a text of its own.
_BEHIND_WORDS = re.compile(r"(?<![\s\u2581])(?!\u2581|\Z)")


class SafeCuts:
    """Where the texts of a pipeline may be cut.

    Parameters
    ----------
    way
        The pipeline.
    heeded
        The added tokens that texts are searched for.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> cuts = SafeCuts(tok.text_pipeline, ())
    >>> [at for at in range(1, 9) if cuts.allows("I'm 12 years", at)]
    [3, 6]
    """

    __slots__ = ("_firsts", "_inner_pairs", "_lasts", "_rule")

    def __init__(self, way: TextPipeline, heeded: Iterable[AddedToken]) -> None:
        tokens = tuple(heeded)
        self._rule = _rule(way, tokens)
        # A token that stands over a cut has the two characters beside it within.
        self._inner_pairs = frozenset(
            token.content[at - 1 : at + 1]
            for token in tokens
            for at in range(1, len(token.content))
        )
        self._inner_pairs |= _joined_pairs(way) or frozenset()
        # Others look at what is beside them, or take blanks from there: these may not touch a cut.
        apart = [token.content for token in tokens if not token.plain]
        self._firsts = frozenset(content[0] for content in apart)
        if has_rests(way):
            # What follows a token is a text of its own there, and no rest.
            apart = [token.content for token in tokens]
        self._lasts = frozenset(content[-1] for content in apart)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self._rule is not None

    def allows(self, text: str, at: int) -> bool:
        """Whether a text may be cut before character ``at``; no other character than four counts.

        The ends of a text are no cuts.
        """
        rule = self._rule
        if rule is None or not 0 < at < len(text) or rule.match(text, at) is None:
            return False
        return self.parts_tokens(text, at)

    def parts_tokens(self, text: str, at: int) -> bool:
        """Whether no added token can stand over this place, nor look or reach over it."""
        return (
            text[at - 1 : at + 1] not in self._inner_pairs
            and text[at] not in self._firsts
            and text[at - 1] not in self._lasts
        )

    def parts(self, text: str) -> list[str]:
        """Cut a text into parts of some :data:`PART` characters, or more where there is no cut."""
        rule = self._rule
        parts: list[str] = []
        done = 0
        while rule is not None and len(text) - done > LONGEST:
            for match in rule.finditer(text, done + PART):
                if self.parts_tokens(text, match.start()):
                    break
            else:
                break
            parts.append(text[done : match.start()])
            done = match.start()
        parts.append(text[done:])
        return parts


def _rule(way: TextPipeline, tokens: tuple[AddedToken, ...]) -> re.Pattern[str] | None:
    allowed = way.model.cuts
    if allowed is None:
        return None
    if allowed == "rest":
        if way.values.normalizers or way.values.prefix_space:
            return None
        if _joined_pairs(way) is None:
            return _SPACES
        return _BETWEEN if all(token.plain for token in tokens) else _BEHIND_WORDS
    if way.values.normalizers:
        # These are found in a text that is not there to be looked at.
        unseen = [token for token in tokens if token.normalized]
        if any(not token.plain or re.search(r"\s", token.content) for token in unseen):
            return None
    if way.values.prefix_space or allowed == "space":
        return _SPACES
    return _PLAIN if way.values.normalizers or allowed == "plain" else _ANYWHERE


def _joined_pairs(way: TextPipeline) -> frozenset[str] | None:
    return way.model.joined_pairs if isinstance(way.model, MetaspaceModel) else None


__all__ = ["LONGEST", "MARGIN", "PART", "SafeCuts"]
