"""Molecules: tell a property from SMILES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.readers.smiles import read_smiles
from tokfrag.compare.readers.tables import is_number, read_table
from tokfrag.compare.tasks.arrays import hold_out, majority

_SMILES = ("smiles", "smile", "structure", "mol", "canonical_smiles")
# A made-up molecule: a chain of these, with these hanging from it.
_LINKS = ("C", "C", "C", "O", "N", "C(=O)", "c1ccc(cc1)", "C1CCC(CC1)", "C=C", "S")
_ENDS = ("C", "O", "N", "F", "Cl", "C#N", "C(=O)O", "c1ccccc1", "Br")
# What each adds to the made-up property, by its atom and what it is bound to.
_WEIGHTS = {"C": 0.3, "c": 0.35, "N": -0.8, "n": -0.5, "O": -0.7, "S": 0.1, "F": 0.2, "Cl": 0.6}


class MoleculesTask:
    """Made-up molecules with an additive property, or the user's table.

    Made up: chains of rings, carbonyls and hetero-atoms; the property adds up over atoms, and over
    double bonds to oxygen, with some noise, as partition coefficients nearly do. ``data``: a CSV
    or TSV with a column of SMILES and one to be told (``smiles`` and ``label`` name them): numbers
    are told by value, in their own units, names and whole numbers of few kinds as classes.
    """

    name = "molecules"

    def __init__(
        self,
        data: Path | None = None,
        *,
        smiles: str | None = None,
        label: str | None = None,
        test: str | None = None,
        molecules: int = 1500,
    ):
        if data is None:
            texts, told, source = *_made_up(molecules), "made-up molecules"
        else:
            texts, told = _read(Path(data), smiles, label)
            source = Path(data).name
        self.classes: tuple[str, ...] = ()
        kinds = sorted(set(told))
        if not all(map(is_number, told)) or (len(kinds) <= 20 and all(k.isdigit() for k in kinds)):
            self.classes = tuple(kinds)
        whole = Samples([t.encode() for t in texts], self._values(told, source))
        if test is None:
            self._split = hold_out(whole)
        else:
            judged, its = _read(Path(test), smiles, label)
            self._split = Split(
                whole, Samples([t.encode() for t in judged], self._values(its, test))
            )
        self.about = (
            f"{source}, {len(self._split.train)} molecules to learn from, "
            f"{len(self._split.test)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit a thousand short strings."""
        return Recipe(batch=16, rate=4e-3, width=32)

    def split(self) -> Split:
        """The official test part, or every fifth molecule."""
        return self._split

    def problem(self) -> Problem:
        """A number, in its own units, or a class."""
        from tokfrag.compare.problems import Classify, Forecast

        if self.classes:
            return Classify(len(self.classes))
        y = self._split.train.y
        return Forecast(1, measure="MAE", centre=float(y.mean()), scale=float(y.std()) or 1.0)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """The most frequent class, or the median."""
        if self.classes:
            return {"majority class": majority(split.train.y, split.test.y)}
        middle = np.median(split.train.y)
        return {"training median": float(np.abs(split.test.y - middle).mean())}

    def default_cuts(self) -> Sequence[str]:
        """Bytes, tokens, byte pairs; atoms with their surroundings."""
        return ("bytes", "smiles", "bpe:300", "atoms:0", "atoms:1", "atoms:2")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "20 GFLOP"

    def _values(
        self, told: Sequence[str], source: object
    ) -> NDArray[np.float32] | NDArray[np.int64]:
        if not self.classes:
            most = float(np.finfo(np.float32).max)
            wrong = next((t for t in told if not is_number(t) or abs(float(t)) > most), None)
            if wrong is not None:
                raise ValueError(f"{source}: got {wrong!r} where numbers are told")
            return np.array([float(t) for t in told], np.float32)[:, None]
        strange = next((t for t in told if t not in self.classes), None)
        if strange is not None:
            raise ValueError(f"{source}: got the label {strange!r}, not among those to learn from")
        return np.array([self.classes.index(t) for t in told], np.int64)


def _read(path: Path, smiles: str | None, label: str | None) -> tuple[list[str], list[str]]:
    table = read_table(path)
    shown = table.find(smiles, _SMILES)
    told = table.find(label, ())
    if told is None and shown is not None and len(table.names) == 2:
        told = next(name for name in table.names if name != shown)
    if shown is None or told is None:
        missing = "smiles" if shown is None else "label"
        raise ValueError(
            f"{path}: which column holds the {missing}? Say --set {missing}=NAME, one of "
            f"{', '.join(table.names)}"
        )
    texts = table.column(shown)
    for number, text in enumerate(texts, 1):
        try:
            read_smiles(text)
        except ValueError as error:
            raise ValueError(f"{path}: row {number}: {error}") from None
    return texts, table.column(told)


def _made_up(count: int) -> tuple[list[str], list[str]]:
    if count < 50:
        raise ValueError(f"molecules: got {count}; it takes 50 or more")
    rng = np.random.default_rng(0)
    found: dict[str, str] = {}
    while len(found) < count:
        links = [str(rng.choice(_LINKS)) for _ in range(rng.integers(2, 7))]
        text = str(rng.choice(_ENDS[:2])) + "".join(links) + str(rng.choice(_ENDS))
        molecule = read_smiles(text)
        value = sum(_WEIGHTS.get(atom, 0.0) for atom in molecule.atoms)
        value -= 0.9 * sum(
            order == 2 and "O" in (molecule.atoms[a], molecule.atoms[b])
            for a, b, order in molecule.bonds
        )
        found.setdefault(text, f"{value + rng.normal(0, 0.1):.3f}")
    return list(found), list(found.values())
