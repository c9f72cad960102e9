"""A learning rate of its own for every row, found on the part to choose on.

Short trainings a factor 2.5 apart, from the recipe's rate outwards while the best lies at an edge;
then the best and the next lower one for four times as long, since longer trainings prefer lower
rates. The judging part is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_FACTOR = 2.5
_SHORT, _LONG = 1 / 16, 1 / 4
# How far the search may go from where it began: 2.5^4 is 39 times.
_FURTHEST = 4


@dataclass
class RateSearch:
    """The search for one row's rate, as it was made.

    Parameters
    ----------
    start
        Where to begin.
    loss
        ``loss(rate, share)``: what is to be small, after a training with a share of the budget.
    """

    start: float
    loss: Callable[[float, float], float]
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
        finalists = [best] + ([best - 1] if best - 1 in self.tried else [])
        if len(finalists) == 1:
            return self._rate(best)
        return self._rate(min(finalists, key=lambda k: self.loss(self._rate(k), _LONG)))

    def _try(self, k: int) -> None:
        self.tried[k] = self.loss(self._rate(k), _SHORT)

    def _rate(self, k: int) -> float:
        return self.start * _FACTOR**k
