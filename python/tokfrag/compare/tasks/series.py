"""Series: forecast the next values of a time series from the last ones."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.extras import require
from tokfrag.compare.files import read_data

_MONTH = 30 * 24
_HEADERS = ("auto", "yes", "no")


class SeriesTask:
    """A membrane current that comes with matplotlib, or the columns of the user's CSV.

    Every column is a series of its own, scaled by its training part. A sample is `look_back`
    values less the last of them, and what should be told is the next `horizon`, less the same
    value; so persistence is to answer zero. The last fifth is for testing, in `test_samples`
    windows evenly spaced (0: all), the tenth before it to choose on; a file called ETTh* is split
    after 12 and 16 months, as the literature does. `header` says if the first row of the CSV holds
    names (see :func:`read_csv`).
    """

    name = "series"

    def __init__(
        self,
        data: Path | None = None,
        *,
        look_back: int | None = None,
        horizon: int | None = None,
        test_samples: int = 600,
        header: str = "auto",
    ):
        values = _membrane() if data is None else read_csv(Path(data), header=header)
        is_ett = data is not None and Path(data).name.startswith("ETTh")
        self.look_back = (336 if is_ett else 192) if look_back is None else look_back
        self.horizon = (96 if is_ett else 48) if horizon is None else horizon
        if min(self.look_back, self.horizon) < 1 or test_samples < 0:
            raise ValueError(
                f"look_back, horizon, test_samples: got {self.look_back}, {self.horizon}, "
                f"{test_samples}; take 1, 1 and 0 or more"
            )
        self.test_samples = test_samples
        length = len(values)
        train_end, test_begin, end = int(length * 0.7), int(length * 0.8), length
        if is_ett:
            train_end, test_begin, end = 12 * _MONTH, 16 * _MONTH, 20 * _MONTH
        span = self.look_back + self.horizon
        if min(train_end, end - test_begin + self.look_back) < span + 10 or end > length:
            raise ValueError(
                f"data: got {length} rows; a look-back of {self.look_back} and a horizon of "
                f"{self.horizon} take {5 * (span + 10)} or more"
            )
        train = values[:train_end]
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = train.mean(0), train.std(0)
        if not (np.isfinite(std).all() and std.any()):
            what = "no column changes" if np.isfinite(std).all() else "numbers are too large"
            raise ValueError(f"data: {what} in the first {train_end} rows, which are to learn from")
        values = (values - mean) / np.where(std > 0, std, 1)
        # The first forecast of the test part may look back into what lies before it.
        self._split = Split(
            self._windows(values[:train_end], None),
            self._windows(values[test_begin - self.look_back : end], test_samples),
            self._windows(values[train_end - self.look_back : test_begin], test_samples or None),
        )
        source = "a membrane current (matplotlib)" if data is None else Path(data).name
        self.about = (
            f"{source}, {values.shape[1]} series, {self.look_back} values to the next "
            f"{self.horizon}, {len(self._split.train)} to learn from, "
            f"{len(self._split.test)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit this data."""
        return Recipe(batch=16, rate=2e-3)

    def split(self) -> Split:
        """In the order of time: learn, choose, judge."""
        return self._split

    def problem(self) -> Problem:
        """The next ``horizon`` values."""
        from tokfrag.compare.problems import Forecast

        return Forecast(self.horizon)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Persistence, and one linear model for all columns."""
        return {
            "persistence": float(np.mean(np.square(split.test.y, dtype=np.float64))),
            "linear model": _linear_error(split),
        }

    def default_cuts(self) -> Sequence[str]:
        """Fragments from 8 values up to all."""
        return ("patch:8", "patch:16/8", "patch:24", "patch:48", "whole")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "80 GFLOP"

    def _windows(self, values: NDArray[np.float64], most: int | None) -> Samples:
        span = self.look_back + self.horizon
        windows = np.lib.stride_tricks.sliding_window_view(values, span, axis=0)
        # Windows of all series that overlap in time are no independent evidence.
        starts = np.repeat(np.arange(len(windows)), windows.shape[1]) // span
        windows = windows.reshape(-1, span)
        if most and len(windows) > most:
            index = np.linspace(0, len(windows) - 1, most).round().astype(int)
            windows, starts = windows[index], starts[index]
        windows = windows.astype(np.float32)
        last = windows[:, self.look_back - 1 : self.look_back]
        return Samples(
            (windows[:, : self.look_back] - last)[:, None],
            windows[:, self.look_back :] - last,
            starts,
        )


def read_csv(path: Path, *, header: str = "auto") -> NDArray[np.float64]:
    """The numeric columns of a CSV file (plain or gzipped), ``(rows, columns)``.

    The first row may hold names and the first column dates; every other cell must be a number.
    Names can be numbers too, such as a sensor's: ``header="auto"`` takes a first row for names
    that has no number, or whole numbers of which each lies far outside its column; ``"yes"`` and
    ``"no"`` say it outright.
    """
    if header not in _HEADERS:
        raise ValueError(f"header: got {header!r}; it takes one of {', '.join(_HEADERS)}")
    reader = csv.reader(StringIO(read_data(path).decode("utf-8-sig", "replace")))
    lines: list[tuple[int, list[str]]] = []
    begin = 1
    try:
        for row in reader:
            lines += [(begin, row)] if row else []
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}: line {begin}: is no CSV: {error}") from None
    named = lines and not any(_is_number(cell) for cell in lines[0][1])
    if header == "yes" or (header == "auto" and named):
        lines = lines[1:]
    if not lines:
        raise ValueError(f"{path}: has no rows of numbers")
    width = len(lines[0][1])
    skip = 0 if _is_number(lines[0][1][0]) else 1
    rows = []
    for number, row in lines:
        if len(row) != width:
            raise ValueError(
                f"{path}: line {number}: got {len(row)} columns, the first had {width}"
            )
        for column, cell in enumerate(row[skip:], skip + 1):
            if not _is_number(cell):
                raise ValueError(
                    f"{path}: line {number}, column {column}: {cell!r} is not a finite number"
                )
        rows.append([float(cell) for cell in row[skip:]])
    if width == skip:
        raise ValueError(
            f"{path}: line {lines[0][0]}: {lines[0][1][0]!r} is not a finite number, and no column "
            "follows it (commas part columns)"
        )
    values = np.array(rows)
    return values[1:] if header == "auto" and not named and _names_in_numbers(values) else values


def _names_in_numbers(values: NDArray[np.float64]) -> bool:
    """Whether the first row looks like numbers that name columns: ids, far from all values."""
    first, rest = values[0], values[1:]
    if len(rest) < 2 or len(first) < 2 or len(np.unique(first)) < len(first):
        return False
    low, high = rest.min(axis=0), rest.max(axis=0)
    beyond = np.maximum(first - high, low - first) > np.maximum(high - low, 1)
    return bool(beyond.all() and (first == np.round(first)).all())


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _membrane() -> NDArray[np.float64]:
    require("matplotlib", purpose="the series data")
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "membrane.dat"
    if not path.is_file():
        raise FileNotFoundError(
            f"data: this matplotlib came without its sample data ({path}); give --data a CSV file"
        )
    return np.fromfile(path, np.float32).astype(np.float64)[:, None]


def _linear_error(split: Split) -> float:
    """The test error of the best linear map from the look-back to the horizon (ridge)."""
    x = split.train.x[:, 0].astype(np.float64)
    square = x.T @ x
    square[np.diag_indices_from(square)] += 1e-3 * np.trace(square) / len(square)
    weight = np.linalg.solve(square, x.T @ split.train.y.astype(np.float64))
    return float(np.mean((split.test.x[:, 0] @ weight - split.test.y) ** 2))
