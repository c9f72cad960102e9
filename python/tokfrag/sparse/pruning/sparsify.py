"""Pruning a trained model, layer by layer in sequence, against its own dense outputs."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from tokfrag._progress import progress_bar
from tokfrag.sparse.layers.frozen import GROUP, check_group, check_values
from tokfrag.sparse.layers.stored import check_mask
from tokfrag.sparse.pruning import budget, sgd
from tokfrag.sparse.pruning.calibration import calls_of, evaluation
from tokfrag.sparse.pruning.freezing import freeze_within, is_freezable, round_to
from tokfrag.sparse.pruning.problems import layer_problem
from tokfrag.sparse.pruning.pruned import Pruned
from tokfrag.sparse.pruning.refit import solve
from tokfrag.sparse.pruning.replacing import commit, frozen_product, prepare
from tokfrag.sparse.pruning.report import (
    SparsityReport,
    layer_report,
    masks_of,
    module_reports,
)
from tokfrag.sparse.pruning.sites import Site, find_sites
from tokfrag.sparse.pruning.structures import Grouped, Structure, parse
from tokfrag.sparse.pruning.taylor import Emphasis, emphasis_of

METHODS = ("cd", "admm", "magnitude", "wanda", "sparsegpt", "sgd")
_REFITTED = ("cd", "admm")


def sparsify(
    model: nn.Module,
    calibration: Iterable[Any],
    *,
    sparsity: budget.Sparsity = 0.5,
    method: str = "cd",
    target: str = "dense",
    objective: str = "outputs",
    structure: str | None = None,
    masks: Mapping[str, Tensor] | None = None,
    skip: Sequence[str] = (),
    refit: bool | None = None,
    replace: bool = False,
    values: str | None = None,
    group: int = GROUP,
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    steps: int = 200,
    learning_rate: float = 1e-3,
    progress: bool = False,
) -> SparsityReport:
    """Prune the layers of ``model`` in place.

    Taken are Linear and its subclasses that keep its forward, the Conv1D of transformers, Conv1d
    and Conv2d of one group, LSTM, GRU and MultiheadAttention; the report says of every other module
    why it stayed dense.

    Each layer's new weights minimise ``|Xp W' - T|^2``: ``Xp`` are its inputs in the model pruned
    so far, ``T`` its outputs in the dense model (``target="dense"``, so that later layers repair
    what earlier ones lost) or what the dense weights make of ``Xp`` (``"local"``). Only Gram
    matrices are kept, never activations. Work is done on a copy: on any error, Ctrl-C included, the
    model is left as it was.

    Parameters
    ----------
    model : torch.nn.Module
        A model on the CPU. A layer of an LSTM is pruned as one matrix, input and recurrent weights
        side by side; attention as four, a GRU's layer as two. Embeddings and norms are left alone.
    calibration : iterable
        Batches: the model's argument, a tuple of arguments, or a mapping of named ones.
    sparsity : float, mapping, callable or str
        Share of zeros in [0, 1): of each layer; by module or parameter name, what is not named
        stays dense; what a rule ``(name, module) -> share or None`` gives; or ``"global"``
        (``"global:0.8"``): half (0.8) of all weights, spread so that the layers' errors, as
        measured on the calibration data, add up to least.
    method : str
        ``"cd"``: gradual dropping and swapping with coordinate descent between; ``"admm"``: support
        by ADMM, the best at high sparsity and the slowest (an eigendecomposition a layer);
        ``"magnitude"``, ``"wanda"``, ``"sparsegpt"``: as published; ``"sgd"``: training of the
        non-zeros, dropping the smallest on a schedule.
    target : {"dense", "local"}
        See above. A layer whose tokens are not the same in both models, as experts behind a
        router, takes "local", and the report says so.
    objective : {"outputs", "taylor"}
        Whether errors of all outputs count alike, or by the square of the gradient of ``loss``
        there in the dense model, split into a weight a token and one an output: what an error
        costs the loss, to second order. Layers other than Linear and Conv1D of transformers, whose
        products do not leave them as they are, take "outputs", and the report says so.
    structure : str, optional
        ``"n:m"`` (n of every m along a row, which fixes the sparsity); ``"rxc"`` (r rows of c
        columns together).
    masks : mapping, optional
        Bool masks by parameter or module name, instead of choosing: only these layers are pruned.
    skip : sequence of str
        Module paths to leave dense.
    refit : bool, optional
        Whether coordinate descent finishes the values, and biases take up what the outputs' means
        lost; by default for "cd", "admm" and ``masks``.
    replace : bool
        Whether layers become sparse ones (``SparseLinear`` and so on), under every path that leads
        to them, with their mode and hooks, frozen where they were; else zeros stay in place.
    values : str, optional
        With ``replace``: the layers are frozen with values of this dtype, as :func:`freeze` does it
        (``"int8"``: codes with a scale for each ``group`` columns). Weights are rounded as they are
        found, so that later layers repair that too. Recurrent layers keep theirs.
    group : int
        See ``values``.
    loss : callable, optional
        ``loss(model, batch)``, a scalar. For ``"sgd"``, by default the distance to the dense
        model's outputs; ``objective="taylor"`` needs one, and batches with what it asks for.
    steps, learning_rate : int, float
        For ``"sgd"``: Adam's steps, and their size.
    progress : bool
        Whether a bar shows how far it is.

    Returns
    -------
    SparsityReport
        Errors before and after, bytes and time of each layer, a row for every module, and the
        masks.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range; empty calibration; weights or activations that are NaN or
        infinite (naming the layer); tied weights; weights that a parametrisation makes; layers the
        calibration does not reach.

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
    shape = _check(model, method, target, structure, sparsity, steps, learning_rate)
    _check_objective(objective, method, loss)
    _check_values(values, group, replace)
    sites, reasons, remarks = find_sites(model, skip)
    _check_structure(sites, shape, structure)
    given = _site_masks(sites, model, masks)
    if masks is not None:
        reasons |= {site.path: "not in masks" for site in sites if site.name not in given}
        sites = [site for site in sites if site.name in given]
    batches = list(calibration)
    if not batches:
        raise ValueError("calibration: got no batch, takes at least one")
    if replace and sites[0].path == "":
        raise ValueError(
            f"replace: the model itself is the {type(model).__name__}; take from_dense of its "
            "sparse class (SparseLinear.from_dense, SparseLSTM.from_dense, ...) on the pruned layer"
        )
    if refit is None:
        refit = method in _REFITTED or masks is not None

    shares: dict[str, float | None] = dict.fromkeys((site.name for site in sites), 0.0)
    with evaluation(model):
        if masks is None and not isinstance(sparsity, str):
            shares = budget.shares_of(sparsity, model, sites, shape, batches, {})
            reasons |= {s.path: "not in sparsity" for s in sites if shares[s.name] is None}
            sites = [site for site in sites if shares[site.name] is not None]
            if not sites:
                raise ValueError("sparsity: leaves every layer dense, takes a share for one")
        calls = calls_of(model, sites, batches)
        if masks is None and isinstance(sparsity, str):
            shares = budget.shares_of(sparsity, model, sites, shape, batches, calls)
    order = list(calls)
    sites.sort(key=lambda site: order.index(site.path))
    wanted = {name: share for name, share in shares.items() if share is not None}
    if method == "sgd":
        options = sgd.Options(shape, given, loss, steps, learning_rate, progress)
        plan = sgd.train(model, sites, batches, wanted, options)
    else:
        plan = []
        pruned = copy.deepcopy(model)
        with (
            evaluation(model, pruned),
            progress_bar(len(sites), "sparsify", "layer", progress) as advance,
        ):
            emphasis: dict[str, Emphasis] = {}
            if objective == "taylor" and loss is not None:
                emphasis = emphasis_of(model, sites, batches, loss)
            for site in sites:
                started = time.perf_counter()
                own = emphasis.get(site.name)
                problem, remark = layer_problem(
                    model,
                    pruned,
                    site,
                    batches,
                    calls[site.path],
                    dense_target=target == "dense",
                    with_bias=refit,
                    emphasis=own,
                )
                if objective == "taylor" and own is None:
                    remark = "; ".join(filter(None, (remark, "objective outputs: product unseen")))
                mask, weight, error = solve(
                    problem, method, wanted[site.name], shape, given.get(site.name), refit
                )
                after = problem.error(weight)
                roots = None if own is None else own.roots[:, None]  # of the problem's rows
                error_stored = None
                if values is not None and is_freezable(model.get_submodule(site.path)):
                    exact = weight if roots is None else weight / roots
                    rounded = round_to(exact, mask, values, group)
                    weight = rounded if roots is None else rounded * roots
                    error_stored = problem.error(weight)
                shift = problem.shift(weight)
                if roots is not None:
                    weight = weight / roots
                    shift = None if shift is None else shift / roots[:, 0]
                site.assign(pruned, weight, shift)
                seconds = time.perf_counter() - started
                found = Pruned(
                    site, mask, weight, shift, error, after, seconds, remark, error_stored
                )
                plan.append(found)
                advance(1)
    prepared = prepare(model, plan) if replace else {}
    if values is not None:
        prepared = {path: freeze_within(m, values, group) for path, m in prepared.items()}
    layers = tuple(layer_report(model, item, frozen_product(prepared, item.site)) for item in plan)
    kept = masks_of(model, plan)
    rows = module_reports(model, plan, kept, reasons, remarks)
    commit(model, plan, prepared)
    return SparsityReport(method, layers, kept, time.perf_counter() - begin, rows)


