"""Freezing the sparse layers of a model for serving: fewer bytes a weight, the error told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.frozen import GROUP, FrozenSparseLinear, check_group, check_values
from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.recurrent_base import SparseRecurrent
from tokfrag.sparse.pruning.calibration import call, evaluation
from tokfrag.sparse.pruning.hooks import hooked
from tokfrag.sparse.pruning.replacing import HOOKS


@dataclass(frozen=True)
class FrozenReport:
    """One layer that was frozen, or the reason why it was not.

    Attributes
    ----------
    path : str
    values : str
        The dtype its values have now.
    bytes_before, bytes_after : int
        Of values and places.
    error_weight : float
        ``|W' - W|^2 / |W|^2`` of the stored weights, relative: what inputs without correlation
        would see.
    error_output : float or None
        The same of the outputs, bias left out, over the calibration; None without one, or where it
        never reached the layer.
    reason : str
        Why it was left as it was; empty where it was frozen.
    """

    path: str
    values: str
    bytes_before: int
    bytes_after: int
    error_weight: float = 0.0
    error_output: float | None = None
    reason: str = ""


def freeze(
    model: nn.Module,
    calibration: Iterable[Any] | None = None,
    *,
    values: str = "int8",
    group: int = GROUP,
    skip: Sequence[str] = (),
) -> tuple[FrozenReport, ...]:
    """Put :class:`FrozenSparseLinear` where a model has :class:`SparseLinear`, in place.

    Products inside ``SparseMultiheadAttention`` and sparse convolutions are taken too; recurrent
    layers, whose steps read the values themselves, are left and named. Shared layers stay shared,
    hooks stay.

    Parameters
    ----------
    model : torch.nn.Module
        Not itself a SparseLinear: take ``FrozenSparseLinear.from_sparse`` of one.
    calibration : iterable, optional
        Batches, as :func:`sparsify` takes them, to measure the error of the outputs on.
    values, group
        As in :class:`FrozenSparseLinear`.
    skip : sequence of str
        Module paths to leave as they are.

    Returns
    -------
    tuple of FrozenReport
        A row for every sparse product of the model.

    Raises
    ------
    ValueError, TypeError
        For other values or groups, names in ``skip`` that are no sparse layer, weights that are not
        finite; the model is then as it was.

    Examples
    --------
    >>> import torch
    >>> from tokfrag.sparse import SparseLinear
    >>> model = torch.nn.Sequential(SparseLinear(512, 64), torch.nn.ReLU(), SparseLinear(64, 8))
    >>> for row in freeze(model, [torch.randn(32, 512)], skip=["2"]):
    ...     print(row.path, row.values, row.error_output is not None and row.error_output < 1e-4)
    0 int8 True
    2 float32 False
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, takes a torch.nn.Module")
    if isinstance(model, SparseLinear):
        raise ValueError("model: is a SparseLinear, take FrozenSparseLinear.from_sparse")
    check_values(values)
    check_group(group)
    found = dict(_products_of(model))
    paths = [path for places in found.values() for path in places]
    unknown = sorted(set(skip) - set(paths))
    if unknown:
        raise ValueError(f"skip: got {', '.join(unknown)}, which name no sparse layer")
    reasons = {layer: _reason(model, places, skip) for layer, places in found.items()}
    prepared = {
        layer: FrozenSparseLinear.from_sparse(layer, values=values, group=group)
        for layer in found
        if not reasons[layer]
    }
    errors = _output_errors(model, prepared, calibration)
    rows = []
    for layer, places in found.items():
        frozen = prepared.get(layer)
        kind = str((layer if frozen is None else frozen).values.dtype).removeprefix("torch.")
        after = layer.nbytes if frozen is None else frozen.nbytes
        error = 0.0 if frozen is None else weight_error(layer.dense_weight(), frozen)
        row = FrozenReport(
            places[0], kind, layer.nbytes, after, error, errors.get(layer), reasons[layer]
        )
        rows.append(row)
    for layer, frozen in prepared.items():
        _take_hooks(frozen, layer)
        for path in found[layer]:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, frozen)
    return tuple(rows)


def freeze_within(module: nn.Module, values: str, group: int) -> nn.Module:
    """The module with every product frozen that can be; a SparseLinear's frozen form."""
    if isinstance(module, SparseLinear):
        frozen = FrozenSparseLinear.from_sparse(module, values=values, group=group)
        _take_hooks(frozen, module)
        return frozen
    freeze(module, values=values, group=group)
    return module


def is_freezable(dense: nn.Module) -> bool:
    """Whether the sparse form of a dense module can be frozen."""
    return not isinstance(dense, nn.RNNBase)


def round_to(weight: Tensor, mask: Tensor, values: str, group: int) -> Tensor:
    """A weight as it will be stored, in its own dtype; zero where the mask is false."""
    frozen = FrozenSparseLinear(weight, None, mask, values=values, group=group)
    return frozen.dense_weight().to(weight.dtype)


def _take_hooks(frozen: FrozenSparseLinear, layer: SparseLinear) -> None:
    for name in HOOKS:  # the very dictionaries, so that handles still remove from them
        setattr(frozen, name, getattr(layer, name))


def weight_error(weight: Tensor, frozen: FrozenSparseLinear) -> float:
    """``|W' - W|^2 / |W|^2``; 0 of nothing."""
    exact = weight.detach().double()
    size = exact.square().sum().item()
    off = (frozen.dense_weight().double() - exact).square().sum().item()
    return off / size if size else 0.0


def _products_of(model: nn.Module) -> Iterator[tuple[SparseLinear, list[str]]]:
    """Each sparse product and every path to it."""
    paths: dict[SparseLinear, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, SparseLinear):
            paths.setdefault(module, []).append(path)
    yield from paths.items()


def _reason(model: nn.Module, places: Sequence[str], skip: Sequence[str]) -> str:
    """Why a product stays as it is; empty where it can be frozen."""
    if set(places) & set(skip):
        return "in skip"
    for place in places:
        parts = place.split(".")
        for end in range(len(parts)):
            if isinstance(model.get_submodule(".".join(parts[:end])), SparseRecurrent):
                return "a recurrent layer reads its values at each step"
    return ""


def _output_errors(
    model: nn.Module,
    prepared: dict[SparseLinear, FrozenSparseLinear],
    calibration: Iterable[Any] | None,
) -> dict[SparseLinear, float]:
    """Relative squared errors of the outputs, bias left out, in the model as it is."""
    if calibration is None:
        return {}
    sums = {layer: [0.0, 0.0] for layer in prepared}

    def compare(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(layer, SparseLinear)
        bias = 0 if layer.bias is None else layer.bias
        exact = (output - bias).double()
        frozen = prepared[layer]
        rounded = (frozen(args[0].to(_input_dtype(frozen, args[0]))) - bias).double()
        sums[layer][0] += (rounded - exact).square().sum().item()
        sums[layer][1] += exact.square().sum().item()

    hooks = [(layer, compare) for layer in prepared]
    with hooked(hooks, prepend=True), evaluation(model):
        for batch in calibration:
            call(model, batch)
    return {layer: off / size for layer, (off, size) in sums.items() if size}


def _input_dtype(frozen: FrozenSparseLinear, x: Tensor) -> torch.dtype:
    return x.dtype if frozen.scales is not None else frozen.values.dtype
