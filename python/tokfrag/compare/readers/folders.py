"""Folders of files by class: ``train/dog/1.png``, or ``dog/1.png`` where there is one part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PARTS = ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Foldered:
    """Files with the number of their class, those of official parts apart."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    test_files: tuple[Path, ...] = ()
    test_labels: tuple[int, ...] = ()
    choose_files: tuple[Path, ...] = ()
    choose_labels: tuple[int, ...] = ()

    @property
    def every(self) -> list[Path]:
        """The files of all parts: to learn from, to be judged on, to choose on."""
        return [*self.files, *self.test_files, *self.choose_files]


def files_below(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files under a folder with one of these endings, in the order of their names."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file())


def read_folders(folder: Path, endings: tuple[str, ...]) -> Foldered:
    """The files of a folder, a folder a class; ``train`` and ``test`` above them are parts.

    A third part (``val``, ``valid``, ``validation``) is to choose on; it is the test part where
    there is no other.

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
        Where there are fewer than two classes, or another part is empty or has another
        class.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"data: takes a folder with a folder a class, got {folder}")
    train = folder / "train" if (folder / "train").is_dir() else folder
    apart = [folder / name for name in _PARTS if train != folder and (folder / name).is_dir()]
    if len(apart) > 2:
        raise ValueError(f"{folder}: got the parts {', '.join(p.name for p in apart)}; takes two")
    named = _by_class(train, endings)
    classes = tuple(sorted({name for _, name in named}))
    if len(classes) < 2:
        raise ValueError(
            f"{folder}: got {len(classes)} folders with files of {', '.join(endings)}; it takes "
            "a folder a class, two or more"
        )
    judged, chosen = (_known(part, endings, classes, train) for part in [*apart, None, None][:2])
    return Foldered(
        classes,
        tuple(path for path, _ in named),
        tuple(classes.index(name) for _, name in named),
        *judged,
        *chosen,
    )


def _known(
    part: Path | None, endings: tuple[str, ...], classes: tuple[str, ...], train: Path
) -> tuple[tuple[Path, ...], tuple[int, ...]]:
    """The files of an official part and their labels, all of classes that are learnt."""
    if part is None:
        return (), ()
    named = _by_class(part, endings)
    if not named:
        raise ValueError(f"{part}: has no folders with files of {', '.join(endings)}")
    strange = next((name for _, name in named if name not in classes), None)
    if strange is not None:
        raise ValueError(f"{part}: got the class {strange!r}, which {train} has not")
    return tuple(path for path, _ in named), tuple(classes.index(name) for _, name in named)


def _by_class(folder: Path, endings: tuple[str, ...]) -> list[tuple[Path, str]]:
    return [
        (path, path.relative_to(folder).parts[0])
        for path in files_below(folder, endings)
        if len(path.relative_to(folder).parts) > 1
    ]
