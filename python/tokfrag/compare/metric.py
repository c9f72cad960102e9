"""Quality measures: which way is up, and how a number of one is written."""

from __future__ import annotations

from dataclasses import dataclass

# The unit of a share so close to nothing or all that hardly any sample tells how noisy it is.
_SHARE_UNIT = 0.0025


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

    def perfect(self, score: float) -> bool:
        """Whether no score is better: all of a share, no error at all.

        >>> ACCURACY.perfect(1.0), MSE.perfect(0.0), MSE.perfect(1.0)
        (True, True, False)
        """
        if self.higher_is_better:
            return self.unit == "%" and score >= 1
        return score <= 0

    def noise_unit(self, mean: float) -> float:
        """What the noise between trainings grows with: rows of one unit are about equally noisy.

        Shares are noisy as ``p (1 - p)``, and losses by a part of themselves.

        >>> round(ACCURACY.noise_unit(0.5), 2), MSE.noise_unit(3.0)
        (0.25, 3.0)
        """
        if self.unit == "%":
            return max(mean * (1 - mean), _SHARE_UNIT)
        return mean if mean > 0 and not self.higher_is_better else 1.0

    def text(self, mean: float, half: float | None = None) -> str:
        """A score, with half of its interval where there is one: ``97.4 ± 0.6 %``."""
        number = f"{mean * self.scale:.{self.digits}f}"
        spread = "" if half is None else f" ± {half * self.scale:.{self.digits}f}"
        return number + spread + (f" {self.unit}" if self.unit else "")

    def difference_text(self, mean: float, half: float | None) -> str:
        """A difference of two scores, with its sign: ``+0.6 ± 0.2``."""
        number = f"{mean * self.scale:+.{self.digits}f}"
        return number + ("" if half is None else f" ± {half * self.scale:.{self.digits}f}")


ACCURACY = Metric("accuracy", True, "%", 100.0, 1)
MSE = Metric("MSE", False)
MAE = Metric("MAE", False)
BITS_PER_BYTE = Metric("bits per byte", False)
ENTITY_F1 = Metric("entity F1", True, "%", 100.0, 1)
HITS = Metric("hits in the first ten", True, "%", 100.0, 1)

_SHIPPED = (ACCURACY, MSE, MAE, BITS_PER_BYTE, ENTITY_F1, HITS)


def metric_named(name: str, higher_is_better: bool) -> Metric:
    """The measure that a report names: a shipped one, or one of somebody's own."""
    found = next((metric for metric in _SHIPPED if metric.name == name), None)
    return Metric(name, higher_is_better) if found is None else found
