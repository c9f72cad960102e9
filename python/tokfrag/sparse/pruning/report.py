"""What ``sparsify`` did, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class LayerReport:
    """One pruned layer.

    ``error_before`` and ``error_after`` are squared errors of the layer's outputs on the
    calibration data relative to the target outputs, before and after the final descent; None for
    ``method="sgd"``, which has no layer problem. Bytes are of the weights, dense and stored sparse.
    """

    path: str
    shape: tuple[int, int]
    sparsity: float
    error_before: float | None
    error_after: float | None
    bytes_dense: int
    bytes_sparse: int
    seconds: float


@dataclass(frozen=True)
class SparsityReport:
    """Every pruned layer, totals, and the masks (by parameter name, True where kept)."""

    method: str
    layers: tuple[LayerReport, ...]
    masks: dict[str, Tensor] = field(repr=False)
    seconds: float = 0.0

    @property
    def sparsity(self) -> float:
        """The share of zeros over all pruned layers."""
        count = sum(layer.shape[0] * layer.shape[1] for layer in self.layers)
        zeros = sum(layer.sparsity * layer.shape[0] * layer.shape[1] for layer in self.layers)
        return zeros / count

    @property
    def bytes_dense(self) -> int:
        """Bytes of the pruned weights as they were."""
        return sum(layer.bytes_dense for layer in self.layers)

    @property
    def bytes_sparse(self) -> int:
        """Bytes of the pruned weights stored sparse."""
        return sum(layer.bytes_sparse for layer in self.layers)

    def table(self) -> str:
        """The report as text, a line a layer."""
        width = max(len(layer.path) for layer in self.layers)
        width = max(width, len("layer"))
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
            lines.append(
                f"{layer.path:<{width}} {shape:>13} {layer.sparsity:>8.3f} {errors[0]:>9} "
                f"{errors[1]:>9} {layer.bytes_dense / 1e3:>9.1f} {layer.bytes_sparse / 1e3:>9.1f} "
                f"{layer.seconds:>6.2f}"
            )
        lines.append(
            f"{'total':<{width}} {'':>13} {self.sparsity:>8.3f} {'':>9} {'':>9} "
            f"{self.bytes_dense / 1e3:>9.1f} {self.bytes_sparse / 1e3:>9.1f} {self.seconds:>6.2f}"
        )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()
