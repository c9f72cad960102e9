"""The weights of a model that can be pruned, and what flows into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Site:
    """One matrix to prune: a Linear's weight, or an LSTM's two weights side by side."""

    path: str
    names: tuple[str, ...]  # parameter names inside the module
    widths: tuple[int, ...]  # columns of each
    bias: str | None = None  # the parameter that can take up a shift of the outputs' mean

    @property
    def keys(self) -> list[str]:
        return [f"{self.path}.{name}" if self.path else name for name in self.names]

    def weight(self, model: nn.Module) -> Tensor:
        """The matrix ``(rows, columns)``, a copy in float32."""
        module = model.get_submodule(self.path)
        return torch.cat([getattr(module, name).detach().float() for name in self.names], 1)

    def split(self, matrix: Tensor) -> dict[str, Tensor]:
        """A matrix of this site by parameter key."""
        return dict(zip(self.keys, torch.split(matrix, list(self.widths), 1), strict=True))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all that pruning may change."""
        return self.names if self.bias is None else (*self.names, self.bias)

    def assign(self, model: nn.Module, matrix: Tensor, shift: Tensor | None = None) -> None:
        """Writes the weights; adds ``shift`` to the bias."""
        module = model.get_submodule(self.path)
        with torch.no_grad():
            if shift is not None and self.bias is not None:
                getattr(module, self.bias).add_(shift)
            for name, part in zip(
                self.names, torch.split(matrix, list(self.widths), 1), strict=True
            ):
                getattr(module, name).copy_(part)


def find_sites(model: nn.Module, skip: Sequence[str]) -> list[Site]:
    """Every Linear and LSTM, those under ``skip`` left out; refuses what cannot be pruned."""
    names = {name for name, _ in model.named_modules()}
    if isinstance(skip, str) or not all(isinstance(entry, str) for entry in skip):
        raise TypeError(f"skip: got {skip!r}, takes a sequence of module paths")
    unknown = [entry for entry in skip if entry not in names]
    if unknown:
        raise ValueError(f"skip: got {unknown}, which name no module of the model")
    owned = [id(p) for m in model.modules() for p in m.parameters(recurse=False)]

    def bias_of(module: nn.Module, name: str) -> str | None:
        bias = getattr(module, name, None)
        return name if isinstance(bias, Tensor) and owned.count(id(bias)) == 1 else None

    sites = []
    for path, module in model.named_modules():
        if any(path == entry or path.startswith(f"{entry}.") for entry in skip):
            continue
        if type(module) is nn.Linear:
            sites.append(Site(path, ("weight",), (module.in_features,), bias_of(module, "bias")))
        elif type(module) is nn.LSTM:
            if module.num_layers > 1 or module.bidirectional or module.proj_size:
                raise ValueError(
                    f"{path or 'model'}: got an LSTM with num_layers={module.num_layers}, "
                    f"bidirectional={module.bidirectional}, proj_size={module.proj_size}; takes "
                    f"one layer, one direction, no projection (or name it in skip)"
                )
            widths = (module.input_size, module.hidden_size)
            bias = bias_of(module, "bias_ih_l0")
            sites.append(Site(path, ("weight_ih_l0", "weight_hh_l0"), widths, bias))
    if not sites:
        raise ValueError("model: has no torch.nn.Linear or torch.nn.LSTM to prune")
    _refuse_shared(model, sites)
    for site in sites:
        module = model.get_submodule(site.path)
        for name, key in zip(site.names, site.keys, strict=True):
            weight = getattr(module, name)
            if not weight.dtype.is_floating_point:
                raise TypeError(f"{key}: got {weight.dtype}, takes a floating-point dtype")
            if not torch.isfinite(weight).all():
                raise ValueError(f"{key}: got NaN or infinite weights, takes finite ones")
    return sites


def _refuse_shared(model: nn.Module, sites: list[Site]) -> None:
    owners: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(f"{path}.{name}" if path else name)
    for site in sites:
        module = model.get_submodule(site.path)
        for name in site.names:
            shared = owners[id(getattr(module, name))]
            if len(shared) > 1:
                raise ValueError(
                    f"{' and '.join(shared)} are one tied weight, which cannot be sparse in one "
                    f"place and dense in another; name {site.path!r} in skip"
                )


def call(model: nn.Module, batch: Any) -> Any:
    """A batch is the model's argument, a tuple of arguments, or a mapping of named ones."""
    if isinstance(batch, Mapping):
        return model(**batch)
    if isinstance(batch, (tuple, list)):
        return model(*batch)
    return model(batch)


class _Enough(Exception):
    """Ends a forward pass whose remaining layers are not needed."""


@contextmanager
def evaluation(*models: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, no fused attention that would bypass hooks; all put back."""
    states = [[(m, m.training) for m in model.modules()] for model in models]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for model in models:
            model.eval()
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for state in states:
            for module, training in state:
                module.training = training


def calls_of(model: nn.Module, sites: Sequence[Site], batches: Sequence[Any]) -> dict[str, int]:
    """How often each site's module runs for one batch, in the order they first run."""
    counts: dict[str, int] = {}
    paths = {id(model.get_submodule(site.path)): site.path for site in sites}

    def count(module: nn.Module, *_: Any) -> None:
        path = paths[id(module)]
        counts[path] = counts.get(path, 0) + 1

    hooks = [model.get_submodule(site.path).register_forward_hook(count) for site in sites]
    try:
        call(model, batches[0])
    finally:
        for hook in hooks:
            hook.remove()
    for site in sites:
        if site.path not in counts:
            raise ValueError(
                f"{site.path}: the calibration never reaches this layer (name it in skip)"
            )
    return counts


def inputs_of(model: nn.Module, site: Site, batch: Any, calls: int) -> Tensor:
    """What flows into a site for one batch: float32 ``(positions, columns)``."""
    seen: list[Tensor] = []
    module = model.get_submodule(site.path)

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x = args[0] if args else kwargs["input"]
        if isinstance(module, nn.LSTM):
            state = args[1] if len(args) > 1 else kwargs.get("hx")
            x = _lstm_inputs(module, x, state, output)
        seen.append(x.detach().reshape(-1, x.shape[-1]).float())
        if len(seen) == calls:
            raise _Enough

    hook = module.register_forward_hook(keep, with_kwargs=True)
    try:
        call(model, batch)
    except _Enough:
        pass
    finally:
        hook.remove()
    if not seen:
        raise ValueError(f"{site.path}: a calibration batch does not reach this layer")
    x = torch.cat(seen)
    if x.shape[1] != sum(site.widths):
        raise ValueError(
            f"{site.path}: got inputs of {x.shape[1]} features, takes {sum(site.widths)}"
        )
    return x


def _lstm_inputs(module: nn.LSTM, x: Tensor, state: Any, output: Any) -> Tensor:
    """Inputs and previous hidden states side by side."""
    if not isinstance(x, Tensor):
        raise ValueError("an LSTM in the model is called with a PackedSequence; takes a tensor")
    y = output[0]
    axis = 1 if module.batch_first and x.ndim == 3 else 0
    first = torch.zeros_like(y.narrow(axis, 0, 1))
    if state is not None:
        first = state[0].transpose(0, axis).reshape(first.shape) if axis else state[0]
        first = first.reshape(y.narrow(axis, 0, 1).shape)
    before = torch.cat([first, y.narrow(axis, 0, y.shape[axis] - 1)], axis)
    return torch.cat([x, before], -1)
