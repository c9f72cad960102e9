"""Forecasts of a network of sensors: pieces are nodes of a graph, and neighbours see each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.body import GRAPH_KINDS, Body
from tokfrag.compare.contracts import Model, PieceSpec
from tokfrag.compare.problems.answers import Forecast
from tokfrag.fragments import FragmentGrid, fragment_graph


class MeanLayer(nn.Module):
    """A node's vector and the mean over its neighbours, each through a linear map."""

    def __init__(self, width: int, linked: Tensor):
        super().__init__()
        share = linked.float() / linked.sum(1, keepdim=True).clamp(min=1)
        self.register_buffer("share", share, persistent=False)
        self.own = nn.Linear(width, width)
        self.around = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, nodes, width)`` to the same."""
        share: Tensor = self.share  # type: ignore[assignment]
        return x + functional.gelu(self.own(x) + self.around(share @ x))


class GatLayer(nn.Module):
    """Attention over a node's neighbours and itself (Velickovic et al., 1710.10903)."""

    def __init__(self, width: int, heads: int, linked: Tensor):
        super().__init__()
        self.heads = heads
        itself = torch.eye(len(linked), dtype=torch.bool)
        self.register_buffer("apart", ~(linked | itself), persistent=False)
        self.map = nn.Linear(width, width)
        self.listener = nn.Linear(width, heads)
        self.source = nn.Linear(width, heads, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, nodes, width)`` to the same."""
        batch, nodes, width = x.shape
        mapped = self.map(x)
        # Row i weighs the neighbours of node i.
        scores = self.listener(mapped)[:, :, None] + self.source(mapped)[:, None]
        scores = functional.leaky_relu(scores, 0.2).permute(0, 3, 1, 2)
        weights = scores.masked_fill(self.apart, -torch.inf).softmax(-1)  # type: ignore[arg-type]
        values = mapped.view(batch, nodes, self.heads, -1).transpose(1, 2)
        mixed = (weights @ values).transpose(1, 2).reshape(batch, nodes, width)
        return x + functional.gelu(mixed)


class GraphNetwork(nn.Module):
    """Pieces of single sensors in, ``horizon`` numbers a sensor out.

    Parameters
    ----------
    spec
        Pieces in the order of the sensors, each of one sensor.
    sensors, horizon
        How many, and how many numbers for each.
    embed
        The first layer.
    layers
        What mixes neighbours.
    width
        Of a piece's vector.
    """

    def __init__(
        self,
        spec: PieceSpec,
        sensors: int,
        horizon: int,
        embed: nn.Module,
        layers: list[nn.Module],
        width: int,
    ):
        super().__init__()
        self.sensors = sensors
        self.per_sensor = spec.n // sensors
        self.embed = embed
        self.position = nn.Parameter(torch.randn(self.per_sensor, width) * 0.02)
        self.place = nn.Parameter(torch.zeros(sensors, 1, width))
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(self.per_sensor * width, horizon)
        nn.init.zeros_(self.head.weight)

    def forward(self, pieces: Tensor) -> Tensor:
        """``(batch, n, channels, 1, times)`` to ``(batch, sensors * horizon)``."""
        x = self.embed(pieces)
        batch, _, width = x.shape
        x = x.view(batch, self.sensors, self.per_sensor, width) + self.position + self.place
        x = self.norm(self.layers(x.flatten(1, 2)))
        answer: Tensor = self.head(x.reshape(batch, self.sensors, -1))
        return answer.flatten(1)


@dataclass(frozen=True, eq=False)
class ForecastGraph(Forecast):
    """``horizon`` numbers for each sensor of a network, told from fragments that are its nodes.

    Pieces of one sensor are nodes: linked where sensors are, and to the same sensor's pieces before
    and after (:func:`tokfrag.fragments.fragment_graph`). Pieces of several sensors go into the
    model as they are.

    Parameters
    ----------
    linked : (sensors, sensors) bool array
        Row i marks the neighbours that sensor i listens to.
    """

    linked: NDArray[np.bool_] | None = None

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """Graph layers over pieces of single sensors, or the model over other pieces."""
        assert self.linked is not None
        sensors = len(self.linked)
        single = len(spec.shape) == 3 and spec.shape[1] == 1 and spec.n % sensors == 0
        if isinstance(model, Body) and model.kind in GRAPH_KINDS:
            if not single:
                size = "x".join(map(str, spec.shape[1:])) or "single values"
                raise ValueError(
                    f"body {model.kind}: takes pieces of one sensor, such as patch:1x12, got {size}"
                )
            nodes = piece_graph(self.linked, spec.n // sensors)
            layers: list[nn.Module] = [
                MeanLayer(model.width, nodes)
                if model.kind == "mean"
                else GatLayer(model.width, model.heads, nodes)
                for _ in range(model.depth)
            ]
            embed = nn.Sequential(nn.Flatten(2), nn.Linear(spec.units, model.width))
            horizon = self.horizon // sensors
            return GraphNetwork(spec, sensors, horizon, embed, layers, model.width)
        return model(spec, self.horizon)


def piece_graph(linked: NDArray[np.bool_], per_sensor: int) -> Tensor:
    """``(n, n)``: which pieces see each other, ``per_sensor`` in time for each sensor.

    >>> piece_graph(np.array([[0, 1], [0, 0]], bool), 2).int().tolist()
    [[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]]
    """
    sensors = len(linked)
    nodes = np.kron(linked, np.eye(per_sensor, dtype=bool))
    if per_sensor > 1:
        grid = FragmentGrid((sensors, per_sensor), 1)
        sources, targets = fragment_graph(grid, axes=(1,))
        nodes[targets, sources] = True
    return torch.from_numpy(nodes & ~np.eye(len(nodes), dtype=bool))
