"""The matrices of a model that can be pruned, and why others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tokfrag.sparse.pruning.taps import (
    Tap,
    attention_argument,
    attention_mixture,
    first_argument,
    recurrent_inputs,
    windows,
)


@dataclass(frozen=True)
class Site:
    """One matrix to prune: a parameter, rows of one, or two side by side."""

    path: str
    names: tuple[str, ...]  # parameter names inside the module
    widths: tuple[int, ...]  # columns of each
    bias: str | None = None  # the parameter that can take up a shift of the outputs' mean
    tap: Tap = first_argument
    part: str = ""  # which matrix of the module, where it has several
    rows: slice = field(default_factory=lambda: slice(None))  # of the parameters and the bias
    turned: bool = False  # the parameter lies as (columns, rows)
    number: int = 0  # of the layer and direction, in a recurrent network

    @property
    def name(self) -> str:
        """The matrix by name: the module's path, and its part."""
        return ".".join(piece for piece in (self.path, self.part) if piece)

    @property
    def keys(self) -> list[str]:
        """The parameters by their names in the model."""
        return [f"{self.path}.{name}" if self.path else name for name in self.names]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all that pruning may change."""
        return self.names if self.bias is None else (*self.names, self.bias)

    def weight(self, model: nn.Module) -> Tensor:
        """The matrix ``(rows, columns)``, a copy in float32."""
        module = model.get_submodule(self.path)
        return self.matrix([module.get_parameter(name).detach() for name in self.names]).float()

    def matrix(self, parts: Sequence[Tensor]) -> Tensor:
        """Tensors of the parameters' shapes as one matrix."""
        lying = [part.t() if self.turned else part[self.rows].flatten(1) for part in parts]
        return torch.cat(lying, 1)

    def split(self, matrix: Tensor) -> dict[str, Tensor]:
        """A matrix of this site by parameter key."""
        return dict(zip(self.keys, torch.split(matrix, list(self.widths), 1), strict=True))

    def put(self, part: Tensor, into: Tensor) -> None:
        """Write a part of the matrix into a tensor of its parameter's shape."""
        view = into.t() if self.turned else into[self.rows]
        view.copy_(part.reshape(view.shape))

    def assign(self, model: nn.Module, matrix: Tensor, shift: Tensor | None = None) -> None:
        """Write the weights; add ``shift`` to the bias."""
        self.assign_to(model.get_submodule(self.path), matrix, shift)

    def assign_to(self, module: nn.Module, matrix: Tensor, shift: Tensor | None) -> None:
        """Write the weights of the module itself; add ``shift`` to the bias."""
        with torch.no_grad():
            if shift is not None and self.bias is not None:
                module.get_parameter(self.bias)[self.rows].add_(shift)
            parts = torch.split(matrix, list(self.widths), 1)
            for name, part in zip(self.names, parts, strict=True):
                self.put(part, module.get_parameter(name))


def find_sites(
    model: nn.Module, skip: Sequence[str]
) -> tuple[list[Site], dict[str, str], dict[str, str]]:
    """Every matrix to prune, why each other module stays dense, and what modules with sites keep.

    Modules under ``skip`` are left out; weights that cannot be pruned are refused.
    """
    paths: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(id(module), []).append(path)
    _check_skip(skip, {path for group in paths.values() for path in group})
    sites: list[Site] = []
    reasons: dict[str, str] = {}
    remarks: dict[str, str] = {}
    within: dict[str, str] = {}  # modules that belong to another's sites
    for path, module in model.named_modules():
        if path in within:
            reasons[path] = within[path]
        elif any(_lies_in(name, skip) for name in paths[id(module)]):
            reasons[path] = "named in skip"
        else:
            found = _sites_of(model, path, module)
            if isinstance(found, str):
                reasons[path] = found
                continue
            sites += found
            if isinstance(module, nn.MultiheadAttention):
                within[f"{path}.out_proj" if path else "out_proj"] = f"part of {path or 'model'}"
            if isinstance(module, nn.LSTM) and module.proj_size:
                remarks[path] = "weight_hr stays dense: its inputs do not leave the layer"
    if not sites:
        raise ValueError(
            "model: has no torch.nn.Linear or torch.nn.LSTM to prune, nor another layer that "
            "sparsify knows"
        )
    _refuse_shared(model, sites)
    for site in sites:
        for key in site.keys:
            weight = model.get_parameter(key)
            if not weight.dtype.is_floating_point:
                raise TypeError(f"{key}: got {weight.dtype}, takes a floating-point dtype")
            if not torch.isfinite(weight).all():
                raise ValueError(f"{key}: got NaN or infinite weights, takes finite ones")
    return sites, reasons, remarks


def _lies_in(path: str, skip: Sequence[str]) -> bool:
    return any(path == entry or path.startswith(f"{entry}.") for entry in skip)


def _check_skip(skip: Sequence[str], names: set[str]) -> None:
    if isinstance(skip, str) or not all(isinstance(entry, str) for entry in skip):
        raise TypeError(f"skip: got {skip!r}, takes a sequence of module paths")
    unknown = [entry for entry in skip if entry not in names]
    if unknown:
        raise ValueError(f"skip: got {unknown}, which name no module of the model")