def _check(
    model: object,
    method: str,
    target: str,
    structure: str | None,
    sparsity: object,
    steps: int,
    learning_rate: float,
) -> Structure | None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, takes a torch.nn.Module")
    for name, value, choices in (
        ("method", method, METHODS),
        ("target", target, ("dense", "local")),
    ):
        if value not in choices:
            raise ValueError(f"{name}: got {value!r}, takes one of {choices}")
    budget.check(sparsity)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: got {steps!r}, takes a positive int")
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"learning_rate: got {learning_rate!r}, takes a positive number")
    for key, parameter in model.named_parameters():
        if parameter.device.type != "cpu":
            raise ValueError(f"{key}: got a parameter on {parameter.device}, takes cpu")
    return parse(structure)


def _check_values(values: str | None, group: int, replace: bool) -> None:
    if values is None:
        return
    check_values(values)
    check_group(group)
    if not replace:
        raise ValueError(f"values: got {values!r} with replace=False, takes replace=True")


def _check_objective(
    objective: str, method: str, loss: Callable[[nn.Module, Any], Tensor] | None
) -> None:
    if objective not in ("outputs", "taylor"):
        raise ValueError(f"objective: got {objective!r}, takes one of ('outputs', 'taylor')")
    if objective == "taylor" and method == "sgd":
        raise ValueError("objective: got 'taylor' with method 'sgd', which has no layer problem")
    if objective == "taylor" and loss is None:
        raise ValueError("loss: got None with objective 'taylor', takes loss(model, batch)")


