"""A learning rate of its own for every row, found on the part to choose on.

Short trainings a factor 2.5 apart, from the recipe's rate outwards while the best lies at an edge;
then the best and the next lower one for four times as long, since longer trainings prefer lower
rates. For the same reason the higher of two may be asked to be clearly better there: the whole
training is four times longer still. The judging part is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

_FACTOR = 2.5
_SHORT, _LONG = 1 / 16, 1 / 4
# How far the search may go from where it began: 2.5^4 is 39 times.
_FURTHEST = 4
#: Of losses such as bits per byte, the higher of two rates must be better by this share to be
#: taken. Measured: rates that were equal to 0.2 % at a quarter were 19 % apart at the end
#: (bench/log/compare.md). Accuracies of few samples are too coarse for it.
CLEARLY = 0.02


@dataclass
class RateSearch:
    """The search for one row's rate, as it was made.

    Parameters
    ----------
    start
        Where to begin.
    loss
        ``loss(rate, share)``: what is to be small, after a training with a share of the budget.
    margin
        By which share of it the higher of the last two rates must be better.
    """

    start: float
    loss: Callable[[float, float], float]
    margin: float = 0.0
    tried: dict[int, float] = field(default_factory=dict)

    def best(self) -> float:
        """Run the search.

        Returns
        -------
        float
            The rate.

        Examples
        --------
        >>> search = RateSearch(1e-3, lambda rate, share: abs(rate - 1e-2))
        >>> round(search.best(), 5), sorted(search.tried)
        (0.00625, [-1, 0, 1, 2, 3])
        """
        for k in (0, 1, -1):
            self._try(k)
        while True:
            best = min(self.tried, key=lambda k: self.tried[k])
            edge = {max(self.tried): best + 1, min(self.tried): best - 1}.get(best)
            if edge is None or abs(edge) > _FURTHEST:
                break
            self._try(edge)
        if best - 1 not in self.tried:
            return self._rate(best)
        high, low = (self.loss(self._rate(k), _LONG) for k in (best, best - 1))
        clearly = not math.isfinite(low) or high <= low - self.margin * abs(low)
        return self._rate(best if clearly else best - 1)

    def _try(self, k: int) -> None:
        self.tried[k] = self.loss(self._rate(k), _SHORT)

    def _rate(self, k: int) -> float:
        return self.start * _FACTOR**k