def _sites_of(model: nn.Module, path: str, module: nn.Module) -> list[Site] | str:
    """The sites of one module, or why it has none."""
    own = list(module.parameters(recurse=False))
    known = _is_known(module)
    if known:
        _refuse_made_weights(path, module)
    if not own:
        return "has no weights of its own"
    if not known:
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            return "a table has no inputs to fit it to; SparseEmbedding.from_dense takes a mask"
        if all(parameter.ndim < 2 for parameter in own):
            return "has no matrix"
        return f"{type(module).__name__} is no layer that sparsify knows"
    if isinstance(module, (nn.LSTM, nn.GRU)):
        return _recurrent_sites(model, path, module)
    if isinstance(module, nn.MultiheadAttention):
        return _attention_sites(model, path, module)
    bias = _own_bias(model, module, "bias")
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        if module.groups != 1:
            return f"a convolution of {module.groups} groups; takes one"
        width = module.weight[0].numel()
        return [Site(path, ("weight",), (width,), bias, windows)]
    turned = not isinstance(module, nn.Linear)
    weight = module.get_parameter("weight")
    return [Site(path, ("weight",), (weight.shape[0 if turned else 1],), bias, turned=turned)]


def is_turned_linear(module: nn.Module) -> bool:
    """Whether a module is the Conv1D of transformers: ``x W + b`` with W ``(inputs, outputs)``."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


def _is_known(module: nn.Module) -> bool:
    """Whether the module runs the forward of a layer whose inputs can be told."""
    if parametrize.is_parametrized(module):
        kind = type(module).__mro__[1]
    else:
        kind = type(module)
    layers = (nn.Linear, nn.LSTM, nn.GRU, nn.Conv1d, nn.Conv2d, nn.MultiheadAttention)
    if any(issubclass(kind, layer) and kind.forward is layer.forward for layer in layers):
        return True
    return is_turned_linear(module)


def _refuse_made_weights(path: str, module: nn.Module) -> None:
    """Refuse weights that are computed before each call: to write them would change nothing."""
    place = path or "model"
    remedy = f"take that away first, or name {path!r} in skip"
    if parametrize.is_parametrized(module):
        made = {
            name: [type(step).__name__.lstrip("_") for step in steps]
            for name, steps in module.parametrizations.items()  # type: ignore[union-attr,operator]
        }
        raise ValueError(
            f"{place}: got a parametrisation, {made}, takes plain weights: {remedy} "
            "(torch.nn.utils.parametrize.remove_parametrizations)"
        )
    for hook in module._forward_pre_hooks.values():
        kind = type(hook)
        if kind.__module__ == "torch.nn.utils.prune":
            raise ValueError(
                f"{place}: got a weight under the mask of torch.nn.utils.prune, takes plain "
                f"weights: {remedy} (torch.nn.utils.prune.remove)"
            )
        if kind.__name__ in ("WeightNorm", "SpectralNorm"):
            norm = "weight_norm" if kind.__name__ == "WeightNorm" else "spectral_norm"
            raise ValueError(
                f"{place}: got a weight made by torch.nn.utils.{norm}, takes plain weights: "
                f"{remedy} (torch.nn.utils.remove_{norm})"
            )


def _own_bias(model: nn.Module, module: nn.Module, name: str) -> str | None:
    """The bias by name, where it is this module's alone."""
    bias = getattr(module, name, None)
    if not isinstance(bias, Tensor):
        return None
    owners = sum(p is bias for m in model.modules() for p in m.parameters(recurse=False))
    return name if owners == 1 else None


def _recurrent_sites(model: nn.Module, path: str, module: nn.LSTM | nn.GRU) -> list[Site]:
    directions = 2 if module.bidirectional else 1
    count = module.num_layers * directions
    sites = []
    for number in range(count):
        suffix = f"l{number // directions}{'_reverse' if number % directions else ''}"
        names = f"weight_ih_{suffix}", f"weight_hh_{suffix}"
        widths = tuple(module.get_parameter(name).shape[1] for name in names)
        biases = [_own_bias(model, module, f"bias_{part}_{suffix}") for part in ("ih", "hh")]
        if isinstance(module, nn.LSTM):
            tap = recurrent_inputs(number, "both")
            part = suffix if count > 1 else ""
            sites.append(Site(path, names, widths, biases[0], tap, part, number=number))
            continue
        for side, name, width, bias in zip(("ih", "hh"), names, widths, biases, strict=True):
            tap = recurrent_inputs(number, side)
            part = f"{side}_{suffix}"
            sites.append(Site(path, (name,), (width,), bias, tap, part, number=number))
    return sites


def _attention_sites(
    model: nn.Module, path: str, module: nn.MultiheadAttention
) -> list[Site] | str:
    if module.bias_k is not None or module.add_zero_attn:
        return "attention with add_bias_kv or add_zero_attn, which sparse attention has not"
    size = module.embed_dim
    packed = module.in_proj_weight is not None
    bias = _own_bias(model, module, "in_proj_bias")
    sites = []
    for number, part in enumerate("qkv"):
        rows = slice(number * size, (number + 1) * size)
        name = "in_proj_weight" if packed else f"{part}_proj_weight"
        width = module.get_parameter(name).shape[1]
        # Apart, the weights' rows do not match the rows of the one bias.
        own = bias if packed else None
        tap, where = attention_argument(number), rows if packed else slice(None)
        sites.append(Site(path, (name,), (width,), own, tap, part, where))
    out = module.out_proj
    own = "out_proj.bias" if _own_bias(model, out, "bias") else None
    sites.append(Site(path, ("out_proj.weight",), (size,), own, attention_mixture, "out"))
    return sites


def _refuse_shared(model: nn.Module, sites: list[Site]) -> None:
    owners: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(f"{path}.{name}" if path else name)
    for site in sites:
        for key in site.keys:
            shared = owners[id(model.get_parameter(key))]
            if len(shared) > 1:
                raise ValueError(
                    f"{' and '.join(shared)} are one tied weight, which cannot be sparse in one "
                    f"place and dense in another; name {site.path!r} in skip"
                )


def paths_of(model: nn.Module, module: nn.Module) -> list[str]:
    """Every path that leads to a module."""
    found: Any = model.named_modules(remove_duplicate=False)
    return [path for path, other in found if other is module]
