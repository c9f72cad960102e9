"""How sparse each matrix becomes: one share for all, by name, by a rule, or from one budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.stored import check_sparsity
from tokfrag.sparse.pruning.calibration import inputs_of
from tokfrag.sparse.pruning.sites import Site
from tokfrag.sparse.pruning.structures import Grouped, Structure

Rule = Callable[[str, nn.Module], "float | None"]
Sparsity = float | Mapping[str, float] | Rule | str

GLOBAL = "global"
_DEFAULT = 0.5
# A budget is spread in these shares; the errors between are taken from a straight line.
_LEVELS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


def check(sparsity: object) -> None:
    """Refuse what is no share of zeros, no mapping, no rule and no budget."""
    if isinstance(sparsity, str):
        budget_of(sparsity)
    elif isinstance(sparsity, Mapping):
        for name, share in sparsity.items():
            check_sparsity(share, f"sparsity[{name!r}]")
    elif not callable(sparsity):
        check_sparsity(sparsity)  # type: ignore[arg-type]


def budget_of(sparsity: str) -> float:
    """The share of all weights that ``"global"`` or ``"global:0.8"`` makes zero."""
    name, _, share = sparsity.partition(":")
    try:
        if name == GLOBAL:
            return check_sparsity(float(share) if share else _DEFAULT)
    except ValueError:
        pass  # refused below, with the whole string in the message
    raise TypeError(
        f"sparsity: got {sparsity!r}, takes a number in [0, 1), a mapping, a rule, 'global' or "
        "'global:0.8'"
    )


def shares_of(
    sparsity: Sparsity,
    model: nn.Module,
    sites: Sequence[Site],
    structure: Structure | None,
    batches: Sequence[Any],
    calls: Mapping[str, Sequence[int]],
) -> dict[str, float | None]:
    """The share of zeros of each site by name; None leaves it dense."""
    if isinstance(structure, Grouped):
        shares = _by_name(sparsity, model, sites)
        fixed = structure.sparsity
        wrong = [s for s in shares.values() if s not in (None, _DEFAULT) and abs(s - fixed) > 1e-9]
        if wrong:
            form = f"{structure.n}:{structure.m}"
            raise ValueError(f"sparsity: got {wrong[0]} with structure {form!r}, takes {fixed:g}")
        return {name: None if share is None else fixed for name, share in shares.items()}
    if isinstance(sparsity, str):
        return _spread(budget_of(sparsity), model, sites, batches, calls)
    return _by_name(sparsity, model, sites)


def _by_name(
    sparsity: Sparsity, model: nn.Module, sites: Sequence[Site]
) -> dict[str, float | None]:
    if isinstance(sparsity, str):
        return dict.fromkeys((site.name for site in sites), _DEFAULT)
    if isinstance(sparsity, Mapping):
        left = set(sparsity)
        shares: dict[str, float | None] = {}
        for site in sites:
            names = [name for name in (site.name, site.path, *site.keys) if name in sparsity]
            left.difference_update((site.name, site.path, *site.keys))
            shares[site.name] = float(sparsity[names[0]]) if names else None
        if left:
            raise ValueError(f"sparsity: got {sorted(left)}, which name no prunable layer")
        return shares
    if callable(sparsity):
        found: dict[str, float | None] = {}
        for site in sites:
            share = sparsity(site.name, model.get_submodule(site.path))
            found[site.name] = (
                None if share is None else check_sparsity(share, f"sparsity({site.name!r})")
            )
        return found
    return dict.fromkeys((site.name for site in sites), float(sparsity))


def _spread(
    budget: float,
    model: nn.Module,
    sites: Sequence[Site],
    batches: Sequence[Any],
    calls: Mapping[str, Sequence[int]],
) -> dict[str, float | None]:
    """Shares that make ``budget`` of all weights zero at the least sum of relative errors.

    For each matrix the error of its outputs is measured at some levels, with the weights dropped
    that cost least by ``w_j^2 G_jj``; then, step by step, the matrix goes one level on whose error
    grows least for each weight that goes.
    """
    errors, sizes = {}, {}
    for site in sites:
        weight = site.weight(model)
        errors[site.name] = _errors(weight, _gram(model, site, batches, calls[site.path]))
        sizes[site.name] = weight.numel()
    level = dict.fromkeys(errors, 0)
    goal = budget * sum(sizes.values())
    reached = 0.0
    shares: dict[str, float | None] = dict.fromkeys(errors, 0.0)
    while reached < goal:
        costs = {}
        for name, at in level.items():
            if at + 1 < len(_LEVELS):
                dropped = (_LEVELS[at + 1] - _LEVELS[at]) * sizes[name]
                costs[name] = (errors[name][at + 1] - errors[name][at]) / dropped
        if not costs:
            raise ValueError(f"sparsity: got 'global:{budget}', takes at most {_LEVELS[-1]}")
        name = min(costs, key=lambda key: costs[key])
        step = (_LEVELS[level[name] + 1] - _LEVELS[level[name]]) * sizes[name]
        part = min(1.0, (goal - reached) / step)
        shares[name] = _LEVELS[level[name]] + part * step / sizes[name]
        reached += part * step
        level[name] += 1
    return shares


def _gram(model: nn.Module, site: Site, batches: Sequence[Any], calls: Sequence[int]) -> Tensor:
    columns = sum(site.widths)
    gram = torch.zeros(columns, columns, dtype=torch.float64)
    for batch, count in zip(batches, calls, strict=True):
        x = inputs_of(model, site, batch, count) if count else None
        if x is not None:
            gram += x.t() @ x
    return gram


def _errors(weight: Tensor, gram: Tensor) -> list[float]:
    """Relative squared errors of the outputs at each level."""
    wide = weight.double()
    energy = max(float(((wide @ gram) * wide).sum()), 1e-300)
    order = (wide.square() * gram.diagonal()).reshape(-1).argsort()
    errors = []
    for share in _LEVELS:
        lost = torch.zeros_like(wide).reshape(-1)
        places = order[: round(share * wide.numel())]
        lost[places] = wide.reshape(-1)[places]
        lost = lost.view_as(wide)
        errors.append(float(((lost @ gram) * lost).sum()) / energy)
    return errors
