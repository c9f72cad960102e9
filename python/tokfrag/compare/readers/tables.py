"""Tables of text: comma or tab between columns, names in the first row, or ``label text`` lines."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from tokfrag.compare.files import read_data

_LABEL_FIRST = re.compile(r"(\d{1,3}|__label__\S+) \S")
#: Columns that hold what is told, and what it is told from, where nobody names them.
LABELS = ("label", "labels", "class", "category", "target", "y", "sentiment", "intent")
TEXTS = ("text", "sentence", "review", "content", "question", "document", "x")


@dataclass(frozen=True)
class Table:
    """Rows of text under names; ``names`` are ``1``, ``2``, ... where the file has none."""

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """One column.

        Raises
        ------
        ValueError
            Where there is none of that name; the message lists those there are.
        """
        if name not in self.names:
            raise ValueError(f"{self.path}: has no column {name!r}; it has {', '.join(self.names)}")
        place = self.names.index(name)
        return [row[place] for row in self.rows]

    def find(self, given: str | None, known: tuple[str, ...]) -> str | None:
        """The column that was named, or the first with a usual name; None where there is none."""
        if given is not None:
            self.column(given)
            return given
        lower = {name.lower(): name for name in self.names}
        return next((lower[name] for name in known if name in lower), None)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file: UTF-8, UTF-16 where it is marked, or else Latin-1."""
    raw = read_data(path)
    marked = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = raw.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        if marked:
            raise ValueError(f"{path}: is marked as UTF-16, but holds none") from None
        text = raw.decode("latin-1")
    text = text.replace("\r\n", "\n")
    # Lines may end in a carriage return alone; beside newlines it is part of a cell.
    return text.split("\n" if "\n" in text else "\r")


def is_labelled_lines(lines: list[str]) -> bool:
    """Whether each line is a label, a space, a text, as in the sentence sets of Kim (2014)."""
    held = [line for line in lines if line]
    if len(held) < 2 or not all(_LABEL_FIRST.match(line) for line in held):
        return False
    # Columns of numbers parted by blanks are no texts.
    return not all(is_number(word) for line in held for word in line.split()[1:])


def read_table(path: Path, header: str = "auto") -> Table:
    """A table from a file: tabs where the first line has one, else commas, else ``label text``.

    A first row without any cell that stands in its column again is taken for names, unless
    ``header`` says ``yes`` or ``no``.

    Parameters
    ----------
    path : Path
        The file, plain or gzipped.
    header : {"auto", "yes", "no"}
        Whether the first row holds names.

    Returns
    -------
    Table
        Its rows, all of one length.

    Raises
    ------
    ValueError
        Where rows differ in length, or there are none; where a quote is not closed, or a line has
        two labels.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("some.tsv").write_text("text\\tlabel\\nfine\\tgood\\nbad\\tpoor\\nugly\\tpoor\\n")
    >>> table = read_table(Path("some.tsv"))
    >>> table.names, table.column("label")
    (('text', 'label'), ['good', 'poor', 'poor'])
    """
    if header not in ("auto", "yes", "no"):
        raise ValueError(f"header: got {header!r}; it takes one of auto, yes, no")
    lines = read_lines(path)
    first = next((line for line in lines if line), "")
    if "\t" in first:
        found = [(i, line.split("\t")) for i, line in enumerate(lines, 1) if line]
    elif is_labelled_lines(lines):
        twice = next((i for i, line in enumerate(lines, 1) if " __label__" in line), None)
        if twice is not None:
            raise ValueError(f"{path}: line {twice}: has two labels; it takes one")
        rows = [line.split(" ", 1) for line in lines if line]
        return Table(path, ("label", "text"), rows)
    else:
        try:
            # Unless strict, a quote that is not closed swallows all rows below it.
            reader = csv.reader(StringIO("\n".join(lines)), strict=True)
            found = [(i, row) for i, row in enumerate(reader, 1) if row]
        except csv.Error as error:
            raise ValueError(f"{path}: line {reader.line_num}: is no table: {error}") from None
    if not found:
        raise ValueError(f"{path}: holds no rows")
    width = len(found[0][1])
    wrong = next(((i, row) for i, row in found if len(row) != width), None)
    if wrong is not None:
        raise ValueError(
            f"{path}: row {wrong[0]}: got {len(wrong[1])} columns, the first had {width}"
        )
    rows = [row for _, row in found]
    named = header == "yes" or (header == "auto" and _has_names(rows))
    names = tuple(rows[0]) if named else tuple(str(i + 1) for i in range(width))
    if len(set(names)) < width:
        raise ValueError(f"{path}: two columns have one name ({', '.join(names)})")
    return Table(path, names, rows[1:] if named else rows)


def _has_names(rows: list[list[str]]) -> bool:
    known = {*LABELS, *TEXTS, "smiles", "user", "item", "source", "answer"}
    first = [cell.strip().lower() for cell in rows[0]]
    if any(cell in known for cell in first):
        return True
    if len(set(first)) < len(first) or any(is_number(cell) or not cell for cell in first):
        return False
    # Words above a column of numbers are its name.
    return any(
        all(is_number(row[place]) for row in rows[1:]) for place in range(len(first)) if rows[1:]
    )


def is_number(text: str) -> bool:
    """Whether a cell is a finite number.

    >>> is_number("-4e2"), is_number("nan"), is_number("2020-01-01")
    (True, False, False)
    """
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
