"""Features of windows of series, by tsfresh's names and formulas, of all windows at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Windows: TypeAlias = "NDArray[np.float64]"  # (..., length): a series a row

#: What everyone expects, in the order of columns.
SERIES_FEATURES: tuple[str, ...] = (
    "sum_values",
    "mean",
    "median",
    "standard_deviation",
    "variance",
    "variation_coefficient",
    "skewness",
    "kurtosis",
    "root_mean_square",
    "abs_energy",
    "maximum",
    "minimum",
    "absolute_maximum",
    "mean_change",
    "mean_abs_change",
    "absolute_sum_of_changes",
    "mean_second_derivative_central",
    "cid_ce__normalize_False",
    "count_above_mean",
    "count_below_mean",
    "longest_strike_above_mean",
    "first_location_of_maximum",
    "first_location_of_minimum",
    "number_crossing_m__m_0",
    "quantile__q_0.1",
    "quantile__q_0.9",
    'linear_trend__attr_"slope"',
    "autocorrelation__lag_1",
    "energy_ratio_by_chunks__num_segments_4__segment_focus_0",
    'fft_coefficient__attr_"abs"__coeff_1',
)


class SeriesFeature(NamedTuple):
    """One column: a formula and its parameters."""

    compute: Callable[..., Windows]
    parameters: dict[str, Any]


def series_feature(name: str) -> SeriesFeature | None:
    """The formula of a name; None if there is none. Raises ValueError for wrong parameters."""
    base, *given = name.split("__")
    if base not in _FORMULAS:
        return None
    compute, takes = _FORMULAS[base]
    parameters: dict[str, Any] = {}
    for part in given:
        key, _, value = part.rpartition("_")
        kind = takes.get(key)
        if kind is None:
            raise ValueError(f"features: got {name!r}, takes {base} with {list(takes)}")
        try:
            parameters[key] = kind(value)
        except ValueError:
            raise ValueError(f"features: got {name!r}, takes numbers as {key}") from None
    if set(parameters) != set(takes):
        raise ValueError(f"features: got {name!r}, takes {base} with {list(takes)}")
    if parameters.get("segment_focus", 0) >= parameters.get("num_segments", 1):
        raise ValueError(f"features: got {name!r}, takes a segment_focus below num_segments")
    return SeriesFeature(compute, parameters)


def compute_series(y: Windows, features: list[SeriesFeature]) -> Windows:
    """The columns of series ``(..., length)``: ``(..., features)``."""
    with np.errstate(all="ignore"):
        columns = [feature.compute(y, **feature.parameters) for feature in features]
    return np.stack([np.asarray(column, np.float64) for column in columns], -1)


class SharedSums(NamedTuple):
    """What windows' own features say, each ``(...)``; `lags` by lag."""

    length: int
    mean: Windows
    std: Windows
    least: Windows
    greatest: Windows
    diff_energy: Windows
    lags: dict[int, Windows]


def from_sums(feature: SeriesFeature) -> Callable[[SharedSums], Windows] | None:
    """The formula from sums that windows share; None if only the windows themselves will do."""
    if feature.compute is _autocorrelation:
        lag = int(feature.parameters["lag"])
        return lambda s: _autocorrelation_of(s, lag)
    if feature.compute is _cid and not feature.parameters["normalize"]:
        return lambda s: np.sqrt(s.diff_energy * (s.length - 1))
    return _FROM_SUMS.get(feature.compute)


def _autocorrelation_of(s: SharedSums, lag: int) -> Windows:
    if lag not in s.lags:  # as long as a window
        return np.full(s.mean.shape, np.nan)
    scaled = s.lags[lag] * (s.length / (s.length - lag))
    return np.where(s.least == s.greatest, np.nan, scaled)


def _energy_of(s: SharedSums) -> Windows:
    return s.std**2 + s.mean**2


def _central(y: Windows, power: int) -> Windows:
    moment: Windows = ((y - y.mean(-1, keepdims=True)) ** power).mean(-1)
    return moment


def _is_constant(y: Windows) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = y.max(-1) == y.min(-1)
    return same


def _sum(y: Windows) -> Windows:
    total: Windows = y.sum(-1)
    return total


def _mean(y: Windows) -> Windows:
    mean: Windows = y.mean(-1)
    return mean


def _maximum(y: Windows) -> Windows:
    most: Windows = y.max(-1)
    return most


def _minimum(y: Windows) -> Windows:
    least: Windows = y.min(-1)
    return least


def _absolute_maximum(y: Windows) -> Windows:
    most: Windows = np.abs(y).max(-1)
    return most


def _energy(y: Windows) -> Windows:
    energy: Windows = (y**2).sum(-1)
    return energy


