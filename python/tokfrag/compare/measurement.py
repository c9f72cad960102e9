"""What training steps and merging cost, measured on a copy of the network."""

from __future__ import annotations

import math
import weakref
from copy import deepcopy
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from tokfrag.compare.batches import Part
from tokfrag.compare.body import Network
from tokfrag.compare.contracts import FittedCut, HasSeams, Problem, Recipe, Split
from tokfrag.compare.facts import StepCost
from tokfrag.compare.layers import Join
from tokfrag.compare.prediction import predict_step
from tokfrag.compare.step import optimiser_of, training_step

# Seconds that timing one training step may take.
_TIMING = 0.1


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


class StepFlops:
    """FLOPs of a training step by the length that its batch is trimmed to.

    Torch's counter is asked at three lengths; between them the cost is the parabola through these,
    which is exact for networks whose cost is at most quadratic in the number of pieces. A step is
    ``times`` that of ``items`` items.
    """

    def __init__(
        self, network: nn.Module, problem: Problem, part: Part, items: int, times: float = 1.0
    ):
        longest = part.longest
        ask = {longest, max(1, longest // 2), max(1, longest // 4)} if part.ragged else {longest}
        if longest > 2 and part.ragged and len(ask) < 3:
            ask |= {2, 3}
        self._at = sorted(ask)
        self._flops = [
            times * count_flops(network, problem, *part.first(items, n)) for n in self._at
        ]

    def at(self, length: int) -> float:
        """FLOPs of a step on a batch of this length."""
        # Lagrange's form: two or three points, or one where nothing is trimmed.
        total = 0.0
        for i, (n, flops) in enumerate(zip(self._at, self._flops, strict=True)):
            factor = 1.0
            for j, other in enumerate(self._at):
                if j != i:
                    factor *= (length - other) / (n - other)
            total += factor * flops
        return total


def count_flops(network: nn.Module, problem: Problem, x: Tensor, y: Tensor) -> float:
    """FLOPs of one training step by torch's counter, on a copy of the network."""
    copy, optimiser = _copy(network, 1e-3)
    with FlopCounterMode(display=False) as counter:
        training_step(copy, problem, optimiser, x, y)
    return float(counter.get_total_flops())


def measure_step(
    network: nn.Module, problem: Problem, part: Part, items: int, recipe: Recipe
) -> StepCost:
    """Cost of one step on the first items, on a copy: the network itself stays as it is."""
    copy, optimiser = _copy(network, recipe.rate)
    x, y = part.first(items, part.longest)
    flops = count_flops(network, problem, x, y)
    weights = sum(p.numel() * p.element_size() for p in copy.parameters())
    # The moments are made by a first step; then gradients are new in every step.
    training_step(copy, problem, optimiser, x, y)
    optimiser.zero_grad(set_to_none=True)
    # Weights and the two running moments of each were there before.
    with LiveBytes(3 * weights) as memory:
        training_step(copy, problem, optimiser, x, y)
    seconds, began = math.inf, perf_counter()
    while seconds == math.inf or (perf_counter() - began < _TIMING and seconds < _TIMING / 3):
        begin = perf_counter()
        training_step(copy, problem, optimiser, x, y)
        seconds = min(seconds, perf_counter() - begin)
    return StepCost(len(x), flops, memory.peak, seconds, predict_step(copy, x))


def measure_items(network: nn.Module, problem: Problem, part: Part, items: int) -> float:
    """Bytes at the peak of a step on ``items`` items, from steps on one and two of them."""
    peaks = []
    for count in (1, min(2, items)):
        copy, optimiser = _copy(network, 1e-3)
        weights = sum(p.numel() * p.element_size() for p in copy.parameters())
        x, y = part.first(count, part.longest)
        with LiveBytes(3 * weights) as memory:
            training_step(copy, problem, optimiser, x, y)
        peaks.append(float(memory.peak))
    return peaks[0] + (peaks[1] - peaks[0]) * (items - 1)


def _copy(network: nn.Module, rate: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    copy = deepcopy(network)
    copy.train()
    return copy, optimiser_of(copy, Recipe(rate=rate))


def merge_seconds(network: nn.Module, n: int, items: int) -> tuple[float, int]:
    """Seconds that joining one batch of pieces takes in the network, and the bytes it reads."""
    join = getattr(network, "join", None)
    # Side by side is how the pieces lie already.
    if not isinstance(network, Network) or not isinstance(join, Join) or join.merge == "concat":
        return 0.0, 0
    x = torch.randn(items, n, network.width, device=next(network.parameters()).device)
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
    train_part: Part,
    split: Split,
    fitted: FittedCut,
) -> tuple[float, int]:
    """Seconds that merging all answers of the training part takes, and the bytes it reads."""
    with torch.no_grad():
        one = network(train_part.inputs[:1])
    outputs = torch.zeros(len(train_part), *one.shape[1:])
    begin = perf_counter()
    problem.merged(outputs, split.train, fitted)
    return perf_counter() - begin, outputs.nbytes
