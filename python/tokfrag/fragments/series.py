"""Features of windows of series, by tsfresh's names and formulas, from the windows' numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = "NDArray[np.float64]"  # one a window

#: What kernels know of a window; a number's code (csrc/fragments/window_numbers) is its place here.
WINDOW_NUMBERS = (
    "mean",
    "least",
    "greatest",
    "power",
    "changes",
    "steps",
    "trend",
    "cosine",
    "sine",
    "crossings",
    "energy",
    "above",
    "below",
    "above_run",
    "below_run",
    "greatest_at",
    "least_at",
    "quantile",
    "value",
)

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


class WindowNumber(NamedTuple):
    """A number of every window, as the kernel's header has it, with its parameters."""

    name: str
    parameter: float = 0.0
    first: int = 0
    last: int = 0

    @property
    def column(self) -> tuple[int, float, int, int]:
        """As the kernel takes it."""
        return WINDOW_NUMBERS.index(self.name), self.parameter, self.first, self.last


class SeriesFeature(NamedTuple):
    """One column: by its tsfresh name without parameters, and they."""

    base: str
    parameters: dict[str, Any]


class Recipe(NamedTuple):
    """The numbers of windows that a feature takes, and its formula."""

    numbers: tuple[WindowNumber, ...]
    formula: Callable[..., Values]


def series_feature(name: str) -> SeriesFeature | None:
    """The feature of a name; None if there is none. Raises ValueError for wrong parameters."""
    base, *given = name.split("__")
    if base not in _PARAMETERS:
        return None
    takes = _PARAMETERS[base]
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
    return SeriesFeature(base, parameters)


def recipe(feature: SeriesFeature, n: int) -> Recipe | None:
    """How a feature of windows of `n` values is made; None if only the windows themselves will do.

    An autocorrelation's formula takes the lag's biased one, as `fragment_features` has it, last.
    """
    if feature.base == "c3":
        return None
    return _RECIPES[feature.base](n, **feature.parameters)


def c3(windows: Values, lag: int) -> Values:
    """The mean of ``y[t + 2 * lag] * y[t + lag] * y[t]``; 0 if there are none. Of (..., length)."""
    n = windows.shape[-1]
    if 2 * lag >= n:
        return np.zeros(windows.shape[:-1])
    late, middle = windows[..., 2 * lag :], windows[..., lag : n - lag]
    product: Values = (late * middle * windows[..., : n - 2 * lag]).mean(-1)
    return product


_MEAN, _LEAST, _GREATEST = map(WindowNumber, ("mean", "least", "greatest"))
_CHANGES, _STEPS, _TREND = map(WindowNumber, ("changes", "steps", "trend"))
_SQUARES, _CUBES, _FOURTHS = (WindowNumber("power", first=p) for p in (2, 3, 4))


def _value(at: int) -> WindowNumber:
    return WindowNumber("value", first=at)


def _nothing(*values: Values) -> Values:
    return np.full(values[0].shape, np.nan)


def _by(number: WindowNumber, formula: Callable[[Values], Values] = lambda value: value) -> Recipe:
    return Recipe((number,), formula)


def _energy(n: int) -> Recipe:
    return Recipe((_MEAN, _SQUARES), lambda mean, squares: squares + n * mean**2)


def _variation(n: int) -> Recipe:
    def formula(mean: Values, squares: Values) -> Values:
        return np.where(mean == 0, np.nan, np.sqrt(squares / n) / mean)

    return Recipe((_MEAN, _SQUARES), formula)


def _skewness(n: int) -> Recipe:
    """Fisher and Pearson's, adjusted for the bias, as pandas has it; 0 for a constant series."""

    def formula(least: Values, greatest: Values, squares: Values, cubes: Values) -> Values:
        skewed = cubes / n / (squares / n) ** 1.5 * np.sqrt(n * (n - 1)) / (n - 2)
        return np.where(least == greatest, 0, skewed)

    return Recipe((_LEAST, _GREATEST, _SQUARES, _CUBES), formula if n > 2 else _nothing)


def _kurtosis(n: int) -> Recipe:
    """The excess, adjusted for the bias, as pandas has it; 0 for a constant series."""

    def formula(least: Values, greatest: Values, squares: Values, fourths: Values) -> Values:
        excess = (n + 1) * (fourths / n) / (squares / n) ** 2 - 3 * (n - 1)
        return np.where(least == greatest, 0, excess * (n - 1) / ((n - 2) * (n - 3)))

    return Recipe((_LEAST, _GREATEST, _SQUARES, _FOURTHS), formula if n > 3 else _nothing)


def _mean_change(n: int) -> Recipe:
    def formula(first: Values, last: Values) -> Values:
        return (last - first) / (n - 1)

    return Recipe((_value(0), _value(n - 1)), formula if n > 1 else _nothing)


def _second_derivative(n: int) -> Recipe:
    def formula(first: Values, second: Values, before: Values, last: Values) -> Values:
        return (last - before - second + first) / (2 * (n - 2))

    if n < 3:
        return _by(_MEAN, _nothing)
    return Recipe((_value(0), _value(1), _value(n - 2), _value(n - 1)), formula)


def _cid(n: int, normalize: bool) -> Recipe:
    if not normalize:
        return _by(_STEPS, np.sqrt)

    def formula(steps: Values, squares: Values) -> Values:
        return np.where(squares == 0, 0, np.sqrt(steps / (squares / n)))

    return Recipe((_STEPS, _SQUARES), formula)


