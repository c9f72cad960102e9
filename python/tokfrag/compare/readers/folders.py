"""Folders of files by class: ``train/dog/1.png``, or ``dog/1.png`` where there is one part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_TEST = ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Foldered:
    """Files with the number of their class, those of an official test part apart."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    test_files: tuple[Path, ...] = ()
    test_labels: tuple[int, ...] = ()


def files_below(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files under a folder with one of these endings, in the order of their names."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file())


def read_folders(folder: Path, endings: tuple[str, ...]) -> Foldered:
    """The files of a folder, a folder a class; ``train`` and ``test`` above them are parts.

    Parameters
    ----------
    folder : Path
        The folder.
    endings : tuple of str
        Such as ``(".wav",)``.

    Returns
    -------
    Foldered
        Files and the numbers of their classes, which follow the order of the names.

    Raises
    ------
    ValueError
        Where there are fewer than two classes, or a class of the test part is unknown.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"data: takes a folder with a folder a class, got {folder}")
    train = folder / "train" if (folder / "train").is_dir() else folder
    test = next((folder / name for name in _TEST if (folder / name).is_dir()), None)
    if train is folder:
        test = None
    named = _by_class(train, endings)
    classes = tuple(sorted({name for _, name in named}))
    if len(classes) < 2:
        raise ValueError(
            f"{folder}: got {len(classes)} folders with files of {', '.join(endings)}; it takes "
            "a folder a class, two or more"
        )
    judged = [] if test is None else _by_class(test, endings)
    strange = next((name for _, name in judged if name not in classes), None)
    if strange is not None:
        raise ValueError(f"{test}: got the class {strange!r}, which {train} has not")
    return Foldered(
        classes,
        tuple(path for path, _ in named),
        tuple(classes.index(name) for _, name in named),
        tuple(path for path, _ in judged),
        tuple(classes.index(name) for _, name in judged),
    )


def _by_class(folder: Path, endings: tuple[str, ...]) -> list[tuple[Path, str]]:
    return [
        (path, path.relative_to(folder).parts[0])
        for path in files_below(folder, endings)
        if len(path.relative_to(folder).parts) > 1
    ]
