"""What one training may spend: seconds, floating-point operations or steps."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

#: A training of fewer steps than this tells rows and rates apart by luck.
FEWEST_STEPS = 12

_UNITS = {
    "": ("seconds", 1.0),
    "s": ("seconds", 1.0),
    "sec": ("seconds", 1.0),
    "seconds": ("seconds", 1.0),
    "ms": ("seconds", 1e-3),
    "m": ("seconds", 60.0),
    "min": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
    "flop": ("flops", 1.0),
    "flops": ("flops", 1.0),
    "mflop": ("flops", 1e6),
    "mflops": ("flops", 1e6),
    "gflop": ("flops", 1e9),
    "gflops": ("flops", 1e9),
    "tflop": ("flops", 1e12),
    "tflops": ("flops", 1e12),
    "step": ("steps", 1.0),
    "steps": ("steps", 1.0),
}
_FORM = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True)
class Budget:
    """What each cut may spend on each seed; the same for all.

    A budget in ``"flops"`` or ``"steps"`` makes a comparison repeatable to the last digit; one in
    ``"seconds"`` answers the question as it is asked, and depends on the machine.

    >>> Budget.of("1.5m")
    Budget(kind='seconds', amount=90.0)
    >>> Budget.of("2 TFLOP")
    Budget(kind='flops', amount=2000000000000.0)
    """

    kind: str
    amount: float

    @classmethod
    def of(cls, value: Budget | float | str) -> Budget:
        """Read ``"60s"``, ``"2m"``, ``"500 GFLOP"``, ``"200 steps"``, or a number of seconds.

        Parameters
        ----------
        value
            A number of seconds, a number with its unit, or a budget, which is given back.

        Returns
        -------
        Budget
            Its kind and amount: seconds, operations or steps.

        Raises
        ------
        ValueError
            For a unit that is none of these, and amounts that are not above zero and finite.
        """
        if isinstance(value, Budget):
            return value
        match = _FORM.fullmatch(value if isinstance(value, str) else repr(value))
        if match is None or match[2].lower() not in _UNITS:
            raise ValueError(
                f"budget: got {value!r}; give seconds ('60s', '2m'), operations ('500 GFLOP') "
                "or steps ('200 steps')"
            )
        kind, scale = _UNITS[match[2].lower()]
        amount = float(match[1]) * scale
        if not (math.isfinite(amount) and amount > 0):
            raise ValueError(f"budget: got {value!r}; it must be above zero and finite")
        if kind == "steps" and amount < 1:
            raise ValueError(f"budget: got {value!r}; it takes 1 step or more")
        return cls(kind, amount)

    def fraction(self, *, seconds: float, flops: float, steps: int) -> float:
        """How much of the budget is spent, from 0 to 1 and beyond.

        Parameters
        ----------
        seconds, flops, steps
            What a training has used; only that counts which the budget is told in.

        Returns
        -------
        float
            The share of the amount.
        """
        spent = {"seconds": seconds, "flops": flops, "steps": float(steps)}
        return spent[self.kind] / self.amount

    def __str__(self) -> str:
        if self.kind == "seconds":
            return f"{self.amount:g} s"
        if self.kind == "flops":
            return f"{self.amount / 1e9:g} GFLOP"
        return f"{self.amount:g} steps"


#: The rungs below a budget, as shares of it, and how many steps each must leave.
_RUNGS = (1 / 16, 1 / 4)


def ladder(
    budget: Budget | float | str, budgets: Sequence[Budget | float | str] | None = None
) -> tuple[Budget, tuple[float, ...]]:
    """The whole budget, and the shares of it at which rows are judged.

    Parameters
    ----------
    budget
        The whole; its sixteenth and its quarter are judged too. A budget in steps keeps only rungs
        of 12 steps or more.
    budgets
        The rungs themselves, in place of ``budget``.

    Raises
    ------
    ValueError
        Where the rungs do not rise or are of different kinds.

    Examples
    --------
    >>> ladder("160 GFLOP")
    (Budget(kind='flops', amount=160000000000.0), (0.0625, 0.25, 1.0))
    >>> ladder("", ["10 steps", "40 steps"])
    (Budget(kind='steps', amount=40.0), (0.25, 1.0))
    """
    if budgets is None:
        whole = Budget.of(budget)
        shares: tuple[float, ...] = (*_RUNGS, 1.0)
        if whole.kind == "steps":
            # Half a step cannot be made.
            steps = [max(1, int(s * whole.amount)) for s in shares]
            shares = (*(n / whole.amount for n in steps[:-1] if n >= FEWEST_STEPS), 1.0)
        return whole, shares
    given = [Budget.of(value) for value in budgets]
    if not given:
        raise ValueError("budgets: got none; give one or more")
    if len({one.kind for one in given}) > 1:
        raise ValueError("budgets: got different kinds; give all in seconds, FLOPs or steps")
    amounts = [one.amount for one in given]
    if sorted(set(amounts)) != amounts:
        raise ValueError(f"budgets: got {', '.join(map(str, given))}; give them rising")
    return given[-1], tuple(amount / amounts[-1] for amount in amounts)


def rung_places(budgets: Sequence[str]) -> list[float]:
    """Where the rungs of a ladder lie between its first, 0, and its last, 1, on a log axis.

    Parameters
    ----------
    budgets
        As a report writes them, of one kind, rising.

    Returns
    -------
    list of float
        One a rung; 0.5 for the only one.

    Examples
    --------
    >>> [round(place, 3) for place in rung_places(["1 GFLOP", "2 GFLOP", "16 GFLOP"])]
    [0.0, 0.25, 1.0]
    """
    logs = [math.log(Budget.of(budget).amount) for budget in budgets]
    room = logs[-1] - logs[0]
    return [(value - logs[0]) / room if room else 0.5 for value in logs]
