"""Which shipped task a file or a folder stands for, told from what is in it."""

from __future__ import annotations

from pathlib import Path

from tokfrag.compare.files import npz_shapes
from tokfrag.compare.readers.conll import is_conll
from tokfrag.compare.readers.folders import files_below
from tokfrag.compare.readers.pictures import ENDINGS as PICTURES
from tokfrag.compare.readers.smiles import read_smiles
from tokfrag.compare.readers.tables import (
    LABELS,
    Table,
    is_labelled_lines,
    is_number,
    read_lines,
    read_table,
)

_TEXT = (".txt", ".md", ".rst", ".py", ".c", ".tex", ".html")
_TABLES = (".csv", ".tsv", ".smi")
_READ_AT_MOST = 400


def guess_task(path: Path) -> str:
    """The shipped task that a file or a folder stands for.

    A folder of WAV files: ``sounds``; of pictures: ``pictures``. An npz by the names of its arrays.
    Words with tags: ``tags``; lines of ``label text``, or a table with a column of labels:
    ``labels``; with one of users and one of items: ``items``; with SMILES: ``molecules``; two
    columns of text: ``pairs``; nothing but numbers: ``series``. Any other text: ``text``.

    Raises
    ------
    ValueError
        Where nothing tells it; the message says how to name one.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("a.csv").write_text("hour,load\\n1,2.5\\n2,2.75\\n3,2.5\\n")
    >>> guess_task(Path("a.csv"))
    'series'
    """
    if path.is_dir():
        if files_below(path, (".wav",)):
            return "sounds"
        if files_below(path, PICTURES):
            return "pictures"
        raise _untold(path, "no WAV files and no pictures in it")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(("-ubyte", ".idx")):
        return "digits"
    if name.endswith(".npz"):
        return _npz(path)
    lines = read_lines(path)[:_READ_AT_MOST]
    if is_conll(lines):
        return "tags"
    if is_labelled_lines(lines[:-1] if len(lines) == _READ_AT_MOST else lines):
        return "labels"
    first = next((line for line in lines if line), "")
    if name.endswith(_TABLES) or (not name.endswith(_TEXT) and "\t" in first):
        return _table(path)
    if name.endswith(_TEXT):
        return "text"
    raise _untold(path, "the ending is of no known form")


def _untold(path: Path, why: str) -> ValueError:
    return ValueError(
        f"task: cannot tell one from {path.name!r} ({why}); name it: tokfrag compare TASK --data "
        f"{path.name}"
    )


def _npz(path: Path) -> str:
    shapes = npz_shapes(path)
    if {"image", "label"} <= set(shapes):
        return "volume"
    pictures = shapes.get("images", shapes.get("x"))
    labels = shapes.get("labels", shapes.get("y"))
    if pictures is not None and labels is not None:
        return "digits" if len(pictures) == 3 and len(labels) == 1 else "arrays"
    held_names = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise ValueError(
        f"task: {path.name} holds {held_names}; say which are what: tokfrag compare arrays "
        f"--data {path.name} --set x=NAME y=NAME (lengths=NAME for "
        "recordings one after the other, groups=NAME for whom they are from)"
    )


def _table(path: Path) -> str:
    try:
        table = read_table(path)
    except ValueError:
        # What is no table of text may still be one of numbers, whose reader says what is wrong.
        return "series"
    rows = table.rows[:_READ_AT_MOST]
    columns = {n: [row[i] for row in rows] for i, n in enumerate(table.names)}
    lower = {name.lower() for name in table.names}
    numbers = {name: all(map(is_number, cells)) for name, cells in columns.items()}
    if lower & {"user", "user_id", "userid", "session_id"} and lower & {
        "item",
        "item_id",
        "itemid",
        "movie_id",
        "movieid",
        "product",
    }:
        return "items"
    if "smiles" in lower or any(_is_smiles(columns[n]) for n in table.names if not numbers[n]):
        return "molecules"
    # The first column may hold dates; numbers over time are parted by commas.
    dated = numbers[table.names[0]] or "\t" not in next(filter(None, read_lines(path)))
    if (
        dated
        and all(numbers[name] for name in table.names[1:])
        and (len(table.names) > 1 or numbers[table.names[0]])
        and not _is_labelled(table, columns)
    ):
        return "series"
    if _is_labelled(table, columns):
        return "labels"
    if len(table.names) == 2:
        return "pairs"
    raise ValueError(
        f"task: {path.name} has the columns {', '.join(table.names)}; name a task: tokfrag compare "
        f"labels --data {path.name} --set text=NAME label=NAME, or pairs with source=NAME "
        "target=NAME"
    )


def _is_labelled(table: Table, columns: dict[str, list[str]]) -> bool:
    texts = [n for n, cells in columns.items() if _is_prose(cells)]
    others = [n for n in table.names if n not in texts]
    if len(texts) != 1:
        return False
    named = [name for name in others if name.lower() in LABELS]
    return bool(named) or (len(others) == 1 and _comes_again(columns[others[0]]))


def _is_prose(cells: list[str]) -> bool:
    return sum(len(cell.split()) > 1 for cell in cells) > len(cells) / 2


def _comes_again(cells: list[str]) -> bool:
    return len(set(cells)) <= max(2, len(cells) // 4)


def _is_smiles(cells: list[str]) -> bool:
    shown = cells[:50]
    try:
        return (
            bool(shown)
            and all(" " not in c and read_smiles(c).atoms for c in shown)
            and any(set(c) & set("()=#[]123456") for c in shown)
        )
    except ValueError:
        return False
