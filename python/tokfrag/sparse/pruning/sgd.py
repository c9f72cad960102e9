"""Pruning by training: only the non-zeros are trained, and the smallest are dropped on the way."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag._progress import progress_bar
from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.pruning import masks
from tokfrag.sparse.pruning.calibration import call
from tokfrag.sparse.pruning.pruned import Pruned
from tokfrag.sparse.pruning.replacing import products_of, sparse_form
from tokfrag.sparse.pruning.sites import Site, paths_of
from tokfrag.sparse.pruning.structures import Grouped, Structure

# Sparsity rises over the first part of the steps, at this many moments; the rest mends.
_RAMP = 0.7
_DROPS = 10


@dataclass(frozen=True)
class Options:
    """The options of training, as :func:`sparsify` takes them."""

    structure: Structure | None
    given: Mapping[str, Tensor]
    loss: Callable[[nn.Module, Any], Tensor] | None
    steps: int
    learning_rate: float
    progress: bool


def carry_state(optimizer: torch.optim.Optimizer, parameter: Tensor, origin: Tensor) -> None:
    """Move an optimiser's state of a 1-D parameter to its new places (-1: begins at zero)."""
    state = optimizer.state.get(parameter, {})
    for name, tensor in list(state.items()):
        if isinstance(tensor, Tensor) and tensor.ndim == 1 and len(tensor):
            state[name] = torch.where(origin >= 0, tensor[origin.clamp(min=0)], 0)


def _distance(model: nn.Module, dense: nn.Module, batch: Any) -> Tensor:
    """Mean squared distance of the outputs, over every tensor of them."""
    with torch.no_grad():
        expected = call(dense, batch)
    pairs = zip(_tensors(call(model, batch)), _tensors(expected), strict=True)
    terms = [nn.functional.mse_loss(got, want) for got, want in pairs]
    return torch.stack(terms).sum()


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output] if output.dtype.is_floating_point else []
    if isinstance(output, dict):
        return [tensor for part in output.values() for tensor in _tensors(part)]
    if isinstance(output, (tuple, list)):
        return [tensor for part in output for tensor in _tensors(part)]
    return []


def train(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Any],
    shares: Mapping[str, float],
    options: Options,
) -> list[Pruned]:
    """Weights and masks after some steps of Adam on a copy; the model itself is not touched."""
    begin = time.perf_counter()
    student, layers = _student(model, sites, options.given)
    values = [layer.values for group in layers.values() for layer in group]
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    for parameter in values:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(values, lr=options.learning_rate)
    dense = copy.deepcopy(model).eval()
    drops = _drop_schedule(options.steps)
    loss = options.loss
    with progress_bar(options.steps, "sparsify", "step", options.progress) as advance:
        for step in range(options.steps):
            if step in drops and not options.given:
                final = drops[step] == 1
                for name, group in layers.items():
                    level = 1 - (1 - shares[name]) ** drops[step]
                    _drop(group, optimizer, level, options.structure, final=final)
            batch = batches[step % len(batches)]
            optimizer.zero_grad()
            value = _distance(student, dense, batch) if loss is None else loss(student, batch)
            if not torch.isfinite(value):
                raise ValueError(f"loss: got {value.item()} at step {step}, takes finite values")
            torch.autograd.backward(value)
            optimizer.step()
            advance(1)
    seconds = (time.perf_counter() - begin) / len(sites)
    plan = []
    for site in sites:
        group = layers[site.name]
        weight = torch.cat([layer.dense_weight().detach().float() for layer in group], 1)
        mask = torch.cat([layer.mask for layer in group], 1)
        plan.append(Pruned(site, mask, weight, seconds=seconds))
    return plan


def _student(
    model: nn.Module, sites: Sequence[Site], given: Mapping[str, Tensor]
) -> tuple[nn.Module, dict[str, list[SparseLinear]]]:
    """A copy of the model with sparse modules, and the products of each site by its name."""
    student = copy.deepcopy(model)
    by_path: dict[str, list[Site]] = {}
    for site in sites:
        by_path.setdefault(site.path, []).append(site)
    layers: dict[str, list[SparseLinear]] = {}
    for path, group in by_path.items():
        module = student.get_submodule(path)
        items = []
        for site in group:
            weight = site.weight(model)
            mask = given.get(site.name, torch.ones_like(weight, dtype=torch.bool))
            items.append(Pruned(site, mask, weight))
        fresh = sparse_form(module, items)
        fresh.train(module.training)
        for place in paths_of(student, module):
            if not place:
                student = fresh
                continue
            parent, _, name = place.rpartition(".")
            setattr(student.get_submodule(parent), name, fresh)
        for site in group:
            layers[site.name] = products_of(fresh, site)
    return student, layers


def _drop_schedule(steps: int) -> dict[int, float]:
    last = max(0, int(steps * _RAMP) - 1)
    moments = {round(last * i / (_DROPS - 1)): (i + 1) / _DROPS for i in range(_DROPS)}
    moments[last] = 1.0
    return moments


def _drop(
    group: Sequence[SparseLinear],
    optimizer: torch.optim.Optimizer,
    level: float,
    structure: Structure | None,
    *,
    final: bool,
) -> None:
    if isinstance(structure, Grouped) and not final:
        return  # has one sparsity only, reached at the last drop
    scores = [layer.dense_weight().detach().abs() for layer in group]
    widths = [part.shape[1] for part in scores]
    mask = masks.select(torch.cat(scores, 1), level, structure)
    for layer, part in zip(group, torch.split(mask, widths, 1), strict=True):
        origin = layer.set_mask(part.contiguous())
        carry_state(optimizer, layer.values, origin)