def _trend(n: int, attr: str) -> Recipe:
    if n < 2:
        return _by(_MEAN, _nothing)
    spread = n * (n * n - 1) / 12  # of the times about their mean
    if attr == "slope":
        return _by(_TREND, lambda trend: trend / spread)
    return Recipe((_MEAN, _TREND), lambda mean, trend: mean - trend / spread * (n - 1) / 2)


def _autocorrelation(n: int, lag: int) -> Recipe:
    def formula(least: Values, greatest: Values, biased: Values) -> Values:
        return np.where(least == greatest, np.nan, biased * (n / (n - lag)))

    return Recipe((_LEAST, _GREATEST), formula if lag < n else _nothing)


def _energy_ratio(n: int, num_segments: int, segment_focus: int) -> Recipe:
    length, longer = divmod(n, num_segments)  # the first ones are one longer
    first = segment_focus * length + min(segment_focus, longer)
    last = first + length + (segment_focus < longer)
    parts = (WindowNumber("energy", 0, first, last), WindowNumber("energy", 0, 0, n))
    return Recipe(parts, lambda part, whole: np.where(whole == 0, np.nan, part / whole))


def _fourier(n: int, attr: str, coeff: int) -> Recipe:
    if coeff > n // 2:
        return _by(_MEAN, _nothing)
    if coeff == 0:
        of_sum: dict[str, Callable[[Values], Values]] = {
            "abs": lambda mean: np.abs(mean * n),
            "real": lambda mean: mean * n,
            "imag": lambda mean: mean * 0,
        }
        return _by(_MEAN, of_sum[attr])
    cosine, sine = (WindowNumber(name, first=coeff) for name in ("cosine", "sine"))
    if attr == "abs":
        return Recipe((cosine, sine), np.hypot)
    return _by(cosine) if attr == "real" else _by(sine, np.negative)


def _place(number: str, n: int, *, last: bool) -> Recipe:
    """As a share of the length; a last one counts to its end."""
    return _by(WindowNumber(number, first=int(last)), lambda at: (at + last) / n)


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
_NONE: dict[str, Callable[[str], Any]] = {}
_PARAMETERS: dict[str, dict[str, Callable[[str], Any]]] = {
    "cid_ce": {"normalize": _boolean},
    "number_crossing_m": {"m": float},
    "quantile": {"q": _within(float, 0, 1)},
    "linear_trend": {"attr": _choice("slope", "intercept")},
    "autocorrelation": _LAG,
    "energy_ratio_by_chunks": {
        "num_segments": _within(int, 1, _ENDLESS),
        "segment_focus": _within(int, 0, _ENDLESS),
    },
    "fft_coefficient": {
        "attr": _choice("abs", "real", "imag"),
        "coeff": _within(int, 0, _ENDLESS),
    },
    "c3": _LAG,
}
_RECIPES: dict[str, Callable[..., Recipe]] = {
    "sum_values": lambda n: _by(_MEAN, lambda mean: mean * n),
    "mean": lambda n: _by(_MEAN),
    "median": lambda n: _by(WindowNumber("quantile", 0.5)),
    "standard_deviation": lambda n: _by(_SQUARES, lambda squares: np.sqrt(squares / n)),
    "variance": lambda n: _by(_SQUARES, lambda squares: squares / n),
    "variation_coefficient": _variation,
    "skewness": _skewness,
    "kurtosis": _kurtosis,
    "root_mean_square": lambda n: Recipe(
        _energy(n).numbers, lambda mean, squares: np.sqrt(squares / n + mean**2)
    ),
    "abs_energy": _energy,
    "maximum": lambda n: _by(_GREATEST),
    "minimum": lambda n: _by(_LEAST),
    "absolute_maximum": lambda n: Recipe(
        (_LEAST, _GREATEST), lambda least, greatest: np.maximum(np.abs(least), np.abs(greatest))
    ),
    "mean_change": _mean_change,
    "mean_abs_change": lambda n: _by(
        _CHANGES, (lambda changes: changes / (n - 1)) if n > 1 else _nothing
    ),
    "absolute_sum_of_changes": lambda n: _by(_CHANGES),
    "mean_second_derivative_central": _second_derivative,
    "cid_ce": _cid,
    "count_above_mean": lambda n: _by(WindowNumber("above")),
    "count_below_mean": lambda n: _by(WindowNumber("below")),
    "longest_strike_above_mean": lambda n: _by(WindowNumber("above_run")),
    "longest_strike_below_mean": lambda n: _by(WindowNumber("below_run")),
    "first_location_of_maximum": lambda n: _place("greatest_at", n, last=False),
    "first_location_of_minimum": lambda n: _place("least_at", n, last=False),
    "last_location_of_maximum": lambda n: _place("greatest_at", n, last=True),
    "last_location_of_minimum": lambda n: _place("least_at", n, last=True),
    "number_crossing_m": lambda n, m: _by(WindowNumber("crossings", m)),
    "quantile": lambda n, q: _by(WindowNumber("quantile", q)),
    "linear_trend": _trend,
    "autocorrelation": _autocorrelation,
    "energy_ratio_by_chunks": _energy_ratio,
    "fft_coefficient": _fourier,
}
_PARAMETERS.update({base: _NONE for base in _RECIPES if base not in _PARAMETERS})