def _check_structure(sites: list[Site], shape: Structure | None, structure: str | None) -> None:
    if not isinstance(shape, Grouped):
        return
    for site in sites:
        for key, width in zip(site.keys, site.widths, strict=True):
            if width % shape.m:
                raise ValueError(
                    f"{key}: got {width} columns with structure {structure!r}, takes {shape.m} n"
                )


def _site_masks(
    sites: list[Site], model: nn.Module, masks: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """The given masks by site; a site's parameters come together."""
    if masks is None:
        return {}
    used: set[str] = set()
    found: dict[str, Tensor] = {}
    for site in sites:
        parts = {}
        for key in site.keys:
            alone = len(site.names) == 1 and not site.part
            name = site.path if alone and key not in masks else key
            if name in masks:
                shape = tuple(model.get_parameter(key).shape)
                parts[key] = check_mask(masks[name], shape, f"masks[{name!r}]")
                used.add(name)
        if parts:
            missing = [key for key in site.keys if key not in parts]
            if missing:
                raise ValueError(f"masks: {missing} must come with {sorted(parts)}")
            found[site.name] = site.matrix([parts[key].cpu() for key in site.keys])
    left = sorted(set(masks) - used)
    if left:
        raise ValueError(f"masks: got {left}, which name no prunable weight of the model")
    return found
