"""Labels: tell the class of a text, from a table or from lines of ``label text``."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.readers.tables import LABELS, TEXTS, Table, read_table
from tokfrag.compare.tasks.arrays import hold_out, majority
from tokfrag.compare.text import chunks

_PACKAGES = ("asyncio", "email", "tkinter", "unittest")


class LabelsTask:
    """Docstrings of four packages of the standard library, or the user's texts with labels.

    ``data``: a CSV or TSV with a column of texts and one of labels (``text`` and ``label`` name
    them), or lines of a label, a space, a text. ``test`` and ``choose`` are files of the same
    form; else every fifth text is held out, in an order drawn once. Of a text the first `context`
    bytes are read.
    """

    name = "labels"

    def __init__(
        self,
        data: Path | None = None,
        *,
        text: str | None = None,
        label: str | None = None,
        test: str | None = None,
        choose: str | None = None,
        context: int = 256,
        header: str = "auto",
    ):
        self.context = context
        if context < 8:
            raise ValueError(f"context: got {context} bytes; it takes 8 or more")
        if data is None:
            found, source = _docstrings(), f"docstrings of {', '.join(_PACKAGES)}"
        else:
            found, source = _read(Path(data), text, label, header), Path(data).name
        self.classes = tuple(sorted({name for _, name in found}))
        if len(self.classes) < 2:
            raise ValueError(f"{source}: got {len(self.classes)} labels; it takes two or more")
        whole = self._samples(found, source)
        others = {
            what: self._samples(_read(Path(path), text, label, header), path)
            for what, path in (("test", test), ("choose", choose))
            if path is not None
        }
        if "test" in others:
            self._split = Split(whole, others["test"], others.get("choose"))
        else:
            parts = hold_out(whole)
            self._split = Split(parts.train, parts.test, others.get("choose"))
        self.about = (
            f"{source}, {len(self.classes)} classes, {len(self._split.train)} texts to learn from, "
            f"{len(self._split.test)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit some thousands of short texts."""
        return Recipe(batch=16, rate=4e-3, width=32)

    def split(self) -> Split:
        """The official parts, or every fifth text held out."""
        return self._split

    def problem(self) -> Problem:
        """One of the classes."""
        from tokfrag.compare.problems import Classify

        return Classify(len(self.classes))

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Always the most frequent label."""
        return {"majority class": majority(split.train.y, split.test.y)}

    def default_cuts(self) -> Sequence[str]:
        """Windows of bytes; byte pairs, with and without their order, with their neighbours."""
        return ("window:8", "bpe:1024", "bpe:2048", "bpe:2048@mean", "bpe:2048+pairs@mean")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "45 GFLOP"

    def _samples(self, found: list[tuple[str, str]], source: str) -> Samples:
        strange = next((name for _, name in found if name not in self.classes), None)
        if strange is not None:
            raise ValueError(f"{source}: got the label {strange!r}, not among those to learn from")
        texts = [(chunks(text.encode(), self.context) or [b""])[0] for text, _ in found]
        numbers = {name: i for i, name in enumerate(self.classes)}
        y = np.array([numbers[name] for _, name in found], np.int64)
        return Samples(texts, y, longest=self.context)


def _read(path: Path, text: str | None, label: str | None, header: str) -> list[tuple[str, str]]:
    table = read_table(path, header)
    told = table.find(label, LABELS)
    if told is None and len(table.names) == 2:
        told = _fewest(table)
    shown = table.find(text, TEXTS)
    if shown is None and len(table.names) == 2 and told is not None:
        shown = next(name for name in table.names if name != told)
    if told is None or shown is None or told == shown:
        missing = "label" if told is None else "text"
        raise ValueError(
            f"{path}: which column is the {missing}? Say --set {missing}=NAME, one of "
            f"{', '.join(table.names)}"
        )
    return list(zip(table.column(shown), table.column(told), strict=True))


def _fewest(table: Table) -> str:
    """Of two columns that with fewer different cells: labels come again."""
    return min(table.names, key=lambda name: len(set(table.column(name))))


def _docstrings() -> list[tuple[str, str]]:
    """Docstrings of functions and classes, and the package each is from; no text twice."""
    library = Path(sysconfig.get_path("stdlib"))
    found: dict[str, str] = {}
    for package in _PACKAGES:
        for path in sorted((library / package).rglob("*.py")):
            if "test" in path.parts[len(library.parts) + 1 :]:
                continue
            tree = ast.parse(path.read_text("utf-8", "replace"))
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    text = ast.get_docstring(node)
                    if text and len(text) > 24:
                        found.setdefault(text, package)
    return list(found.items())
