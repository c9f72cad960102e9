"""Cuts to try, from a fingerprint; and the plan file that holds them, to be read and edited."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from tokfrag._files import write_new
from tokfrag.compare.contracts import Task
from tokfrag.compare.parts import in_parts
from tokfrag.compare.planner.fingerprint import Fingerprint, fingerprint

FORMAT = "tokfrag plan 1"
#: A vocabulary in which each token is seen fewer times than this, on average, is not learnt.
_SEEN = 20
_AT_MOST = 8
_MOST_PIECES = 1024
_FRAGMENTS = ("pixels", "values", "patch", "whole", "quad")
_SIZES = re.compile(r"patch:(\d+(?:x\d+)*)")
_TEXTS = ("bytes", "chars", "bpe", "window", "words")


@dataclass(frozen=True)
class Proposal:
    """A cut to be tried, and why."""

    cut: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What a comparison would do: the data, the cuts, the budget.

    Parameters
    ----------
    task, data, settings
        As the command line names them.
    budget, seeds
        Of one training, and how many trainings a cut gets.
    cuts
        What to try, each with its reason.
    found
        The fingerprint that they come from; for readers, it is not used again.

    Examples
    --------
    >>> plan = Plan("digits", None, {}, "44 GFLOP", 3, (Proposal("patch:4", "half of a stroke"),))
    >>> plan.write("plan.json")
    >>> Plan.read("plan.json").cuts[0].cut
    'patch:4'
    """

    task: str
    data: str | None
    settings: dict[str, str]
    budget: str
    seeds: int
    cuts: tuple[Proposal, ...]
    found: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Plan:
        """A plan from its file, edited or not.

        Raises
        ------
        ValueError
            Where the file is no plan, or an entry cannot be; the message names it.
        """
        try:
            held = json.loads(Path(path).read_text("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: byte {error.start}: not UTF-8") from None
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
            ) from None
        if not isinstance(held, dict) or held.get("format") != FORMAT:
            raise ValueError(f"{path}: is no plan ({FORMAT!r})")
        settings = _entry(path, held, "settings", dict)
        plan = cls(
            _entry(path, held, "task", str),
            None if held.get("data") is None else _entry(path, held, "data", str),
            {name: _setting(path, name, value) for name, value in settings.items()},
            _entry(path, held, "budget", str),
            _entry(path, held, "seeds", int),
            tuple(_proposal(path, one) for one in _entry(path, held, "cuts", list)),
            held.get("fingerprint", {}),
        )
        if not plan.cuts:
            raise ValueError(f"{path}: cuts: got none; give one or more")
        if plan.seeds < 1:
            raise ValueError(f"{path}: seeds: got {plan.seeds}; it takes 1 or more")
        return plan

    def write(self, path: str | PathLike[str], *, force: bool = False) -> None:
        """Write the plan; an existing file is only replaced when forced."""
        held = {
            "format": FORMAT,
            "task": self.task,
            "data": self.data,
            "settings": self.settings,
            "budget": self.budget,
            "seeds": self.seeds,
            "cuts": [{"cut": one.cut, "why": one.why} for one in self.cuts],
            "fingerprint": self.found,
        }
        write_new(path, (json.dumps(held, indent=2) + "\n").encode(), force=force)


def is_plan(path: Path) -> bool:
    """Whether a file says that it is a plan."""
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(256)


def propose(task: Task) -> tuple[Fingerprint, tuple[Proposal, ...]]:
    """Look at the part to learn from, and propose cuts for it; nothing is trained.

    Parameters
    ----------
    task
        Shipped or one's own.

    Returns
    -------
    tuple
        The fingerprint, and five to eight cuts with reasons; the task's own where its data are of
        a kind that the fingerprint says nothing of.

    Examples
    --------
    >>> from tokfrag.compare.tasks import as_task
    >>> found, cuts = propose(as_task("digits"))
    >>> found.shape, [one.cut for one in cuts][:2]
    ((8, 8), ['patch:1', 'patch:2'])
    """
    found = fingerprint(in_parts(task.split()).learn)
    defaults = tuple(task.default_cuts())
    kinds = {cut.partition(":")[0].partition("+")[0].partition("@")[0] for cut in defaults}
    if found.kind == "values" and kinds <= set(_FRAGMENTS):
        return found, _fragments(found, _extents(found, defaults))
    if found.kind == "text" and kinds <= set(_TEXTS):
        return found, _tokens(found)
    return found, tuple(Proposal(cut, "the task's own") for cut in defaults)


