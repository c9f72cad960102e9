"""What one training step costs: predicted from the shapes, and measured on a copy of the network.

The formulas are for the shipped body. With M pieces of L units, width d and depth D, in
multiply-adds counted as two operations, forward, a sample:

- embedding a fragment of values: 2 M L d; a look-up costs none;
- ``attention`` (over all pieces): D (24 M d^2 + 4 M^2 d);
- ``inside`` (attention within pieces): M D (24 L d^2 + 4 L^2 d);
- ``conv``: 2 * outputs * kernel * channels of each layer.

Backward costs twice the forward pass, less what the first layer need not hand on.
"""

from __future__ import annotations

import math
import weakref
from copy import deepcopy
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from tokfrag.compare.body import Blocks, EmbedConv, EmbedIds, EmbedInside, Join, Network
from tokfrag.compare.cut import FittedCut
from tokfrag.compare.problems import DenseNetwork, HasSeams, NextPiece, Problem
from tokfrag.compare.task import Split
from tokfrag.compare.training import Recipe, training_step

# Seconds that timing one training step may take.
_TIMING = 0.1


@dataclass(frozen=True)
class StepCost:
    """One training step: FLOPs, seconds, and bytes of tensors alive at the peak."""

    items: int
    flops: float
    peak_bytes: int
    seconds: float
    predicted: Prediction | None = None


@dataclass(frozen=True)
class Prediction:
    """FLOPs and bytes at the peak from the shapes alone, and by which formula.

    ``attention`` are the FLOPs that grow with the square of what attends to each other.
    """

    flops: float
    peak_bytes: float
    attention: float
    formula: str


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are made and still alive while it is on."""

    def __init__(self, known: int = 0):
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = known
        self._storages: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_iter(result):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        self.peak = max(self.peak, self.live)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        self._storages[key] = storage.nbytes()
        self.live += storage.nbytes()
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.live -= self._storages.pop(key)


def measure_step(
    network: nn.Module, problem: Problem, inputs: Tensor, targets: Tensor, recipe: Recipe
) -> StepCost:
    """Cost of one step on the first batch, on a copy: the network itself stays as it is."""
    copy = deepcopy(network)
    copy.train()
    optimiser = torch.optim.AdamW(copy.parameters(), lr=recipe.rate, foreach=True)
    items = min(recipe.batch, len(inputs))
    # Copies: a slice would keep, and count, all of the training part.
    x, y = inputs[:items].clone(), targets[:items].clone()
    with FlopCounterMode(display=False) as counter:
        training_step(copy, problem, optimiser, x, y)
    weights = sum(p.numel() * p.element_size() for p in copy.parameters())
    optimiser.zero_grad(set_to_none=True)
    # Weights and the two running moments of each were there before.
    with LiveBytes(3 * weights) as memory:
        training_step(copy, problem, optimiser, x, y)
    seconds, began = math.inf, perf_counter()
    while seconds == math.inf or (perf_counter() - began < _TIMING and seconds < _TIMING / 3):
        begin = perf_counter()
        training_step(copy, problem, optimiser, x, y)
        seconds = min(seconds, perf_counter() - begin)
    predicted = predict_item(copy, x)
    return StepCost(
        items,
        float(counter.get_total_flops()),
        memory.peak,
        seconds,
        None
        if predicted is None
        else replace(
            predicted,
            flops=predicted.flops * items,
            peak_bytes=4.0 * weights + x.nbytes + predicted.peak_bytes * items,
            attention=predicted.attention * items,
        ),
    )


def predict_item(network: nn.Module, inputs: Tensor) -> Prediction | None:
    """One training item, without the weights; None for a network that is not ours."""
    if isinstance(network, NextPiece) and isinstance(network.body, Network):
        flops, numbers = _network(network.body, inputs)
        width = network.body.norm.normalized_shape[0]
        n, fresh, vocabulary = inputs.shape[1], network.fresh, network.nothing
        flops += 3 * 2 * n * fresh * width * vocabulary
        # Logits, their gradient and the logarithms of the probabilities.
        numbers += 3 * n * fresh * vocabulary
        if fresh > 1:
            unit = network.table.embedding_dim
            flops += 3 * 2 * n * (width * fresh * width + fresh * unit * fresh * width)
            numbers += n * fresh * (3 * width + unit)
        return Prediction(flops, 4.0 * numbers, *_attention(network.body, inputs))
    if isinstance(network, Network) and isinstance(network.mix, (Blocks, nn.Identity)):
        flops, numbers = _network(network, inputs)
        return Prediction(flops, 4.0 * numbers, *_attention(network, inputs))
    if isinstance(network, DenseNetwork):
        flops, numbers = _dense(network, inputs)
        return Prediction(flops, 4.0 * numbers, 0.0, "convolution")
    return None


def _attention(network: Network, inputs: Tensor) -> tuple[float, str]:
    """The training FLOPs of the scores and of what they weigh, and the formula's name."""
    n, width = inputs.shape[1], network.norm.normalized_shape[0]
    if isinstance(network.mix, Blocks):
        return network.mix.depth * 12.0 * n**2 * width, "attention over all pieces"
    if isinstance(network.embed, EmbedInside):
        length = math.prod(inputs.shape[3:])
        depth = network.embed.blocks.depth
        return n * depth * 12.0 * length**2 * width, "attention inside pieces"
    return 0.0, "convolution inside pieces"


