"""How noisy seeds are, told by all rows of a comparison together.

Three seeds know their own variance within a factor of some forty. Rows that are trained by one
recipe are about equally noisy, once noise is told in a unit that grows with the score; how much
they differ in it is seen in the rows themselves. So each row's variance is drawn towards the pooled
one by as many degrees of freedom as their likeness is worth (Smyth, 2004, Linear models and
empirical Bayes methods), and never below its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Below this many rows, their likeness cannot be told.
_FEWEST_ROWS = 3


@dataclass(frozen=True)
class Noise:
    """A variance, and the degrees of freedom that it is known with."""

    variance: float
    freedom: float

    def moderated(self, shared: Noise) -> Noise:
        """This row's variance with what all rows tell of it; never below its own.

        Examples
        --------
        >>> Noise(1.0, 2.0).moderated(Noise(4.0, 4.0))
        Noise(variance=3.0, freedom=6.0)
        """
        freedom = self.freedom + shared.freedom
        drawn = (self.variance * self.freedom + shared.variance * shared.freedom) / freedom
        return Noise(max(self.variance, drawn), freedom)


def shared_noise(rows: Sequence[Noise]) -> Noise | None:
    """The pooled variance of all rows, with the degrees of freedom that one row may lend from it.

    None where fewer than three rows have two seeds. The less alike rows are, the less is lent;
    and never more than the other rows have.

    Examples
    --------
    >>> shared_noise([Noise(1.0, 2.0), Noise(1.0, 2.0), Noise(1.0, 2.0)])
    Noise(variance=1.0, freedom=4.0)
    >>> shared_noise([Noise(1e-6, 2.0), Noise(1.0, 2.0), Noise(1e6, 2.0)]).freedom < 1
    True
    """
    known = [row for row in rows if row.freedom > 0]
    if len(known) < _FEWEST_ROWS:
        return None
    total = sum(row.freedom for row in known)
    pooled = sum(row.variance * row.freedom for row in known) / total
    most = total - max(row.freedom for row in known)
    if pooled == 0:
        return Noise(0.0, most)
    # A variance of zero (every seed alike) has no logarithm.
    logs = [
        math.log(max(row.variance, 1e-6 * pooled))
        - digamma(row.freedom / 2)
        + math.log(row.freedom / 2)
        for row in known
    ]
    mean = sum(logs) / len(logs)
    spread = sum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    by_chance = sum(trigamma(row.freedom / 2) for row in known) / len(known)
    return Noise(pooled, min(most, _freedom_of(spread - by_chance, most)))


def _freedom_of(spread: float, most: float) -> float:
    """The degrees of freedom of a prior whose logarithms spread so much: trigamma(f / 2)."""
    if spread <= trigamma(most / 2):
        return most
    low, high = 1e-6, most
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if trigamma(middle / 2) > spread else (low, middle)
    return high


def digamma(x: float) -> float:
    """The slope of the logarithm of the gamma function (Abramowitz and Stegun, 6.3.18)."""
    found = 0.0
    while x < 8:
        found -= 1 / x
        x += 1
    return found + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)


def trigamma(x: float) -> float:
    """The slope of digamma (Abramowitz and Stegun, 6.4.12)."""
    found = 0.0
    while x < 8:
        found += 1 / x**2
        x += 1
    return found + 1 / x + 1 / (2 * x**2) + 1 / (6 * x**3) - 1 / (30 * x**5) + 1 / (42 * x**7)