def _tokens(found: Fingerprint) -> tuple[Proposal, ...]:
    proposals = [Proposal("bytes", "no vocabulary at all, the yardstick")]
    learnt = [
        (size, each)
        for size, each in found.bytes_per_token
        if size >= 512 and found.units / each / size >= _SEEN
    ]
    # Where there are many sizes, every other one: neighbours differ by little.
    for size, each in learnt if len(learnt) <= 4 else learnt[::-2][::-1]:
        seen = found.units / each / size
        proposals.append(
            Proposal(f"bpe:{size}", f"{each:.2f} bytes a token, each seen {seen:.0f} times")
        )
    coarse = max((each for _, each in learnt), default=4.0)
    for width in sorted({4, 8 if coarse > 4 else 2}):
        proposals.append(Proposal(f"window:{width}", f"{width} bytes, whatever they are"))
    proposals.append(Proposal("window:8/4", "8 bytes, half of them seen before"))
    return tuple(proposals[:_AT_MOST])


def _extents(found: Fingerprint, defaults: tuple[str, ...]) -> tuple[int, ...]:
    """How wide a fragment may be: 1 along an axis on which none of the task's own is wider.

    Neighbours on such an axis, as sensors of a network, have nothing to do with each other.
    """
    sizes = [match[1].split("x") for cut in defaults if (match := _SIZES.match(cut))]
    if len(sizes) < len(defaults) or {len(size) for size in sizes} != {len(found.shape)}:
        return found.shape
    return tuple(
        1 if all(size[axis] == "1" for size in sizes) else extent
        for axis, extent in enumerate(found.shape)
    )


def _fragments(found: Fingerprint, extents: tuple[int, ...]) -> tuple[Proposal, ...]:
    """A geometric grid around the distance at which values are half alike, axis by axis."""
    size = tuple(
        _fitting(far / 2, extent) for far, extent in zip(found.correlation, extents, strict=True)
    )
    plain: list[tuple[tuple[int, ...], str]] = []
    while len(plain) < _AT_MOST - 2 and size != extents:
        count = math.prod(e // edge for edge, e in zip(size, found.shape, strict=True))
        if count <= _MOST_PIECES:
            far = size[-1] / max(found.correlation[-1], 1e-9)
            plain.append((size, f"{count} pieces, {far:.2g} times as wide as values are alike"))
        size = tuple(_wider(edge, extent) for edge, extent in zip(size, extents, strict=True))
    proposals = [Proposal(f"patch:{_text(size)}", why) for size, why in plain]
    if plain:
        middle = plain[len(plain) // 2][0]
        half = tuple(max(1, edge // 2) for edge in middle)
        if half != middle:
            name = f"patch:{_text(middle)}/{_text(half)}"
            proposals.append(Proposal(name, "the middle one, overlapping by half"))
    if extents != found.shape:
        widest = Proposal(f"patch:{_text(extents)}", "as wide as one may be, the other end")
        return (*proposals[-_AT_MOST + 1 :], widest)
    if len(found.shape) > 2 and len(set(found.shape)) > 1:
        frame = ("1", *map(str, found.shape[1:]))
        proposals.append(Proposal(f"patch:{'x'.join(frame)}", "one step of the first axis, whole"))
    return (*proposals[-_AT_MOST + 1 :], Proposal("whole", "one piece, the other end"))


def _divisors(extent: int) -> list[int]:
    return [n for n in range(1, extent + 1) if extent % n == 0]


def _fitting(wanted: float, extent: int) -> int:
    """The divisor of an extent nearest to a size, by ratio: then nothing is left over."""
    return min(_divisors(extent), key=lambda n: abs(math.log(n / max(wanted, 1.0))))


def _wider(edge: int, extent: int) -> int:
    """The next divisor of an extent, about twice an edge."""
    larger = [n for n in _divisors(extent) if n > edge]
    return min(larger, key=lambda n: abs(math.log(n / (2 * edge))), default=edge)


def _text(size: tuple[int, ...]) -> str:
    return str(size[0]) if len(set(size)) == 1 else "x".join(map(str, size))


def _entry(path: str | PathLike[str], held: dict[str, Any], name: str, kind: type) -> Any:
    value = held.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{path}: {name}: got {value!r}; it takes a {kind.__name__}")
    return value


def _setting(path: str | PathLike[str], name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{path}: settings: {name}: got {value!r}; it takes a text or a number")
    return str(value)


def _proposal(path: str | PathLike[str], held: Any) -> Proposal:
    if isinstance(held, str):
        return Proposal(held, "")
    if isinstance(held, dict) and isinstance(held.get("cut"), str):
        return Proposal(held["cut"], str(held.get("why", "")))
    raise ValueError(f"{path}: cuts: got {held!r}; it takes names, or objects with a cut")