def _dense(network: DenseNetwork, inputs: Tensor) -> tuple[float, float]:
    cells = math.prod(inputs.shape[2:])
    weights = [p for p in network.parameters() if p.dim() > 1]
    # The first layer hands no gradient on, so it costs two passes and not three.
    flops = sum(
        (2 if i == 0 else 3) * 2 * cells * weight.numel() for i, weight in enumerate(weights)
    )
    # Each layer's answer; the logits, their logarithms and gradient; one layer's way back.
    classes = weights[-1].shape[0]
    held = sum(weight.shape[0] for weight in weights[:-1])
    return flops, cells * (held + 3 * classes + 2 * weights[-2].shape[0])


def _network(network: Network, inputs: Tensor) -> tuple[float, float]:
    width: int = network.norm.normalized_shape[0]
    n, units = inputs.shape[1], math.prod(inputs.shape[2:])
    embed = network.embed
    flops = numbers = 0.0
    if isinstance(embed, EmbedIds):
        unit = embed.table.embedding_dim
        if units > 1:
            flops += 3 * 2 * n * units * unit * width
        numbers += n * (units * unit * (units > 1) + width)
    elif isinstance(embed, EmbedInside):
        channels, length = inputs.shape[2], math.prod(inputs.shape[3:])
        flops += n * 2 * 2 * length * channels * width
        more = _blocks(embed.blocks, length, width)
        flops, numbers = flops + n * more[0], numbers + n * more[1]
        numbers += n * (3 * length * width + width)
    elif isinstance(embed, EmbedConv):
        more = _convolutions(embed, inputs)
        flops, numbers = flops + more[0], numbers + more[1]
    else:
        # The first layer hands no gradient on, so it costs two passes and not three.
        flops += 2 * 2 * n * units * width
        numbers += n * width
    if isinstance(network.mix, Blocks):
        more = _blocks(network.mix, n, width)
        flops, numbers = flops + more[0], numbers + more[1]
    numbers += n * width
    if network.join is not None and network.head is not None:
        if network.join.merge == "attention":
            flops += 3 * (2 * n * width + 2 * n * width)
        flops += 3 * 2 * network.join.width * network.head.out_features
        numbers += network.join.width + 3 * network.head.out_features
    return flops, numbers


def _blocks(blocks: Blocks, n: int, width: int) -> tuple[float, float]:
    """Blocks over n pieces: training FLOPs, and the numbers that their backward pass needs."""
    flops = 3 * (24 * n * width**2 + 4 * n**2 * width)
    # Two norms, q scaled, k, v, mixed, two residuals (8 n d); q k v (3 n d); the MLP (8 n d);
    # the scores' softmax.
    numbers = 19 * n * width + blocks.heads * n**2
    return blocks.depth * flops, blocks.depth * numbers


def _convolutions(embed: EmbedConv, inputs: Tensor) -> tuple[float, float]:
    n, size = inputs.shape[1], list(inputs.shape[3:])
    flops = numbers = 0.0
    for layer, passes in ((embed.first, 2), (embed.second, 3)):
        weight: Tensor = layer.weight  # type: ignore[assignment]
        cells = math.prod(size)
        flops += passes * 2 * n * cells * weight.numel()
        size = [-(-s // 2) if s > 1 else s for s in size]
        # The positive part, the pooled values, and where they came from (64-bit indices).
        numbers += n * weight.shape[0] * (cells + 3 * math.prod(size))
    flops += 3 * 2 * n * embed.join.in_features * embed.join.out_features
    numbers += 2 * n * embed.join.out_features
    return flops, numbers


def merge_seconds(network: nn.Module, n: int, items: int) -> tuple[float, int]:
    """Seconds that joining one batch of pieces takes in the network, and the bytes it reads."""
    join = getattr(network, "join", None)
    # Side by side is how the pieces lie already.
    if not isinstance(network, Network) or not isinstance(join, Join) or join.merge == "concat":
        return 0.0, 0
    x = torch.randn(items, n, network.norm.normalized_shape[0])
    best = math.inf
    with torch.no_grad():
        for _ in range(3):
            begin = perf_counter()
            join(x, None)
            best = min(best, perf_counter() - begin)
    return best, x.nbytes


def merge_arrays_seconds(
    problem: HasSeams,
    network: nn.Module,
    train_part: tuple[Tensor, Tensor],
    split: Split,
    fitted: FittedCut,
) -> tuple[float, int]:
    """Seconds that merging the answers of the whole training part takes, and the bytes it reads."""
    with torch.no_grad():
        one = network(train_part[0][:1])
    outputs = torch.zeros(len(train_part[0]), *one.shape[1:])
    begin = perf_counter()
    problem.merged(outputs, split.train, fitted)
    return perf_counter() - begin, outputs.nbytes
