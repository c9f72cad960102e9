"""Pruning a trained model, layer by layer in sequence, against its own dense outputs."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.recurrent import SparseLSTM
from tokfrag.sparse.layers.stored import check_mask, check_sparsity
from tokfrag.sparse.pruning import masks as _masks, sgd as _sgd
from tokfrag.sparse.pruning.refit import Problem, solve
from tokfrag.sparse.pruning.report import LayerReport, SparsityReport
from tokfrag.sparse.pruning.sites import Site, calls_of, evaluation, find_sites, inputs_of

METHODS = ("cd", "admm", "magnitude", "wanda", "sparsegpt", "sgd")
_REFITTED = ("cd", "admm")
# Squares of layer outputs beyond this leave the range of float32 while descending.
_LARGEST = 1e30


def sparsify(
    model: nn.Module,
    calibration: Iterable[Any],
    *,
    sparsity: float = 0.5,
    method: str = "cd",
    target: str = "dense",
    structure: str | None = None,
    masks: Mapping[str, Tensor] | None = None,
    skip: Sequence[str] = (),
    refit: bool | None = None,
    replace: bool = False,
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    steps: int = 200,
    learning_rate: float = 1e-3,
    progress: bool = False,
) -> SparsityReport:
    """Prunes the Linear layers and LSTMs of ``model`` in place.

    Each layer's new weights minimise ``|Xp W' - T|^2``: ``Xp`` are its inputs in the model pruned
    so far, ``T`` its outputs in the dense model (``target="dense"``, so that later layers repair
    what earlier ones lost) or what the dense weights make of ``Xp`` (``"local"``). Only Gram
    matrices are kept, never activations. Work is done on a copy: on any error, Ctrl-C included, the
    model is left as it was.

    Parameters
    ----------
    model
        A model on the CPU. An LSTM of one layer is pruned as one matrix, input and recurrent
        weights side by side; embeddings and norms are left alone.
    calibration
        Batches: the model's argument, a tuple of arguments, or a mapping of named ones.
    sparsity
        Share of zeros in each layer, in [0, 1).
    method
        ``"cd"``: gradual dropping and swapping with coordinate descent between; ``"admm"``: support
        by ADMM, the best at high sparsity and the slowest (an eigendecomposition a layer);
        ``"magnitude"``, ``"wanda"``, ``"sparsegpt"``: as published; ``"sgd"``: training of the
        non-zeros, dropping the smallest on a schedule.
    structure
        None; ``"2:4"`` (two of four along a row, sparsity 0.5); ``"8x1"`` (eight rows together).
    masks
        Bool masks by parameter or module name, instead of choosing: only these layers are pruned.
    skip
        Module paths to leave dense.
    refit
        Whether coordinate descent finishes the values, and biases take up what the outputs' means
        lost; by default for "cd", "admm" and ``masks``.
    replace
        Whether layers become ``SparseLinear`` and ``SparseLSTM``; else zeros stay in place.
    loss, steps, learning_rate
        For ``"sgd"``: ``loss(model, batch)``, by default the distance to the dense model's outputs;
        Adam steps, and their size.

    Returns
    -------
    SparsityReport
        Errors before and after, bytes and time of each layer, and the masks.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range; empty calibration; weights or activations that are NaN or
        infinite (naming the layer); tied weights; layers the calibration does not reach.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Linear(32, 4))
    >>> report = sparsify(model, [torch.randn(64, 16)], sparsity=0.75)
    >>> [(layer.path, layer.sparsity) for layer in report.layers]
    [('0', 0.75), ('1', 0.75)]

    Notes
    -----
    Sources: QuantEase (arXiv 2309.01885) for coordinate descent on a Gram matrix, GPTAQ
    (2504.02692) for the dense target, ALPS (2406.07831), SparseGPT (2301.00774), Wanda
    (2306.11695).
    """
    begin = time.perf_counter()
    _check(model, method, target, structure, sparsity, steps, learning_rate)
    sites = find_sites(model, skip)
    _check_structure(sites, model, structure, sparsity)
    given = _site_masks(sites, model, masks)
    if masks is not None:
        sites = [site for site in sites if site.path in given]
    batches = list(calibration)
    if not batches:
        raise ValueError("calibration: got no batch, takes at least one")
    if replace and sites[0].path == "":
        raise ValueError(
            f"replace: the model itself is the {type(model).__name__}; take "
            "SparseLinear.from_dense or SparseLSTM.from_dense of the pruned layer"
        )
    if refit is None:
        refit = method in _REFITTED or masks is not None

    with evaluation(model):
        calls = calls_of(model, sites, batches)
    sites.sort(key=lambda site: list(calls).index(site.path))
    plan: _sgd.Plan = []
    if method == "sgd":
        plan = _sgd.train(
            model,
            sites,
            batches,
            sparsity=sparsity,
            structure=structure,
            given=given,
            loss=loss,
            steps=steps,
            learning_rate=learning_rate,
            progress=progress,
        )
    else:
        pruned = copy.deepcopy(model)
        with evaluation(model, pruned), tqdm(sites, disable=not progress, unit="layer") as bar:
            for site in bar:
                bar.set_description(site.path)
                started = time.perf_counter()
                problem = _layer_problem(
                    model, pruned, site, batches, calls[site.path], target == "dense", refit
                )
                mask, weight, error = solve(
                    problem, method, sparsity, structure, given.get(site.path), refit
                )
                shift = problem.shift(weight)
                site.assign(pruned, weight, shift)
                elapsed = time.perf_counter() - started
                plan.append((site, mask, weight, shift, error, problem.error(weight), elapsed))
    layers, kept = [], {}
    for site, mask, _, _, start, final, seconds in plan:
        kept.update({key: part.clone() for key, part in site.split(mask).items()})
        layers.append(_layer_report(model, site, mask, start, final, seconds))
    _commit(model, plan, _prepare(model, plan) if replace else {})
    return SparsityReport(method, tuple(layers), kept, time.perf_counter() - begin)


def _commit(model: nn.Module, plan: _sgd.Plan, prepared: dict[str, nn.Module]) -> None:
    """Writes the weights and exchanges the modules: all of them, or, if interrupted, none."""
    modules = {site.path: model.get_submodule(site.path) for site, *_ in plan}
    saved = [
        (getattr(modules[site.path], name), getattr(modules[site.path], name).detach().clone())
        for site, *_ in plan
        for name in site.parameters
    ]
    try:
        for site, _, weight, shift, *_ in plan:
            site.assign(model, weight, shift)
        for path, module in prepared.items():
            _replace(model, path, module)
    except BaseException:
        with torch.no_grad():
            for parameter, values in saved:
                parameter.copy_(values)
        for path in prepared:
            _replace(model, path, modules[path])
        raise


def _layer_problem(
    model: nn.Module,
    pruned: nn.Module,
    site: Site,
    batches: Sequence[Any],
    calls: int,
    dense_target: bool,
    with_bias: bool,
) -> Problem:
    columns = sum(site.widths)
    gram = torch.zeros(columns, columns, dtype=torch.float64)
    both = torch.zeros_like(gram)  # Xd' Xp
    dense = torch.zeros_like(gram)  # Xd' Xd
    total = torch.zeros(columns, dtype=torch.float64)  # of Xp
    dense_total = torch.zeros_like(total)
    count = 0
    for batch in batches:
        x = inputs_of(pruned, site, batch, calls)
        gram += x.t() @ x
        total += x.sum(0, dtype=torch.float64)
        count += len(x)
        if dense_target:
            reference = inputs_of(model, site, batch, calls)
            if reference.shape != x.shape:
                raise ValueError(
                    f"{site.path}: got {tuple(x.shape)} inputs in the pruned model and "
                    f"{tuple(reference.shape)} in the dense one, takes equal shapes"
                )
            both += reference.t() @ x
            dense += reference.t() @ reference
            dense_total += reference.sum(0, dtype=torch.float64)
    if not dense_target:
        both, dense, dense_total = gram.clone(), gram.clone(), total
    weight = site.weight(model)
    wide = weight.double()
    scale = float(((wide @ dense) * wide).sum())
    centred = with_bias and site.bias is not None and count > 0
    if centred:
        gram.addr_(total, total, alpha=-1 / count)
        both.addr_(dense_total, total, alpha=-1 / count)
        dense.addr_(dense_total, dense_total, alpha=-1 / count)
    cross = wide @ both
    energy = float(((wide @ dense) * wide).sum())
    largest = max(float(gram.abs().max()), float(cross.abs().max()), scale)
    if not (largest < _LARGEST and torch.isfinite(cross).all()):
        raise ValueError(
            f"{site.path}: got NaN, infinite or overflowing activations, takes finite ones"
        )
    if not centred:
        return Problem(weight, gram.float(), cross.float(), energy)
    means = (total / count).float(), (wide @ dense_total / count).float()
    return Problem(weight, gram.float(), cross.float(), energy, scale, *means)


def _check(
    model: object,
    method: str,
    target: str,
    structure: str | None,
    sparsity: float,
    steps: int,
    learning_rate: float,
) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, takes a torch.nn.Module")
    for name, value, choices in (
        ("method", method, METHODS),
        ("target", target, ("dense", "local")),
        ("structure", structure, _masks.STRUCTURES),
    ):
        if value not in choices:
            raise ValueError(f"{name}: got {value!r}, takes one of {choices}")
    check_sparsity(sparsity)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: got {steps!r}, takes a positive int")
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"learning_rate: got {learning_rate!r}, takes a positive number")
    for key, parameter in model.named_parameters():
        if parameter.device.type != "cpu":
            raise ValueError(f"{key}: got a parameter on {parameter.device}, takes cpu")


def _check_structure(
    sites: list[Site], model: nn.Module, structure: str | None, sparsity: float
) -> None:
    if structure != "2:4":
        return
    if sparsity != 0.5:
        raise ValueError(f"sparsity: got {sparsity} with structure '2:4', takes 0.5")
    for site in sites:
        for key, width in zip(site.keys, site.widths, strict=True):
            if width % 4:
                raise ValueError(f"{key}: got {width} columns with structure '2:4', takes 4 n")


def _site_masks(
    sites: list[Site], model: nn.Module, masks: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    if masks is None:
        return {}
    left = dict(masks)
    found: dict[str, Tensor] = {}
    for site in sites:
        weight = site.weight(model)
        parts = {}
        for key, part in site.split(weight).items():
            name = key if key in left else site.path if len(site.names) == 1 else None
            if name in left:
                parts[key] = check_mask(
                    left.pop(name), (len(part), part.shape[1]), f"masks[{name!r}]"
                )
        if parts:
            missing = [key for key in site.keys if key not in parts]
            if missing:
                raise ValueError(f"masks: {missing} must come with {sorted(parts)}")
            found[site.path] = torch.cat([parts[key] for key in site.keys], 1).cpu()
    if left:
        raise ValueError(f"masks: got {sorted(left)}, which name no prunable weight of the model")
    return found


def _layer_report(
    model: nn.Module,
    site: Site,
    mask: Tensor,
    before: float | None,
    after: float | None,
    seconds: float,
) -> LayerReport:
    module = model.get_submodule(site.path)
    size = getattr(module, site.names[0]).element_size()
    rows, columns = mask.shape
    kept = int(mask.sum())
    # A value and a byte each, and two bytes for each row of each column chunk.
    chunks = sum(-(-width // 128) for width in site.widths)
    return LayerReport(
        site.path,
        (rows, columns),
        1 - kept / mask.numel(),
        before,
        after,
        mask.numel() * size,
        kept * (size + 1) + 2 * rows * chunks,
        seconds,
    )


def _prepare(model: nn.Module, plan: _sgd.Plan) -> dict[str, nn.Module]:
    """The sparse modules, made before the model is touched."""
    prepared: dict[str, nn.Module] = {}
    for site, mask, weight, shift, *_ in plan:
        module = model.get_submodule(site.path)
        parts = site.split(mask)
        if isinstance(module, nn.LSTM):
            twin = copy.deepcopy(module)
            with torch.no_grad():
                for name, part in zip(site.names, site.split(weight).values(), strict=True):
                    getattr(twin, name).copy_(part)
                if shift is not None and site.bias is not None:
                    getattr(twin, site.bias).add_(shift)
            by_name = dict(zip(site.names, parts.values(), strict=True))
            prepared[site.path] = SparseLSTM.from_dense(twin, by_name)
        else:
            values = weight.to(getattr(module, "weight").dtype)  # noqa: B009
            bias = getattr(module, "bias")  # noqa: B009
            bias = bias if shift is None else bias.detach() + shift.to(bias.dtype)
            prepared[site.path] = SparseLinear.from_weight(values, bias, mask)
        prepared[site.path].train(module.training)
    return prepared


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
