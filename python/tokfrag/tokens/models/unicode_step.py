"""Unicode normalisation as a step: which characters each new one comes from."""

from __future__ import annotations

from dataclasses import dataclass

from tokfrag.tokens.models.text_steps import Sources
from tokfrag.tokens.normalization import Form, combining_class, normalize

# A character, and by how many it is more or fewer than the one it is written for: 0 where it takes
# the place of one, 1 where it is put behind one, -1 where it takes the place of two, and so on.
_Change = tuple[str, int]


@dataclass(frozen=True)
class UnicodeForm:
    """A normal form of Unicode.

    Characters are decomposed, put in order and composed as the standard says (UAX 15). What comes
    from where is counted as Hugging Face's library counts it: a character in the place of several
    stands for the first of them.

    >>> UnicodeForm("NFC").align("e\\u0301x", [(0, 1), (1, 2), (2, 3)], True)
    ('éx', [(0, 1), (2, 3)])
    """

    form: Form

    def apply(self, text: str, first: bool) -> str:
        """Return the text in the normal form."""
        return normalize(text, (self.form,))

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same and where its characters come from."""
        written = self.apply(text, first)
        if written == text:
            return text, sources
        changes = self._decomposed(text)
        if self.form in ("NFC", "NFKC"):
            changes = self._composed(changes)
        places: Sources = []
        at = 0
        for _, change in changes:
            places.append(sources[max(at - 1, 0) if change > 0 else at])
            at += max(0, 1 - change)
        return "".join(char for char, _ in changes), places

    def _decomposed(self, text: str) -> list[_Change]:
        """Characters taken apart, marks in their order."""
        apart: Form = "NFD" if self.form in ("NFC", "NFD") else "NFKD"
        changes: list[_Change] = []
        begin = 0  # of the marks behind a character without a class
        for char in text:
            for i, part in enumerate(normalize(char, (apart,))):
                if not combining_class(part):
                    changes[begin:] = sorted(
                        changes[begin:], key=lambda made: combining_class(made[0])
                    )
                    begin = len(changes) + 1
                changes.append((part, min(i, 1)))
        changes[begin:] = sorted(changes[begin:], key=_order)
        return changes

    def _composed(self, changes: list[_Change]) -> list[_Change]:
        """Characters put together with the marks behind them."""
        made: list[_Change] = []
        starter, last = -1, 0
        for char, change in changes:
            own = combining_class(char)
            if starter >= 0 and (len(made) == starter + 1 or 0 < last < own):
                before, count = made[starter]
                joined = normalize(before + char, (self.form,))
                if len(joined) == 1:
                    made[starter] = joined, count + change - 1
                    continue
            if own == 0:
                starter = len(made)
            last = own
            made.append((char, change))
        return made


def _order(made: _Change) -> int:
    return combining_class(made[0])


__all__ = ["UnicodeForm"]
