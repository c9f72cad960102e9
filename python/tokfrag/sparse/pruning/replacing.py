"""Putting sparse modules where dense ones were: all of them, or, on any error, none."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.attention import SparseMultiheadAttention
from tokfrag.sparse.layers.convolution import SparseConv1d, SparseConv2d
from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.recurrent import SparseGRU, SparseLSTM
from tokfrag.sparse.pruning.pruned import Pruned
from tokfrag.sparse.pruning.sites import Site, is_turned_linear, paths_of

#: What holds the hooks of a module.
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)


def commit(model: nn.Module, plan: Sequence[Pruned], prepared: dict[str, nn.Module]) -> None:
    """Write the weights and exchange the modules: all of them, or, if interrupted, none."""
    modules = {path: model.get_submodule(path) for path in {p.site.path for p in plan}}
    places = {path: paths_of(model, modules[path]) for path in prepared}
    parameters = {
        id(parameter): parameter
        for item in plan
        for name in item.site.parameters
        for parameter in [modules[item.site.path].get_parameter(name)]
    }
    saved = [(parameter, parameter.detach().clone()) for parameter in parameters.values()]
    try:
        for item in plan:
            item.site.assign(model, item.weight, item.shift)
        for path, module in prepared.items():
            for place in places[path]:
                _set(model, place, module)
    except BaseException:
        with torch.no_grad():
            for parameter, values in saved:
                parameter.copy_(values)
        for path in prepared:
            for place in places[path]:
                _set(model, place, modules[path])
        raise


def _set(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def prepare(model: nn.Module, plan: Sequence[Pruned]) -> dict[str, nn.Module]:
    """The sparse modules by path, made before the model is touched.

    Each keeps its module's mode and hooks, and what was frozen stays frozen.
    """
    by_path: dict[str, list[Pruned]] = {}
    for item in plan:
        by_path.setdefault(item.site.path, []).append(item)
    prepared = {}
    for path, items in by_path.items():
        module = model.get_submodule(path)
        fresh = sparse_form(module, items)
        fresh.train(module.training)
        for name in HOOKS:  # the very dictionaries, so that handles still remove from them
            setattr(fresh, name, getattr(module, name))
        prepared[path] = fresh
    return prepared


def sparse_form(module: nn.Module, items: Sequence[Pruned]) -> nn.Module:
    """The sparse module of a dense one, with the masks and weights of its sites."""
    twin = copy.deepcopy(module)
    masks: dict[str, Tensor] = {}
    for item in items:
        item.site.assign_to(twin, item.weight, item.shift)
        parts = item.site.split(item.mask).values()
        names = item.site.names
        if isinstance(module, nn.MultiheadAttention):
            names = (item.site.part,)
        masks.update(zip(names, (part.contiguous() for part in parts), strict=True))
    if isinstance(twin, nn.LSTM):
        return SparseLSTM.from_dense(twin, masks)
    if isinstance(twin, nn.GRU):
        return SparseGRU.from_dense(twin, masks)
    if isinstance(twin, nn.MultiheadAttention):
        return SparseMultiheadAttention.from_dense(twin, masks)
    mask = masks["weight"]
    if isinstance(twin, (nn.Conv1d, nn.Conv2d)):
        kind = SparseConv1d if isinstance(twin, nn.Conv1d) else SparseConv2d
        convolution = kind.from_dense(twin, mask)
        _freeze(convolution.product, twin)
        return convolution
    weight, bias = twin.get_parameter("weight"), getattr(twin, "bias", None)
    linear = SparseLinear.from_weight(weight.t() if is_turned_linear(twin) else weight, bias, mask)
    _freeze(linear, twin)
    return linear


def _freeze(layer: SparseLinear, dense: nn.Module) -> None:
    """Freeze the layer's parameters where the dense module's are frozen."""
    layer.values.requires_grad_(dense.get_parameter("weight").requires_grad)
    bias = getattr(dense, "bias", None)
    if layer.bias is not None and isinstance(bias, Tensor):
        layer.bias.requires_grad_(bias.requires_grad)


def frozen_product(prepared: dict[str, nn.Module], site: Site) -> nn.Module | None:
    """The product of a prepared module that holds a site's matrix, if the module has one alone."""
    module = prepared.get(site.path)
    if isinstance(module, SparseMultiheadAttention):
        return module.get_submodule(f"{site.part}_proj")
    if isinstance(module, (SparseConv1d, SparseConv2d)):
        return module.product
    return module


def products_of(module: nn.Module, site: Site) -> list[SparseLinear]:
    """The products of a sparse form that hold a site's matrix, side by side."""
    if isinstance(module, SparseMultiheadAttention):
        found = [module.get_submodule(f"{site.part}_proj")]
    elif isinstance(module, (SparseConv1d, SparseConv2d)):
        found = [module.product]
    elif isinstance(module, SparseLSTM):
        found = [module.input_products[site.number], module.hidden_products[site.number]]
    elif isinstance(module, SparseGRU):
        sides = module.input_products if site.part.startswith("ih") else module.hidden_products
        found = [sides[site.number]]
    else:
        found = [module]
    return [product for product in found if isinstance(product, SparseLinear)]
