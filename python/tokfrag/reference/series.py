"""tsfresh's features of one series, each as a loop over its values."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from itertools import pairwise


def mean(y: list[float]) -> float:
    """The sum over the number."""
    return math.fsum(y) / len(y)


def moment(y: list[float], power: int) -> float:
    """The mean power of the deviations from the mean."""
    return mean([(value - mean(y)) ** power for value in y])


def quantile(y: list[float], q: float) -> float:
    """Linear between the two nearest of the sorted values."""
    ordered, place = sorted(y), q * (len(y) - 1)
    low = math.floor(place)
    high = min(low + 1, len(y) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def skewness(y: list[float]) -> float:
    """Adjusted for the bias; 0 for equal values."""
    n = len(y)
    if min(y) == max(y):
        return 0.0
    return moment(y, 3) / math.pow(moment(y, 2), 1.5) * math.sqrt(n * (n - 1)) / (n - 2)


def kurtosis(y: list[float]) -> float:
    """The excess, adjusted for the bias; 0 for equal values."""
    n = len(y)
    if min(y) == max(y):
        return 0.0
    excess = (n + 1) * moment(y, 4) / moment(y, 2) ** 2 - 3 * (n - 1)
    return excess * (n - 1) / ((n - 2) * (n - 3))


def longest(held: list[bool]) -> int:
    """The longest run of True."""
    best = run = 0
    for value in held:
        run = run + 1 if value else 0
        best = max(best, run)
    return best


def slope(y: list[float]) -> float:
    """Of the line of least squares over 0, 1, 2, ..."""
    middle = (len(y) - 1) / 2
    above = math.fsum((t - middle) * value for t, value in enumerate(y))
    return above / math.fsum((t - middle) ** 2 for t in range(len(y)))


def autocorrelation(y: list[float], lag: int) -> float:
    """The mean product of deviations a lag apart, over the variance."""
    m, n = mean(y), len(y)
    pairs = math.fsum((y[t] - m) * (y[t + lag] - m) for t in range(n - lag))
    return math.nan if min(y) == max(y) else pairs / ((n - lag) * moment(y, 2))


def first_chunk_energy(y: list[float], chunks: int) -> float:
    """The share of the first of chunks as equal as can be, the first ones the longer."""
    length = len(y) // chunks + (len(y) % chunks > 0)
    total = math.fsum(value**2 for value in y)
    return math.fsum(value**2 for value in y[:length]) / total if total else math.nan


def first_harmonic(y: list[float]) -> float:
    """The magnitude of the first Fourier coefficient."""
    turn = -2j * cmath.pi / len(y)
    return abs(sum(value * cmath.exp(turn * t) for t, value in enumerate(y)))


def steps(y: list[float]) -> list[float]:
    """From each value to the next."""
    return [later - value for value, later in pairwise(y)]


FEATURES: dict[str, Callable[[list[float]], float]] = {
    "sum_values": math.fsum,
    "mean": mean,
    "median": lambda y: quantile(y, 0.5),
    "standard_deviation": lambda y: math.sqrt(moment(y, 2)),
    "variance": lambda y: moment(y, 2),
    "variation_coefficient": lambda y: math.sqrt(moment(y, 2)) / mean(y) if mean(y) else math.nan,
    "skewness": skewness,
    "kurtosis": kurtosis,
    "root_mean_square": lambda y: math.sqrt(mean([value**2 for value in y])),
    "abs_energy": lambda y: math.fsum(value**2 for value in y),
    "maximum": max,
    "minimum": min,
    "absolute_maximum": lambda y: max(map(abs, y)),
    "mean_change": lambda y: mean(steps(y)),
    "mean_abs_change": lambda y: mean([abs(step) for step in steps(y)]),
    "absolute_sum_of_changes": lambda y: math.fsum(abs(step) for step in steps(y)),
    "mean_second_derivative_central": lambda y: mean(
        [(y[t + 1] - 2 * y[t] + y[t - 1]) / 2 for t in range(1, len(y) - 1)]
    ),
    "cid_ce__normalize_False": lambda y: math.sqrt(math.fsum(step**2 for step in steps(y))),
    "count_above_mean": lambda y: sum(value > mean(y) for value in y),
    "count_below_mean": lambda y: sum(value < mean(y) for value in y),
    "longest_strike_above_mean": lambda y: longest([value > mean(y) for value in y]),
    "first_location_of_maximum": lambda y: y.index(max(y)) / len(y),
    "first_location_of_minimum": lambda y: y.index(min(y)) / len(y),
    "number_crossing_m__m_0": lambda y: sum(
        (value > 0) != (later > 0) for value, later in pairwise(y)
    ),
    "quantile__q_0.1": lambda y: quantile(y, 0.1),
    "quantile__q_0.9": lambda y: quantile(y, 0.9),
    'linear_trend__attr_"slope"': slope,
    "autocorrelation__lag_1": lambda y: autocorrelation(y, 1),
    "energy_ratio_by_chunks__num_segments_4__segment_focus_0": lambda y: first_chunk_energy(y, 4),
    'fft_coefficient__attr_"abs"__coeff_1': first_harmonic,
}
