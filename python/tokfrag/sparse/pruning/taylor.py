"""How much the outputs of each layer matter to a loss, from one backward pass a batch.

To second order, and with the curvature taken from squared gradients, an error ``e[t, r]`` of a
layer's output costs ``(g[t, r] e[t, r])^2``, with g the loss' gradient there. A layer's least
squares keeps one Gram matrix for all rows if ``g^2`` is split into a weight a line and one a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.pruning.hooks import hooked
from tokfrag.sparse.pruning.sites import Site, is_turned_linear

# Rows that matter less than this part of the mean row count as if they mattered so much.
_LEAST = 2.0**-20


@dataclass(frozen=True)
class Emphasis:
    """How much the lines and rows of a layer's outputs matter; both are one on average.

    ``lines``: ``(positions,)`` float32 for each batch; ``roots``: ``(rows,)``, the square roots of
    the rows' weights, rounded to powers of two, so that scaling by them loses no bit.
    """

    lines: list[Tensor]
    roots: Tensor


def emphasis_of(
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Any],
    loss: Callable[[nn.Module, Any], Tensor],
) -> dict[str, Emphasis]:
    """The emphasis of every site whose module gives its product as it is, by the site's name.

    Raises ValueError where the loss is no finite scalar or does not depend on such a layer.
    """
    seen = {site.path: site for site in sites if _gives_product(model.get_submodule(site.path))}
    lines: dict[str, list[Tensor]] = {path: [] for path in seen}
    rows: dict[str, Tensor] = {}
    for batch in batches:
        for path, gradients in _gradients(model, list(seen), batch, loss).items():
            squares = [g.detach().double().square() for g in gradients]
            square = torch.cat(squares) if squares else torch.zeros(0, 1, dtype=torch.float64)
            lines[path].append(square.sum(1))
            if len(square):
                rows[path] = rows.get(path, 0) + square.sum(0)
    found = {}
    for path, site in seen.items():
        total = rows[path].sum() if path in rows else torch.zeros(())
        if not (torch.isfinite(total) and total > 0):
            raise ValueError(
                f"loss: got gradients of zero, NaN or infinity at {path or 'the model'}, takes a "
                "loss that depends on every layer (name others in skip)"
            )
        count = sum(map(len, lines[path]))
        share = (rows[path] / total * len(rows[path])).clamp(min=_LEAST)
        found[site.name] = Emphasis(
            [(part / total * count).float() for part in lines[path]],
            torch.exp2((share.log2() / 2).round()).float(),
        )
    return found


def _gives_product(module: nn.Module) -> bool:
    """Whether a module's output is the product of its site, a line a position."""
    return isinstance(module, nn.Linear) or is_turned_linear(module)


def _gradients(
    model: nn.Module,
    paths: Sequence[str],
    batch: Any,
    loss: Callable[[nn.Module, Any], Tensor],
) -> dict[str, list[Tensor]]:
    """The loss' gradients ``(positions, rows)`` at the modules' outputs, one for each call."""
    outputs: list[Tensor] = []
    owners: list[str] = []

    def keep(path: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            if not output.requires_grad:
                output = output.detach().requires_grad_()
            outputs.append(output)
            owners.append(path)
            return output.clone()  # what follows may write into it

        return hook

    hooks = [(model.get_submodule(path), keep(path)) for path in paths]
    with hooked(hooks), torch.enable_grad():
        value = loss(model, batch)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError("loss: got no scalar tensor, takes one")
        if not torch.isfinite(value):
            raise ValueError(f"loss: got {value.item()}, takes finite values")
        found: Sequence[Tensor | None] = [None] * len(outputs)
        if value.requires_grad:
            found = torch.autograd.grad(value, outputs, allow_unused=True)
    gradients: dict[str, list[Tensor]] = {path: [] for path in paths}
    for path, output, gradient in zip(owners, outputs, found, strict=True):
        whole = torch.zeros_like(output) if gradient is None else gradient
        gradients[path].append(whole.reshape(-1, whole.shape[-1]))
    return gradients
