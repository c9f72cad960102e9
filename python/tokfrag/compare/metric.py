"""Quality measures, and the mean and 95 % interval of one over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t, two-sided 95 %, by degrees of freedom from 1; NIST/SEMATECH e-Handbook, 1.3.6.7.2.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A quality measure: its name, which way is up, how a number of it is written."""

    name: str
    higher_is_better: bool
    unit: str = ""
    scale: float = 1.0
    digits: int = 3

    def better(self, a: float, b: float) -> bool:
        """Whether ``a`` is strictly better than ``b``."""
        return a > b if self.higher_is_better else a < b

    def text(self, mean: float, half: float | None = None) -> str:
        """A score, with half of its interval where there is one: ``97.4 ± 0.6 %``."""
        number = f"{mean * self.scale:.{self.digits}f}"
        spread = "" if half is None else f" ± {half * self.scale:.{self.digits}f}"
        return number + spread + (f" {self.unit}" if self.unit else "")


ACCURACY = Metric("accuracy", True, "%", 100.0, 1)
MSE = Metric("MSE", False)
BITS_PER_BYTE = Metric("bits per byte", False)


def mean_and_half_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean over seeds and half of its 95 % interval by Student's t; None for one seed.

    >>> mean, half = mean_and_half_interval([1.0, 2.0, 3.0])
    >>> mean, round(half, 3)
    (2.0, 2.484)
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return mean, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    freedom = count - 1
    # Beyond the table: the normal quantile and the first term of its expansion.
    t = _T95[freedom - 1] if freedom <= len(_T95) else 1.95996 + 2.3722 / freedom
    return mean, t * math.sqrt(variance / count)
