"""Words with tags in columns, a sentence a block: CoNLL's form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tokfrag.compare.readers.tables import read_lines

_TAG = re.compile(r"O|[BIES]-\S+")
_LANGUAGE = re.compile(r"^[a-z]{2,3}:(?=.)")


@dataclass(frozen=True)
class Sentence:
    """Its words, and a tag of the form ``O``, ``B-x``, ``I-x`` for each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def is_conll(lines: list[str]) -> bool:
    """Whether lines are words with tags: nearly all have columns, the last of them a tag."""
    held = [line.split() for line in lines[:2000] if line.strip()]
    tagged = sum(len(cells) > 1 and bool(_TAG.fullmatch(cells[-1])) for cells in held)
    return len(held) > 2 and tagged > 0.95 * len(held)


def read_conll(path: Path) -> list[Sentence]:
    """Sentences from a file: the first column the word, the last one the tag.

    ``en:word`` of WikiANN is read as ``word`` where every word begins so; lines of ``-DOCSTART-``
    are left out.

    Parameters
    ----------
    path : Path
        The file, plain or gzipped.

    Returns
    -------
    list of Sentence
        In the order of the file.

    Raises
    ------
    ValueError
        For a line without columns, or a last column that is no tag.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("a.conll").write_text("Ada\\tB-person\\nwrote\\tO\\n\\nYes\\tO\\n")
    >>> [sentence.words for sentence in read_conll(Path("a.conll"))]
    [('Ada', 'wrote'), ('Yes',)]
    """
    found: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*read_lines(path), ""], 1):
        # Files put together of several keep the mark that each began with.
        cells = line.replace("\ufeff", "").split()
        if cells and cells[0] == "-DOCSTART-":
            continue
        if not cells:
            if words:
                found.append(Sentence(tuple(words), tuple(tags)))
                words, tags = [], []
            continue
        if len(cells) < 2 or not _TAG.fullmatch(cells[-1]):
            raise ValueError(
                f"{path}: line {number}: got {line!r}; it takes a word and a tag such as O or "
                "B-person"
            )
        words.append(cells[0])
        tags.append(cells[-1])
    if not found:
        raise ValueError(f"{path}: holds no sentences")
    if all(_LANGUAGE.match(word) for sentence in found for word in sentence.words):
        return [Sentence(tuple(_LANGUAGE.sub("", w) for w in s.words), s.tags) for s in found]
    return found


def spans(tags: tuple[str, ...]) -> set[tuple[int, int, str]]:
    """Entities as (first word, last word + 1, kind), as conlleval reads them.

    ``I-x`` after anything but ``B-x`` or ``I-x`` begins an entity too.

    >>> sorted(spans(("B-a", "I-a", "O", "I-b", "B-b")))
    [(0, 2, 'a'), (3, 4, 'b'), (4, 5, 'b')]
    """
    found = set()
    begin, kind = 0, ""
    for place, tag in enumerate((*tags, "O")):
        mark, _, name = tag.partition("-")
        if kind and (mark in "BSO" or name != kind):
            found.add((begin, place, kind))
            kind = ""
        if mark != "O" and not kind:
            begin, kind = place, name
    return found