def _root_mean_square(y: Windows) -> Windows:
    root: Windows = np.sqrt((y**2).mean(-1))
    return root


def _deviation(y: Windows) -> Windows:
    deviation: Windows = np.sqrt(_variance(y))
    return deviation


def _variance(y: Windows) -> Windows:
    return np.where(_is_constant(y), 0, _central(y, 2))


def _variation(y: Windows) -> Windows:
    mean = y.mean(-1)
    return np.where(mean == 0, np.nan, np.sqrt(_variance(y)) / mean)


def _skewness(y: Windows) -> Windows:
    """Fisher and Pearson's, adjusted for the bias, as pandas has it; 0 for a constant series."""
    n = y.shape[-1]
    if n < 3:
        return np.full(y.shape[:-1], np.nan)
    skewed = _central(y, 3) / _central(y, 2) ** 1.5 * np.sqrt(n * (n - 1)) / (n - 2)
    return np.where(_is_constant(y), 0, skewed)


def _kurtosis(y: Windows) -> Windows:
    """The excess, adjusted for the bias, as pandas has it; 0 for a constant series."""
    n = y.shape[-1]
    if n < 4:
        return np.full(y.shape[:-1], np.nan)
    excess = (n + 1) * _central(y, 4) / _central(y, 2) ** 2 - 3 * (n - 1)
    return np.where(_is_constant(y), 0, excess * (n - 1) / ((n - 2) * (n - 3)))


def _mean_of(values: Windows, shape: tuple[int, ...]) -> Windows:
    """The mean over the last axis; NaN if that is empty."""
    if not values.shape[-1]:
        return np.full(shape, np.nan)
    mean: Windows = values.mean(-1)
    return mean


def _mean_change(y: Windows) -> Windows:
    steps = y.shape[-1] - 1
    if not steps:
        return np.full(y.shape[:-1], np.nan)
    change: Windows = (y[..., -1] - y[..., 0]) / steps
    return change


def _second_derivative(y: Windows) -> Windows:
    inner = y.shape[-1] - 2
    if inner < 1:
        return np.full(y.shape[:-1], np.nan)
    bend: Windows = (y[..., -1] - y[..., -2] - y[..., 1] + y[..., 0]) / (2 * inner)
    return bend


def _cid(y: Windows, normalize: bool) -> Windows:
    if normalize:
        deviation = np.sqrt(_variance(y))[..., None]
        y = np.where(deviation == 0, 0, (y - y.mean(-1, keepdims=True)) / deviation)
    distance: Windows = np.sqrt((np.diff(y) ** 2).sum(-1))
    return distance


def _longest(held: NDArray[np.bool_]) -> Windows:
    """The longest run of True."""
    run: Windows = np.zeros(held.shape[:-1])
    longest: Windows = run.copy()
    for k in range(held.shape[-1]):
        run = np.where(held[..., k], run + 1, 0)
        longest = np.maximum(longest, run)
    return longest


def _above(y: Windows) -> NDArray[np.bool_]:
    above: NDArray[np.bool_] = y > y.mean(-1, keepdims=True)
    return above


def _below(y: Windows) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = y < y.mean(-1, keepdims=True)
    return below


def _slope(y: Windows, attr: str) -> Windows:
    n = y.shape[-1]
    if n < 2:
        return np.full(y.shape[:-1], np.nan)
    time = np.arange(n) - (n - 1) / 2
    slope: Windows = (y * time).sum(-1) / (time**2).sum()
    return slope if attr == "slope" else y.mean(-1) - slope * (n - 1) / 2


def _autocorrelation(y: Windows, lag: int) -> Windows:
    n = y.shape[-1]
    if lag >= n:
        return np.full(y.shape[:-1], np.nan)
    deviation = y - y.mean(-1, keepdims=True)
    pairs = (deviation[..., : n - lag] * deviation[..., lag:]).sum(-1)
    return np.where(_is_constant(y), np.nan, pairs / ((n - lag) * _central(y, 2)))


def _energy_ratio(y: Windows, num_segments: int, segment_focus: int) -> Windows:
    chunk = np.array_split(np.arange(y.shape[-1]), num_segments)[segment_focus]
    total = (y**2).sum(-1)
    return np.where(total == 0, np.nan, (y[..., chunk] ** 2).sum(-1) / total)


def _fourier(y: Windows, attr: str, coeff: int) -> Windows:
    spectrum = np.fft.rfft(y)
    if coeff >= spectrum.shape[-1]:
        return np.full(y.shape[:-1], np.nan)
    value = spectrum[..., coeff]
    if attr == "abs":
        return np.abs(value)
    return value.real if attr == "real" else value.imag


