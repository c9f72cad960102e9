"""Molecules written as SMILES: their tokens, and the graph of atoms and bonds."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: One token: an atom in brackets, a two-letter element, a ring number of two digits, a character.
TOKEN = re.compile(r"\[[^\]]*\]|Br|Cl|%\d\d|.", re.DOTALL)
_BRACKET = re.compile(r"\[(\d*)([A-Za-z][a-z]?|\*)(@*)(H\d*)?([+-]+\d*|[+-]\d+)?(?::\d+)?\]")
_BONDS = {"-": 1, "=": 2, "#": 3, "$": 4, ":": 5, "/": 1, "\\": 1}
_PLAIN = {"B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "p", "s", "*"}
_AROMATIC = 5


@dataclass(frozen=True)
class Molecule:
    """Its atoms as they are written, and bonds ``(atom, atom, order)``; order 5 is aromatic."""

    atoms: tuple[str, ...]
    bonds: tuple[tuple[int, int, int], ...]


def read_smiles(text: str) -> Molecule:
    """The graph that a SMILES string writes down (Weininger, 1988; without stereochemistry).

    Parameters
    ----------
    text : str
        The molecule.

    Returns
    -------
    Molecule
        Its graph.

    Raises
    ------
    ValueError
        Where a token is none, a branch or a ring is not closed, a ring's two ends disagree, or a
        bond leads nowhere.

    Examples
    --------
    >>> read_smiles("C1CC1=O").bonds
    ((0, 1, 1), (1, 2, 1), (0, 2, 1), (2, 3, 2))
    """
    atoms: list[str] = []
    bonds: list[tuple[int, int, int]] = []
    rings: dict[int, tuple[int, int | None]] = {}
    branches: list[int | None] = []
    last: int | None = None
    order: int | None = None
    for token in TOKEN.findall(text):
        if order is not None and (token in _BONDS or token in "()."):
            raise ValueError(f"smiles: {text!r} has a bond that leads nowhere")
        if token in _PLAIN or (token.startswith("[") and _BRACKET.fullmatch(token)):
            if order is not None and last is None:
                raise ValueError(f"smiles: {text!r} has a bond before any atom")
            atoms.append(_symbol(token))
            here = len(atoms) - 1
            if last is not None:
                bonds.append((last, here, _order(order, atoms[last], atoms[here])))
            last, order = here, None
        elif token in _BONDS:
            order = _BONDS[token]
        elif token == "(":
            if last is None:
                raise ValueError(f"smiles: {text!r} opens a branch before any atom")
            branches.append(last)
        elif token == ")":
            if not branches:
                raise ValueError(f"smiles: {text!r} closes a branch that was not opened")
            last = branches.pop()
        elif token == ".":
            last, order = None, None
        elif token in "0123456789" or (token[0] == "%" and len(token) > 1):
            if last is None:
                raise ValueError(f"smiles: {text!r} has a ring number before any atom")
            number = int(token.lstrip("%"))
            if number in rings:
                first, given = rings.pop(number)
                if first == last or (order and given and order != given):
                    what = "to its own atom" if first == last else "with two kinds of bond"
                    raise ValueError(f"smiles: {text!r} closes ring {number} {what}")
                kind = order if order is not None else given
                bonds.append((first, last, _order(kind, atoms[first], atoms[last])))
            else:
                rings[number] = (last, order)
            order = None
        else:
            raise ValueError(f"smiles: {text!r} has {token!r}, which is no atom, bond or ring")
    if order is not None:
        raise ValueError(f"smiles: {text!r} has a bond that leads nowhere")
    if rings or branches or not atoms:
        what = "no atom" if not atoms else "a ring" if rings else "a branch"
        raise ValueError(f"smiles: {text!r} has {what}{'' if not atoms else ' that is not closed'}")
    return Molecule(tuple(atoms), tuple(bonds))


def _symbol(token: str) -> str:
    """The element with its charge; in lower case where it is aromatic."""
    match = _BRACKET.fullmatch(token)
    return token if match is None else match[2] + (match[5] or "")


def _order(given: int | None, one: str, other: str) -> int:
    if given is not None:
        return given
    return _AROMATIC if one[0].islower() and other[0].islower() else 1


def environments(molecule: Molecule, radius: int) -> list[list[str]]:
    """What stands around each atom up to ``radius`` bonds away, one text for each radius.

    The text does not depend on the order in which the molecule was written down; this is what
    extended-connectivity fingerprints number (Rogers and Hahn, 2010).

    Examples
    --------
    >>> environments(read_smiles("CO"), 1)
    [['C', 'C(1O)'], ['O', 'O(1C)']]
    """
    neighbours: list[list[tuple[int, int]]] = [[] for _ in molecule.atoms]
    for one, other, order in molecule.bonds:
        neighbours[one].append((order, other))
        neighbours[other].append((order, one))
    found = [[atom] for atom in molecule.atoms]
    for _ in range(radius):
        before = [texts[-1] for texts in found]
        for texts, around in zip(found, neighbours, strict=True):
            inner = ",".join(sorted(f"{order}{before[other]}" for order, other in around))
            texts.append(f"{texts[-1]}({inner})")
    return found
