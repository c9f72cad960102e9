"""Running a model over calibration batches, and keeping what flows into a site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.pruning.hooks import hooked
from tokfrag.sparse.pruning.sites import Site


def call(model: nn.Module, batch: Any) -> Any:
    """Call a model: a batch is its argument, a tuple of arguments, or a mapping of named ones."""
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

    def put_back() -> None:
        torch.backends.mha.set_fastpath_enabled(fast)
        for state in states:
            for module, training in state:
                module.training = training

    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for model in models:
            model.eval()
        with torch.no_grad():
            yield
    finally:
        try:
            put_back()
        except KeyboardInterrupt:  # put back all the same
            put_back()
            raise


def calls_of(
    model: nn.Module, sites: Sequence[Site], batches: Sequence[Any]
) -> dict[str, list[int]]:
    """How often each site's module runs for each batch, in the order they first run.

    Raises ValueError with the names of all that no batch reaches, such as experts without tokens.
    """
    paths = {id(model.get_submodule(site.path)): site.path for site in sites}
    counts: dict[str, list[int]] = {}
    number = 0

    def count(module: nn.Module, *_: Any) -> None:
        counts.setdefault(paths[id(module)], [0] * len(batches))[number] += 1

    modules = [model.get_submodule(path) for path in dict.fromkeys(site.path for site in sites)]
    with hooked((module, count) for module in modules):
        for number, batch in enumerate(batches):  # noqa: B007 (the hook reads it)
            call(model, batch)
    missing = [path for path in dict.fromkeys(site.path for site in sites) if path not in counts]
    if missing:
        layers = "this layer (name it" if len(missing) == 1 else "these layers (name them"
        raise ValueError(f"{', '.join(missing)}: the calibration never reaches {layers} in skip)")
    return counts


def inputs_of(model: nn.Module, site: Site, batch: Any, calls: int | None) -> Tensor | None:
    """The inputs of a site for one batch: float32 ``(positions, columns)``; None where none.

    The pass ends after so many ``calls``; without a number it runs to its end.
    """
    seen: list[Tensor] = []
    module = model.get_submodule(site.path)

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x = site.tap(module, args, kwargs, output)
        seen.append(x.detach().reshape(-1, x.shape[-1]).float())
        if len(seen) == calls:
            raise _Enough

    with suppress(_Enough), hooked([(module, keep)], with_kwargs=True):
        call(model, batch)
    if not seen:
        return None
    x = torch.cat(seen)
    if x.shape[1] != sum(site.widths):
        raise ValueError(
            f"{site.name}: got inputs of {x.shape[1]} features, takes {sum(site.widths)}"
        )
    return x
