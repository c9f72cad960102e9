"""Sensors: forecast a network of sensors, whose neighbours are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.tasks.series import read_csv


class SensorsTask:
    """A made-up ring of sensors, or the user's series with an adjacency matrix.

    A sample is the last `look_back` values of all sensors, as (values less the last one, the last
    one) on a grid of sensors and times; what is told is the next `horizon` values of each, in the
    data's own units. Made up: disturbances that travel along the ring, with noise. ``data``: a CSV
    with a row a step and a column a sensor; ``graph``: a CSV of the square matrix of weights, in
    which row i marks the neighbours that sensor i listens to. The last fifth is for judging, the
    tenth before it to choose on. ``measure`` is ``MAE`` or ``MSE``.
    """

    name = "sensors"

    def __init__(
        self,
        data: Path | None = None,
        *,
        graph: str | None = None,
        look_back: int = 12,
        horizon: int = 3,
        measure: str = "MAE",
        header: str = "auto",
    ):
        if data is None:
            values, weights = _ring(1200, 16)
            source = "a made-up ring of 16 sensors"
        elif graph is None:
            raise ValueError("graph: got none; --set graph=PATH names a CSV of neighbours' weights")
        else:
            values = read_csv(Path(data), header=header)
            weights, source = read_csv(Path(graph), header="no"), Path(data).name
        sensors = values.shape[1]
        if weights.shape != (sensors, sensors):
            raise ValueError(
                f"graph: got a matrix of {weights.shape[0]} x {weights.shape[1]} for {sensors} "
                "sensors"
            )
        if look_back < 2 or horizon < 1:
            raise ValueError(
                f"look_back, horizon: got {look_back}, {horizon}; take 2 and 1 or more"
            )
        self.linked = (weights != 0) & ~np.eye(sensors, dtype=bool)
        self.look_back, self.horizon, self.measure = look_back, horizon, measure
        length = len(values)
        apart, judged = int(length * 0.7), int(length * 0.8)
        if judged - apart < look_back + horizon:
            raise ValueError(
                f"data: got {length} rows; a look-back of {look_back} and a horizon of {horizon} "
                f"take {10 * (look_back + horizon) + 5} or more"
            )
        self.scale = float(values[:apart].std()) or 1.0
        self.centre = float(values[:apart].mean())
        self._split = Split(
            self._windows(values[:apart]),
            self._windows(values[judged:]),
            self._windows(values[apart:judged]),
        )
        self.about = (
            f"{source}, {int(self.linked.sum())} links, {look_back} values to the next {horizon}, "
            f"{len(self._split.train)} windows to learn from, {len(self._split.test)} to be "
            "judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit whole networks as samples."""
        return Recipe(batch=16, rate=3e-3, width=32)

    @property
    def body(self) -> str:
        """The mean over neighbours, where nobody names another body."""
        return "mean"

    def split(self) -> Split:
        """In the order of time: learn, choose, judge."""
        return self._split

    def problem(self) -> Problem:
        """The next values of all sensors."""
        from tokfrag.compare.problems import ForecastGraph

        horizon = self.horizon * len(self.linked)
        return ForecastGraph(horizon, self.measure, scale=self.scale, linked=self.linked)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Persistence; and one linear model of a sensor's own past for all sensors."""
        own = _own_past(split)
        persistence = split.test.y

        def error(difference: NDArray[np.float64]) -> float:
            return float(np.mean(np.abs(difference) if self.measure == "MAE" else difference**2))

        return {"persistence": error(persistence), "linear model, own past": error(own)}

    def default_cuts(self) -> Sequence[str]:
        """A sensor's past at once, and in two, three or four fragments."""
        half = max(1, self.look_back // 2)
        third, quarter = max(1, self.look_back // 3), max(1, self.look_back // 4)
        sizes = dict.fromkeys((self.look_back, half, third, quarter))
        return (*(f"patch:1x{s}" for s in sizes), f"patch:1x{half}/1x{quarter}")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "25 GFLOP"

    def _windows(self, values: NDArray[np.float64]) -> Samples:
        span = self.look_back + self.horizon
        windows = np.lib.stride_tricks.sliding_window_view(values, span, axis=0)
        past, future = windows[..., : self.look_back], windows[..., self.look_back :]
        last = past[..., -1:]
        level = np.broadcast_to(last - self.centre, past.shape)
        x = np.stack((past - last, level), 1) / self.scale
        # Windows that overlap in time are no independent evidence.
        groups = np.arange(len(windows)) // span
        return Samples(x.astype(np.float32), (future - last).astype(np.float64), groups)


def _own_past(split: Split) -> NDArray[np.float64]:
    """What the best linear map from a sensor's own past leaves of the test part's values."""
    channels = split.train.x.shape[1]

    def rows(part: Samples) -> NDArray[np.float64]:
        flat = part.x.transpose(0, 2, 1, 3).reshape(-1, channels * part.x.shape[3])
        return np.concatenate((flat, np.ones((len(flat), 1))), 1).astype(np.float64)

    x, wanted = rows(split.train), split.train.y.reshape(-1, split.train.y.shape[-1])
    square = x.T @ x
    square[np.diag_indices_from(square)] += 1e-6 * np.trace(square) / len(square)
    weight = np.linalg.solve(square, x.T @ wanted)
    left: NDArray[np.float64] = (
        split.test.y.reshape(-1, wanted.shape[1]) - rows(split.test) @ weight
    )
    return left


def _ring(steps: int, sensors: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    values = np.zeros((steps, sensors))
    for step in range(1, steps):
        upstream = np.roll(values[step - 1], 1)
        values[step] = 0.55 * upstream + 0.4 * values[step - 1] + rng.normal(0, 1, sensors)
    ring = np.eye(sensors, k=1) + np.eye(sensors, k=-1)
    ring[0, -1] = ring[-1, 0] = 1
    return 60 + 3 * values, ring
