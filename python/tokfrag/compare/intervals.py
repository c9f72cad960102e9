"""How far two rows are apart, and whether that can be told: over seeds and parts of the data.

There is one notion of noise in a comparison. A difference of two rows varies with the seeds of
either and with the parts of the judging data, which both rows share, so items are paired and seeds
are not. Each source adds its own variance of the mean; degrees of freedom follow from all of them
(Satterthwaite, 1946). Where many rows are compared, the interval widens so that all statements of
a comparison hold together (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.noise import Noise, shared_noise

LEVEL = 0.05


@dataclass(frozen=True)
class Scores:
    """One row's scores: a line a seed, a column a part of the data, and the parts' weights.

    ``unit`` is what the noise of seeds is expected to grow with, see :meth:`Metric.noise_unit`.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    unit: float = 1.0

    @property
    def by_seed(self) -> NDArray[np.float64]:
        """The score of each seed."""
        found: NDArray[np.float64] = self.values @ self.weights / self.weights.sum()
        return found

    @property
    def mean(self) -> float:
        """The mean over seeds and parts."""
        return float(self.by_seed.mean())


@dataclass(frozen=True)
class Interval:
    """A mean, and half of its interval; None where one seed on one part tells nothing."""

    mean: float
    half: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.half is not None and abs(self.mean) > self.half


def interval_of(row: Scores, *, level: float = LEVEL) -> Interval:
    """The 95 % interval of a row's score, over seeds and over the parts it is judged on.

    Examples
    --------
    >>> import numpy as np
    >>> scores = Scores(np.array([[0.0, 1.0] * 8, [1.0, 1.0] * 8]), np.ones(16))
    >>> found = interval_of(scores)
    >>> found.mean, found.half > 0.25
    (0.75, True)
    """
    return _interval(row.mean, [_seeds(row), _items(row.values.mean(0), row.weights)], level)


def difference(
    row: Scores, best: Scores, *, rows: Sequence[Scores] = (), level: float = LEVEL
) -> Interval:
    """``row`` less ``best`` with its interval, paired over the parts of the data.

    Parameters
    ----------
    row, best
        Scores on the same parts.
    rows
        All rows of the comparison, these two among them: any two may turn out to be compared, so
        each pair gets its share of what may go wrong, and all tell how noisy seeds are.
    level
        The chance that any statement of a comparison of rows that are alike is wrong.

    Returns
    -------
    Interval
        The difference of the means, and half of its interval.

    Examples
    --------
    >>> import numpy as np
    >>> weights, parts = np.ones(20), np.linspace(0, 1, 20)
    >>> rows = [Scores(parts + gap + np.array([[0.0], [0.1], [0.2]]), weights) for gap in (0, 1, 5)]
    >>> difference(rows[2], rows[0], rows=rows).excludes_zero
    True
    """
    pairs = max(1, len(rows) * (len(rows) - 1) // 2)
    apart = row.values.mean(0) - best.values.mean(0)
    # Where every part says the same, the next one may say otherwise: one part's worth of doubt.
    least = float(np.abs(apart).max(initial=0.0) / max(1, len(apart))) ** 2
    shared = shared_noise([_noise(one) for one in rows])
    seeds = [_seeds(one, shared) for one in (row, best)]
    sources = [*seeds, _items(apart, row.weights, least=least)]
    return _interval(row.mean - best.mean, sources, level / pairs)


_Source = tuple[float, float]


def _noise(row: Scores) -> Noise:
    """The variance of one seed's score in the row's unit, and its degrees of freedom."""
    scores = row.by_seed
    if len(scores) < 2:
        return Noise(0.0, 0.0)
    return Noise(float(scores.var(ddof=1)) / row.unit**2, float(len(scores) - 1))


def _seeds(row: Scores, shared: Noise | None = None) -> _Source:
    """The variance of the mean that seeds make, and its degrees of freedom."""
    found = _noise(row)
    if found.freedom and shared is not None:
        found = found.moderated(shared)
    return found.variance * row.unit**2 / len(row.values), found.freedom


def _items(
    values: NDArray[np.float64], weights: NDArray[np.float64], *, least: float = 0.0
) -> _Source:
    """The variance of a weighted mean over parts (Cochran, 1977, ratio estimate)."""
    count = len(values)
    if count < 2:
        return 0.0, 0.0
    share = weights / weights.sum()
    mean = float(values @ share)
    spread = float(np.square(share * (values - mean)).sum()) * count / (count - 1)
    return max(spread, least), float(count - 1)


def _interval(mean: float, sources: list[_Source], level: float) -> Interval:
    known = [(variance, freedom) for variance, freedom in sources if freedom > 0]
    if not known:
        return Interval(mean, None)
    total = sum(variance for variance, _ in known)
    if total == 0:
        return Interval(mean, 0.0)
    freedom = total**2 / sum(variance**2 / n for variance, n in known if variance > 0)
    return Interval(mean, _t_quantile(1 - level / 2, freedom) * math.sqrt(total))


def _t_quantile(chance: float, freedom: float) -> float:
    """Student's t: the value below which ``chance`` of it lies."""
    # Rounded down, which widens, so that few quantiles need to be found.
    freedom = max(1.0, math.floor(freedom * 10) / 10 if freedom < 10 else float(int(freedom)))
    return _quantile(round(chance, 9), freedom)


@lru_cache(maxsize=4096)
def _quantile(chance: float, freedom: float) -> float:
    low, high = 0.0, 1.0
    while student_below(high, freedom) < chance:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_below(middle, freedom) < chance else (low, middle)
    return high


def student_below(value: float, freedom: float) -> float:
    """The chance that Student's t is below ``value``, by the incomplete beta function.

    Source: Press and others, Numerical Recipes, 3rd edition, 6.4: a continued fraction.

    >>> round(student_below(2.571, 5), 4)
    0.975
    """
    x = freedom / (freedom + value * value)
    tail = 0.5 * _incomplete_beta(freedom / 2, 0.5, x)
    return 1 - tail if value >= 0 else tail


def _incomplete_beta(a: float, b: float, x: float) -> float:
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # The fraction converges fast on one side of the mean; the other follows by symmetry.
    if x > (a + 1) / (a + b + 2):
        return 1 - front * _fraction(b, a, 1 - x) / b
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, 500):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + step * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + step / (c if abs(c) > tiny else tiny)
            found *= d * c
        if abs(d * c - 1) < 1e-12:
            break
    return found
