"""The report of ``sparsify``: a row for every matrix it pruned, and one for every module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.frozen import FrozenSparseLinear
from tokfrag.sparse.pruning.pruned import Pruned


@dataclass(frozen=True)
class LayerReport:
    """One pruned matrix.

    Attributes
    ----------
    path : str
        The module's, with the part where it has several.
    shape : (int, int)
    sparsity : float
        The share of zeros.
    error_before, error_after : float or None
        Squared error of the layer's outputs on the calibration data, relative to the target
        outputs, before and after the final descent; None for ``method="sgd"``, which has no layer
        problem.
    bytes_dense, bytes_sparse : int
        Of the weights, dense and stored sparse.
    seconds : float
    remark : str
        Such as why another target was taken.
    values : str
        The dtype values are stored in, where ``sparsify(values=...)`` froze the layer.
    error_stored : float or None
        ``error_after`` with values rounded to that dtype.
    """

    path: str
    shape: tuple[int, int]
    sparsity: float
    error_before: float | None
    error_after: float | None
    bytes_dense: int
    bytes_sparse: int
    seconds: float
    remark: str = ""
    values: str = ""
    error_stored: float | None = None


@dataclass(frozen=True)
class ModuleReport:
    """One module of the model: what was done with the weights of its own, or why nothing.

    ``action`` is "pruned", "left dense" or "no weights"; ``weights`` counts the elements of its
    matrices, ``zeros`` those that are zero now.
    """

    path: str
    kind: str
    action: str
    reason: str
    weights: int
    zeros: int


@dataclass(frozen=True)
class SparsityReport:
    """Every pruned layer, every module, totals, and the masks.

    Attributes
    ----------
    method : str
        As :func:`sparsify` was asked.
    layers : tuple of LayerReport
        One a pruned matrix.
    masks : {str: bool tensor}
        By parameter name; True: kept.
    seconds : float
        Of the whole call.
    modules : tuple of ModuleReport
        One a module of the model.

    Examples
    --------
    >>> layer = LayerReport("0", (4, 8), 0.5, 0.2, 0.1, 128, 96, 0.01)
    >>> print(SparsityReport("cd", (layer,), {}).table().splitlines()[1])
    0                     4x8    0.500  2.00e-01  1.00e-01       0.1       0.1   0.01
    """

    method: str
    layers: tuple[LayerReport, ...]
    masks: dict[str, Tensor] = field(repr=False)
    seconds: float = 0.0
    modules: tuple[ModuleReport, ...] = ()

    @property
    def sparsity(self) -> float:
        """The share of zeros in all matrices of the model, those left dense too."""
        count = sum(row.weights for row in self.modules)
        return sum(row.zeros for row in self.modules) / count if count else 0.0

    @property
    def left_dense(self) -> dict[str, str]:
        """Why each module with weights stayed as it was, by path."""
        return {row.path: row.reason for row in self.modules if row.action == "left dense"}

    @property
    def bytes_dense(self) -> int:
        """Bytes of the pruned weights as they were."""
        return sum(layer.bytes_dense for layer in self.layers)

    @property
    def bytes_sparse(self) -> int:
        """Bytes of the pruned weights stored sparse."""
        return sum(layer.bytes_sparse for layer in self.layers)

    def table(self) -> str:
        """The report as text: a line a pruned matrix, a line a module left dense, totals.

        Returns
        -------
        str
            Errors are relative to the outputs; bytes in kB, time in seconds.
        """
        dense = [row for row in self.modules if row.action == "left dense"]
        paths = [*(layer.path for layer in self.layers), *(row.path for row in dense)]
        width = max(len(path) for path in (*paths, "whole model"))
        lines = [
            f"{'layer':<{width}} {'shape':>13} {'sparsity':>8} {'before':>9} {'after':>9} "
            f"{'dense kB':>9} {'sparse kB':>9} {'s':>6}"
        ]
        for layer in self.layers:
            errors = [
                "-" if error is None else f"{error:.2e}"
                for error in (layer.error_before, layer.error_after)
            ]
            shape = f"{layer.shape[0]}x{layer.shape[1]}"
            line = (
                f"{layer.path:<{width}} {shape:>13} {layer.sparsity:>8.3f} {errors[0]:>9} "
                f"{errors[1]:>9} {layer.bytes_dense / 1e3:>9.1f} {layer.bytes_sparse / 1e3:>9.1f} "
                f"{layer.seconds:>6.2f}"
            )
            stored = ""
            if layer.values:
                error = "" if layer.error_stored is None else f" {layer.error_stored:.2e}"
                stored = f"as {layer.values}{error}"
            remarks = "; ".join(filter(None, (stored, layer.remark)))
            lines.append(f"{line}  {remarks}".rstrip())
        for row in dense:
            lines.append(f"{row.path:<{width}} {row.weights:>13} {'dense':>8}  {row.reason}")
        lines.append(
            f"{'total':<{width}} {'':>13} {'':>8} {'':>9} {'':>9} "
            f"{self.bytes_dense / 1e3:>9.1f} {self.bytes_sparse / 1e3:>9.1f} {self.seconds:>6.2f}"
        )
        lines.append(f"{'whole model':<{width}} {'':>13} {self.sparsity:>8.3f}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


def layer_report(model: nn.Module, item: Pruned, frozen: nn.Module | None = None) -> LayerReport:
    """The row of one pruned matrix, and of the ``frozen`` layer that holds it now, if any."""
    site, mask = item.site, item.mask
    size = model.get_parameter(site.keys[0]).element_size()
    rows, columns = mask.shape
    kept = int(mask.sum())
    # A value and a byte each, and two bytes for each row of each column chunk.
    chunks = sum(-(-width // 128) for width in site.widths)
    stored, values = kept * (size + 1) + 2 * rows * chunks, ""
    if isinstance(frozen, FrozenSparseLinear):
        stored, values = frozen.nbytes, str(frozen.values.dtype).removeprefix("torch.")
    return LayerReport(
        site.name,
        (rows, columns),
        1 - kept / mask.numel(),
        item.error_before,
        item.error_after,
        mask.numel() * size,
        stored,
        item.seconds,
        item.remark,
        values,
        item.error_stored,
    )


def masks_of(model: nn.Module, plan: Sequence[Pruned]) -> dict[str, Tensor]:
    """The masks by parameter, of the parameters' shapes; rows that were not pruned are kept."""
    masks: dict[str, Tensor] = {}
    for item in plan:
        for key, part in item.site.split(item.mask).items():
            if key not in masks:
                masks[key] = torch.ones(model.get_parameter(key).shape, dtype=torch.bool)
            item.site.put(part, masks[key])
    return masks


