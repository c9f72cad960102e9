"""Pairs: write the second part from the first, as in translation and answering questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tokfrag.compare.contracts import Cut, Problem, Recipe, Samples, Split
from tokfrag.compare.readers.tables import read_table
from tokfrag.compare.tasks.arrays import hold_out

_SOURCES = ("source", "src", "question", "input", "english", "en")
_TARGETS = ("target", "tgt", "answer", "output", "translation")
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}


class PairsTask:
    """Dates in words to dates in numbers, made up, or the user's table of pairs.

    One causal network reads the first part and writes the second; only the second is judged, in
    bits per byte, and by how often all of it is right. ``data``: a TSV or CSV with two columns
    (``source`` and ``target`` name them); ``test`` and ``choose`` are files of the same form. A
    second part ends in a newline, which has to be told too. Pairs longer than `context` bytes are
    left out, and counted.
    """

    name = "pairs"

    def __init__(
        self,
        data: Path | None = None,
        *,
        source: str | None = None,
        target: str | None = None,
        test: str | None = None,
        choose: str | None = None,
        context: int = 256,
        pairs: int = 3000,
    ):
        self.context, self.dropped = context, 0
        if data is None:
            found, where = _dates(pairs), "dates in words"
        else:
            found, where = _read(Path(data), source, target), Path(data).name
        whole = self._samples(found)
        others = {
            what: self._samples(_read(Path(path), source, target))
            for what, path in (("test", test), ("choose", choose))
            if path is not None
        }
        parts = Split(whole, others["test"]) if "test" in others else hold_out(whole)
        self._split = Split(parts.train, parts.test, others.get("choose"))
        left_out = f", {self.dropped} longer than {context} bytes left out" if self.dropped else ""
        self.about = (
            f"{where}, {len(self._split.train)} pairs to learn from, {len(self._split.test)} to "
            f"be judged on{left_out}"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit thousands of short pairs."""
        return Recipe(batch=16, rate=4e-3, width=32)

    def split(self) -> Split:
        """The official parts, or every fifth pair held out."""
        return self._split

    def problem(self) -> Problem:
        """The second part from the first."""
        from tokfrag.compare.problems import PredictTarget

        return PredictTarget()

    def adapt(self, cut: Cut) -> Cut:
        """The cut, laid on both parts apart."""
        from tokfrag.compare.problems.pairs import CutInParts

        return CutInParts(cut)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """How frequent each byte of a second part is."""
        told = [
            b"".join(text.partition(b"\t")[2] for text in p.x) for p in (split.train, split.test)
        ]
        counts = np.bincount(np.frombuffer(told[0], np.uint8), minlength=256) + 1
        bits = -np.log2(counts / counts.sum())
        return {"byte frequencies": float(bits[np.frombuffer(told[1], np.uint8)].mean())}

    def default_cuts(self) -> Sequence[str]:
        """Bytes, byte pairs, windows of bytes."""
        return ("bytes", "bpe:300", "bpe:512", "window:4/2")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "40 GFLOP"

    def _samples(self, pairs: list[tuple[str, str]]) -> Samples:
        # A tab parts the two, so a first part holds none of its own.
        lines = [f"{source.replace(chr(9), ' ')}\t{target}\n" for source, target in pairs]
        texts = [line.replace("\r", " ").encode() for line in lines]
        kept = [text for text in texts if len(text) <= self.context]
        self.dropped += len(texts) - len(kept)
        if len(kept) < 5:
            raise ValueError(
                f"data: got {len(kept)} pairs of at most {self.context} bytes; --set context=N "
                "takes longer ones"
            )
        return Samples(kept, longest=self.context)


def _read(path: Path, source: str | None, target: str | None) -> list[tuple[str, str]]:
    table = read_table(path)
    first, second = table.find(source, _SOURCES), table.find(target, _TARGETS)
    if len(table.names) == 2:
        if first is None and second is None:
            first, second = table.names
        elif first is None or second is None:
            known = first if second is None else second
            other = next(name for name in table.names if name != known)
            first, second = (first, other) if second is None else (other, second)
    if first is None or second is None or first == second:
        missing = "source" if first is None else "target"
        raise ValueError(
            f"{path}: which column is the {missing}? Say --set {missing}=NAME, one of "
            f"{', '.join(table.names)}"
        )
    return list(zip(table.column(first), table.column(second), strict=True))


def _dates(count: int) -> list[tuple[str, str]]:
    """Dates in words, each once, and as ISO 8601 writes them."""
    if not 20 <= count <= 30000:
        raise ValueError(f"pairs: got {count}; it takes 20 to 30000")
    rng = np.random.default_rng(0)
    found: dict[str, str] = {}
    while len(found) < count:
        year, month, day = (
            int(rng.integers(1900, 2030)),
            int(rng.integers(12)),
            int(rng.integers(28)),
        )
        name, nth = _MONTHS[month], f"{day + 1}{_DAYS.get(day + 1, 'th')}"
        form = ("the {n} of {m} {y}", "{m} {d}, {y}", "{d} {m} {y}")[int(rng.integers(3))]
        text = form.format(n=nth, m=name, y=year, d=day + 1)
        found[text] = f"{year}-{month + 1:02d}-{day + 1:02d}"
    return list(found.items())
