"""Forecast a network of sensors: windows of each sensor's past, and the mean over its neighbours.

Every sensor's series is cut into fragments of the last hour; a sensor's input is its own fragment
and the mean of its neighbours' (one hop of a graph network). Persistence stands beside it: on
traffic an hour's trend gains little over saying that nothing will change.

With ``--card FILE.png``: how long a window? An hour, half of it, a quarter of it are compared, with
the mean over neighbours, and the answer is drawn.

    python examples/sensor_graph.py --speed los_speed.csv.gz --adjacency los_adj.csv.gz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tokfrag import FragmentGrid, extract
from tokfrag.compare import compare
from tokfrag.compare.tasks.sensors import SensorsTask
from tokfrag.compare.tasks.series import read_csv
from tokfrag.fragments import aggregate

AHEAD = 3  # steps to tell, all of them judged: 15 minutes where a step is 5


def made_up_sensors(steps: int, sensors: int) -> tuple[np.ndarray, np.ndarray]:
    """A ring of sensors along which disturbances travel, with noise: ``(steps, sensors)``."""
    rng = np.random.default_rng(0)
    values = np.zeros((steps, sensors))
    for step in range(1, steps):
        upstream = np.roll(values[step - 1], 1)
        values[step] = 0.55 * upstream + 0.4 * values[step - 1] + rng.normal(0, 1, sensors)
    ring = np.eye(sensors, k=1) + np.eye(sensors, k=-1)
    ring[0, -1] = ring[-1, 0] = 1
    return 60 + 3 * values, ring


def edges(adjacency: np.ndarray) -> torch.Tensor:
    """``(2, e)``: from each neighbour to the sensor that listens to it."""
    linked = (adjacency > 0) & ~np.eye(len(adjacency), dtype=bool)
    listeners, neighbours = np.nonzero(linked)
    return torch.from_numpy(np.stack((neighbours, listeners)))


class OneHop(nn.Module):
    """Own past and neighbours' past, each through a linear map, added to the last value."""

    def __init__(self, length: int, width: int, links: torch.Tensor):
        super().__init__()
        self.links = links
        self.layers = nn.Sequential(
            nn.Linear(2 * length, width), nn.ReLU(), nn.Linear(width, AHEAD)
        )

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        """``(batch, sensors, length)`` to ``(batch, sensors, AHEAD)``."""
        last = past[..., -1:]
        around = aggregate(past, self.links, axis=1)
        return last + self.layers(torch.cat((past - last, around - last), -1))


def errors(forecast: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    difference = forecast - truth
    return float(difference.square().mean().sqrt()), float(difference.abs().mean())


def main(arguments: list[str] | None = None) -> dict[str, tuple[float, float]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", type=Path, help="CSV: a row a step, a first one of names or not")
    parser.add_argument("--adjacency", type=Path, help="CSV: a square matrix of weights")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1500, help="of the made-up data")
    parser.add_argument("--card", type=Path, help="compare windows, and draw the answer")
    parser.add_argument("--budget", default="10 GFLOP", help="of a training in that comparison")
    chosen = parser.parse_args(arguments)
    if (chosen.speed is None) != (chosen.adjacency is None):
        parser.error("--speed and --adjacency: give both or neither")
    torch.set_num_threads(1)  # networks as small as this gain nothing from more
    if chosen.card:
        graph = str(chosen.adjacency) if chosen.adjacency else None
        task = SensorsTask(chosen.speed, graph=graph)
        windows = ["patch:1x12", "patch:1x6", "patch:1x3"]
        report = compare(task, windows, budget=chosen.budget, seeds=2)
        print(report.table())
        report.to_card(chosen.card, force=True)
    if chosen.speed:
        values = read_csv(chosen.speed)
        adjacency = read_csv(chosen.adjacency, header="no")
    else:
        values, adjacency = made_up_sensors(chosen.steps, 24)

    length = 12
    apart = int(0.8 * len(values))
    mean, std = values[:apart].mean(), values[:apart].std()
    series = torch.from_numpy((values - mean) / std).float().T[None]  # (1, sensors, steps)
    # Sensors are channels, so that one fragment holds the same hour of all of them.
    grid = FragmentGrid((len(values),), size=length + AHEAD, stride=1, edge="drop")
    windows = extract(series, grid)[0]  # (n, sensors, length + AHEAD)
    past, future = windows[..., :length], windows[..., length:]
    first_test = apart - length - AHEAD + 1
    train, test = slice(0, first_test), slice(apart, None)

    torch.manual_seed(0)
    model = OneHop(length, 64, edges(adjacency))
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(chosen.epochs):
        for batch in torch.randperm(first_test).split(32):
            loss = nn.functional.mse_loss(model(past[train][batch]), future[train][batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        forecast = model(past[test])
    found = {
        "persistence": errors(past[test][..., -1:] * std, future[test] * std),
        "fragments + neighbours": errors(forecast * std, future[test] * std),
    }
    for name, (rmse, mae) in found.items():
        print(f"{name:24} RMSE {rmse:.3f}  MAE {mae:.3f}")
    return found


if __name__ == "__main__":
    main()
