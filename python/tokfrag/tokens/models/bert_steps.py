"""BERT's normaliser in steps, for models that are not BERT's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tokfrag import _bert_characters as tables
from tokfrag._bert_tables import code_points
from tokfrag.tokens.models.text_steps import Lowercase, Sources, TextStep
from tokfrag.tokens.models.unicode_step import UnicodeForm


@dataclass(frozen=True)
class CleanText:
    """Control characters go; white space of any kind is a blank.

    >>> CleanText().apply("a\\tb\\x00", True)
    'a b'
    """

    def apply(self, text: str, first: bool) -> str:
        """Return the text without control characters, each white space a blank."""
        return text.translate(cleaned())

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same and where its characters come from."""
        table = cleaned()
        kept = [source for c, source in zip(text, sources, strict=True) if table.get(ord(c), c)]
        return text.translate(table), kept


@dataclass(frozen=True)
class SetChineseApart:
    """Blanks stand around every Chinese character.

    >>> SetChineseApart().apply("a中", True)
    'a 中 '
    """

    def apply(self, text: str, first: bool) -> str:
        """Return the text with blanks around its Chinese characters."""
        return text.translate(set_apart())

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same and where its characters come from; a blank, from what it stands by."""
        table = set_apart()
        places: Sources = []
        for char, source in zip(text, sources, strict=True):
            places += [source] * len(table.get(ord(char), char))
        return text.translate(table), places


@dataclass(frozen=True)
class DropMarks:
    """Marks without a width of their own go.

    >>> DropMarks().apply("e\\u0301", True)
    'e'
    """

    def apply(self, text: str, first: bool) -> str:
        """Return the text without its marks."""
        return text.translate(marks())

    def align(self, text: str, sources: Sources, first: bool) -> tuple[str, Sources]:
        """Return the same and where its characters come from."""
        table = marks()
        kept = [source for c, source in zip(text, sources, strict=True) if ord(c) not in table]
        return text.translate(table), kept


def bert_steps(
    *, clean_text: bool, split_chinese: bool, strip_accents: bool, lowercase: bool
) -> tuple[TextStep, ...]:
    """Return the steps of Hugging Face's ``BertNormalizer``."""
    steps: list[TextStep] = []
    if clean_text:
        steps.append(CleanText())
    if split_chinese:
        steps.append(SetChineseApart())
    if strip_accents:
        steps += [UnicodeForm("NFD"), DropMarks()]
    if lowercase:
        steps.append(Lowercase())
    return tuple(steps)


@cache
def punctuation() -> str:
    """Return BERT's punctuation, as a set of the ``regex`` package."""
    return "[" + "".join(f"\\U{code:08x}" for code in code_points(tables.PUNCTUATION)) + "]"


@cache
def cleaned() -> dict[int, str]:
    """Return what :class:`CleanText` writes for characters."""
    dropped = dict.fromkeys(code_points(tables.DROPPED), "")
    return dropped | dict.fromkeys(code_points(tables.SPACES), " ")


@cache
def set_apart() -> dict[int, str]:
    """Return what :class:`SetChineseApart` writes for characters."""
    return {code: f" {chr(code)} " for code in code_points(tables.CHINESE)}


@cache
def marks() -> dict[int, str]:
    """Return what :class:`DropMarks` writes for characters: nothing."""
    return dict.fromkeys(code_points(tables.MARKS) + code_points(tables.STARTER_MARKS), "")