def module_reports(
    model: nn.Module,
    plan: Sequence[Pruned],
    masks: Mapping[str, Tensor],
    reasons: Mapping[str, str],
    remarks: Mapping[str, str],
) -> tuple[ModuleReport, ...]:
    """A row for every module; the model must hold its new weights, in dense layers still."""
    pruned = {item.site.path for item in plan}
    inside = {key for item in plan for key in item.site.keys}
    rows = []
    counted: dict[int, str] = {}
    for path, module in model.named_modules():
        tied = ""
        weights = zeros = 0
        for name, parameter in module.named_parameters(recurse=False):
            key = f"{path}.{name}" if path else name
            if parameter.ndim < 2:
                continue
            owner = counted.setdefault(id(parameter), key)
            if owner != key:
                tied = f"{name} is {owner}"
                continue
            weights += parameter.numel()
            gone = ~masks[key] if key in masks else parameter.detach() == 0
            zeros += int(gone.sum())
        own = [f"{path}.{n}" if path else n for n, _ in module.named_parameters(recurse=False)]
        if path in pruned or inside.intersection(own):
            action, reason = "pruned", remarks.get(path, "")
        elif weights:
            action, reason = "left dense", reasons.get(path, "not asked for")
        else:
            action, reason = "no weights", tied or reasons.get(path, "")
        rows.append(ModuleReport(path, type(module).__name__, action, reason, weights, zeros))
    return tuple(rows)
