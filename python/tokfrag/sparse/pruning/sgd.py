"""Pruning by training: only the non-zeros are trained, and the smallest are dropped on the way."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.recurrent import SparseLSTM
from tokfrag.sparse.pruning import masks as _masks
from tokfrag.sparse.pruning.sites import Site, call

# Sparsity rises over the first part of the steps, at this many moments; the rest mends.
_RAMP = 0.7
_DROPS = 10

# For each site: mask, weights, shift of the bias, errors before and after, seconds.
Plan = list[tuple[Site, Tensor, Tensor, Tensor | None, float | None, float | None, float]]


def carry_state(optimizer: torch.optim.Optimizer, parameter: Tensor, origin: Tensor) -> None:
    """Moves an optimiser's state of a 1-D parameter to its new places (-1: begins at zero)."""
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
    *,
    sparsity: float,
    structure: str | None,
    given: dict[str, Tensor],
    loss: Callable[[nn.Module, Any], Tensor] | None,
    steps: int,
    learning_rate: float,
    progress: bool,
) -> Plan:
    """Weights and masks after ``steps`` of Adam on a copy; the model itself is not touched."""
    begin = time.perf_counter()
    student = copy.deepcopy(model)
    layers: dict[str, list[SparseLinear]] = {}
    for site in sites:
        module = student.get_submodule(site.path)
        layers[site.path] = []
        everywhere = torch.ones_like(site.weight(model), dtype=torch.bool)
        mask = given.get(site.path, everywhere)
        fresh: nn.Module
        if isinstance(module, nn.LSTM):
            parts = [part.clone() for part in site.split(mask).values()]
            fresh = SparseLSTM.from_dense(module, dict(zip(site.names, parts, strict=True)))
            products = [fresh.input_products[0], fresh.hidden_products[0]]
            layers[site.path] = [p for p in products if isinstance(p, SparseLinear)]
        else:
            bias = getattr(module, "bias", None)
            fresh = SparseLinear.from_weight(module.weight, bias, mask)  # type: ignore[arg-type]
            layers[site.path] = [fresh]
        fresh.train(module.training)
        if site.path:
            parent, _, name = site.path.rpartition(".")
            setattr(student.get_submodule(parent), name, fresh)
        else:
            student = fresh
    values = [layer.values for group in layers.values() for layer in group]
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    for parameter in values:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(values, lr=learning_rate)
    dense = copy.deepcopy(model).eval()
    drops = _drop_schedule(steps)
    with tqdm(range(steps), disable=not progress, unit="step") as bar:
        for step in bar:
            if step in drops and not given:
                level = 1 - (1 - sparsity) ** drops[step]
                for group in layers.values():
                    _drop(group, optimizer, level, structure, final=drops[step] == 1)
            batch = batches[step % len(batches)]
            optimizer.zero_grad()
            value = _distance(student, dense, batch) if loss is None else loss(student, batch)
            if not torch.isfinite(value):
                raise ValueError(f"loss: got {value.item()} at step {step}, takes finite values")
            torch.autograd.backward(value)
            optimizer.step()
            bar.set_postfix(loss=value.item())
    seconds = (time.perf_counter() - begin) / len(sites)
    plan: Plan = []
    for site in sites:
        group = layers[site.path]
        weight = torch.cat([layer.dense_weight().detach().float() for layer in group], 1)
        mask = torch.cat([layer.mask for layer in group], 1)
        plan.append((site, mask, weight, None, None, None, seconds))
    return plan


def _drop_schedule(steps: int) -> dict[int, float]:
    last = max(0, int(steps * _RAMP) - 1)
    moments = {round(last * i / (_DROPS - 1)): (i + 1) / _DROPS for i in range(_DROPS)}
    moments[last] = 1.0
    return moments


def _drop(
    group: Sequence[SparseLinear],
    optimizer: torch.optim.Optimizer,
    level: float,
    structure: str | None,
    *,
    final: bool,
) -> None:
    if structure == "2:4" and not final:
        return  # has one sparsity only, reached at the last drop
    scores = [layer.dense_weight().detach().abs() for layer in group]
    widths = [part.shape[1] for part in scores]
    mask = _masks.select(torch.cat(scores, 1), level, structure)
    for layer, part in zip(group, torch.split(mask, widths, 1), strict=True):
        origin = layer.set_mask(part.contiguous())
        carry_state(optimizer, layer.values, origin)
