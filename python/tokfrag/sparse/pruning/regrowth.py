"""Moving non-zeros to where they are worth more (RigL), between optimiser steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.pruning.calibration import call
from tokfrag.sparse.pruning.hooks import hooked
from tokfrag.sparse.pruning.sgd import carry_state

_BLOCK_ROWS = 128


def regrow(
    model: nn.Module,
    fraction: float,
    inputs: Any,
    *,
    loss: Callable[[Any], Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, int]:
    """Drop the smallest values of every ``SparseLinear`` and grow as many by gradient.

    One forward and backward pass over ``inputs`` gives, for each absent weight, the size of the
    gradient it would have; it is computed for 128 rows at a time and only the largest are kept, so
    no dense gradient is ever in memory. Grown values begin at zero.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    fraction : float, 0 to 1
        Share of each layer's non-zeros to move.
    inputs : tensor, tuple or mapping
        A batch: the model's argument, a tuple of arguments, or a mapping of named ones.
    loss : callable, optional
        ``loss(output)``, a scalar; by default the model's output itself is the loss.
    optimizer : torch.optim.Optimizer, optional
        Its state follows the values that stay; grown values begin without history.

    Returns
    -------
    dict of str to int
        How many values moved, by module path.

    Raises
    ------
    ValueError, TypeError
        For a fraction outside [0, 1], a model without sparse layers, or a loss that is no scalar.

    Examples
    --------
    >>> import torch
    >>> model = SparseLinear(32, 16, sparsity=0.5)
    >>> regrow(model, 0.1, torch.randn(8, 32), loss=lambda y: y.square().mean())
    {'': 25}

    Notes
    -----
    Evci et al., "Rigging the Lottery", arXiv 1911.11134.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)):
        raise TypeError(f"fraction: got {fraction!r}, takes a number in [0, 1]")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: got {fraction}, takes a number in [0, 1]")
    layers = {n: m for n, m in model.named_modules() if isinstance(m, SparseLinear)}
    if not layers:
        raise ValueError("model: has no SparseLinear to regrow")
    flows = flows_of(model, layers, inputs, loss)
    masks = {
        path: exchanged(layer, fraction, gradient_sizes(flows[path]))
        for path, layer in layers.items()
    }
    return {path: move(layer, masks[path], optimizer) for path, layer in layers.items()}


Flow = list[tuple[Tensor, Tensor]]
Scores = Callable[[slice], Tensor]


def move(layer: SparseLinear, mask: Tensor, optimizer: torch.optim.Optimizer | None) -> int:
    """Give a layer another mask, and its optimiser's state with it; return how many are new."""
    origin = layer.set_mask(mask)
    if optimizer is not None:
        carry_state(optimizer, layer.values, origin)
    return int((origin < 0).sum())


def flows_of(
    model: nn.Module,
    layers: dict[str, SparseLinear],
    inputs: Any,
    loss: Callable[[Any], Tensor] | None,
) -> dict[str, Flow]:
    """Inputs and output gradients of each layer, a pair a call."""
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {path: [] for path in layers}
    hooks = []
    for path, layer in layers.items():

        def keep(_: nn.Module, args: Any, named: Any, output: Tensor, path: str = path) -> None:
            x = args[0] if args else named["input"]
            calls[path].append((x.detach(), output))

        hooks.append((layer, keep))
    with hooked(hooks, with_kwargs=True), torch.enable_grad():
        output = call(model, inputs)
        value = output if loss is None else loss(output)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError("loss: got no scalar tensor; give loss=, or a model that returns one")
        outputs = [y for pairs in calls.values() for _, y in pairs]
        gradients = torch.autograd.grad(value, outputs, allow_unused=True)
    flows: dict[str, Flow] = {}
    left = iter(gradients)
    for path, pairs in calls.items():
        flows[path] = []
        for x, y in pairs:
            gradient = next(left)
            if gradient is not None:
                flows[path].append((x.reshape(-1, x.shape[-1]), gradient.reshape(-1, y.shape[-1])))
    return flows


def gradient_sizes(flow: Flow) -> Scores | None:
    """The sizes of the gradients of whole rows, from what flows through a layer; None: nothing."""
    if not flow:
        return None
    return lambda rows: torch.stack([g[:, rows].t() @ x for x, g in flow]).sum(0).abs().float()


def exchanged(layer: SparseLinear, fraction: float, scores: Scores | None) -> Tensor:
    """The mask without a share of the smallest values, and with as many others that score most.

    ``scores(rows)`` gives those of some rows, ``(rows, columns)``, none below zero; None: nothing
    moves. Only those of 128 rows are in memory at a time.
    """
    mask = layer.mask
    absent = mask.numel() - layer.nnz
    count = 0 if scores is None else min(int(fraction * layer.nnz), absent)
    if scores is None or count == 0:
        return mask
    device = mask.device
    best_scores = torch.empty(0, device=device)
    best_places = torch.empty(0, dtype=torch.int64, device=device)
    columns = layer.in_features
    for first in range(0, layer.out_features, _BLOCK_ROWS):
        rows = slice(first, first + _BLOCK_ROWS)
        score = scores(rows).masked_fill(mask[rows], -1.0).reshape(-1)
        some, places = score.topk(min(count, len(score)))
        some = torch.cat([best_scores, some])
        places = torch.cat([best_places, places + first * columns])
        best_scores, order = some.topk(min(count, len(some)))
        best_places = places[order]
    grown = best_places[best_scores >= 0]
    weight = layer.dense_weight().detach().abs().masked_fill(~mask, torch.inf).reshape(-1)
    dropped = weight.topk(len(grown), largest=False).indices
    fresh = mask.clone().reshape(-1)
    fresh[dropped] = False
    fresh[grown] = True
    return fresh.view_as(mask)