def _c3(y: Windows, lag: int) -> Windows:
    n = y.shape[-1]
    if 2 * lag >= n:
        return np.zeros(y.shape[:-1])
    product: Windows = (y[..., 2 * lag :] * y[..., lag : n - lag] * y[..., : n - 2 * lag]).mean(-1)
    return product


def _crossings(y: Windows, m: float) -> Windows:
    above = y > m
    crossed: Windows = (above[..., 1:] != above[..., :-1]).sum(-1).astype(np.float64)
    return crossed


def _choice(*names: str) -> Callable[[str], str]:
    def chosen(value: str) -> str:
        bare = value.strip('"')
        if bare not in names:
            raise ValueError(bare)
        return bare

    return chosen


def _boolean(value: str) -> bool:
    if value not in ("True", "False"):
        raise ValueError(value)
    return value == "True"


def _within(kind: type, least: float, most: float) -> Callable[[str], Any]:
    def number(value: str) -> Any:
        made = kind(value)
        if not least <= made <= most:
            raise ValueError(value)
        return made

    return number


_ENDLESS = float("inf")
_LAG = {"lag": _within(int, 1, _ENDLESS)}
_FORMULAS: dict[str, tuple[Callable[..., Any], dict[str, Callable[[str], Any]]]] = {
    "sum_values": (_sum, {}),
    "mean": (_mean, {}),
    "median": (lambda y: np.median(y, -1), {}),
    "standard_deviation": (_deviation, {}),
    "variance": (_variance, {}),
    "variation_coefficient": (_variation, {}),
    "skewness": (_skewness, {}),
    "kurtosis": (_kurtosis, {}),
    "root_mean_square": (_root_mean_square, {}),
    "abs_energy": (_energy, {}),
    "maximum": (_maximum, {}),
    "minimum": (_minimum, {}),
    "absolute_maximum": (_absolute_maximum, {}),
    "mean_change": (_mean_change, {}),
    "mean_abs_change": (lambda y: _mean_of(np.abs(np.diff(y)), y.shape[:-1]), {}),
    "absolute_sum_of_changes": (lambda y: np.abs(np.diff(y)).sum(-1), {}),
    "mean_second_derivative_central": (_second_derivative, {}),
    "cid_ce": (_cid, {"normalize": _boolean}),
    "count_above_mean": (lambda y: _above(y).sum(-1), {}),
    "count_below_mean": (lambda y: _below(y).sum(-1), {}),
    "longest_strike_above_mean": (lambda y: _longest(_above(y)), {}),
    "longest_strike_below_mean": (lambda y: _longest(_below(y)), {}),
    "first_location_of_maximum": (lambda y: y.argmax(-1) / y.shape[-1], {}),
    "first_location_of_minimum": (lambda y: y.argmin(-1) / y.shape[-1], {}),
    "last_location_of_maximum": (lambda y: 1 - y[..., ::-1].argmax(-1) / y.shape[-1], {}),
    "last_location_of_minimum": (lambda y: 1 - y[..., ::-1].argmin(-1) / y.shape[-1], {}),
    "number_crossing_m": (_crossings, {"m": float}),
    "quantile": (lambda y, q: np.quantile(y, q, axis=-1), {"q": _within(float, 0, 1)}),
    "linear_trend": (_slope, {"attr": _choice("slope", "intercept")}),
    "autocorrelation": (_autocorrelation, _LAG),
    "energy_ratio_by_chunks": (
        lambda y, num_segments, segment_focus: _energy_ratio(y, num_segments, segment_focus),
        {"num_segments": _within(int, 1, _ENDLESS), "segment_focus": _within(int, 0, _ENDLESS)},
    ),
    "fft_coefficient": (
        _fourier,
        {"attr": _choice("abs", "real", "imag"), "coeff": _within(int, 0, _ENDLESS)},
    ),
    "c3": (_c3, _LAG),
}

_FROM_SUMS: dict[Any, Callable[[SharedSums], Windows]] = {
    _sum: lambda s: s.mean * s.length,
    _mean: lambda s: s.mean,
    _deviation: lambda s: s.std,
    _variance: lambda s: s.std**2,
    _variation: lambda s: np.where(s.mean == 0, np.nan, s.std / s.mean),
    _root_mean_square: lambda s: np.sqrt(_energy_of(s)),
    _energy: lambda s: _energy_of(s) * s.length,
    _maximum: lambda s: s.greatest,
    _minimum: lambda s: s.least,
    _absolute_maximum: lambda s: np.maximum(np.abs(s.least), np.abs(s.greatest)),
}
