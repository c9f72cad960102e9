"""Layers whose weights are really sparse: one 1-D parameter of values, indices as buffers.

Because the values are an ordinary parameter and the indices ordinary buffers, optimisers, weight
decay, gradient clipping, ``.to()``, ``state_dict``, safetensors, ``copy.deepcopy`` and pickling
work as for any layer; memory and time follow the number of non-zeros.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse import _operators
from tokfrag.sparse._patterns import densify, pack_mask, pattern_of, positions_of

_EXTENT_LIMIT = 1 << 31


def check_size(name: str, size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name}: got {size!r}, takes a positive int")
    if not 0 < size < _EXTENT_LIMIT:
        raise ValueError(f"{name}: got {size}, takes 1 to 2**31 - 1")
    return size


def check_sparsity(sparsity: float, name: str = "sparsity") -> float:
    if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)):
        raise TypeError(f"{name}: got {sparsity!r}, takes a number in [0, 1)")
    if not 0 <= sparsity < 1:
        raise ValueError(f"{name}: got {sparsity}, takes a number in [0, 1)")
    return float(sparsity)


def check_mask(mask: Tensor, shape: tuple[int, int], name: str = "mask") -> Tensor:
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}: got {type(mask).__name__}, takes a bool tensor of shape {shape}")
    if tuple(mask.shape) != shape:
        raise ValueError(f"{name}: got shape {tuple(mask.shape)}, takes {shape}")
    if mask.dtype != torch.bool:
        raise TypeError(f"{name}: got {mask.dtype}, takes bool")
    return mask


def check_dtype(dtype: torch.dtype, name: str) -> None:
    if dtype not in _operators.ELEMENTS:
        raise TypeError(f"{name}: got {dtype}, takes float32, float64, float16 or bfloat16")


def random_mask(rows: int, columns: int, sparsity: float) -> Tensor:
    """A mask of exactly the asked number of non-zeros, drawn from torch's generator."""
    kept = rows * columns - round(sparsity * rows * columns)
    mask = torch.zeros(rows * columns, dtype=torch.bool)
    mask[torch.randperm(rows * columns)[:kept]] = True
    return mask.view(rows, columns)


def replace_data(parameter: nn.Parameter, data: Tensor) -> None:
    """Gives a parameter data of another size; the parameter stays the same object.

    A graph that is still alive (a loss held from the last step) would make later gradients be
    checked against the old size; changing the dtype in between makes torch forget it.
    """
    parameter.grad = None
    other = torch.float64 if data.dtype != torch.float64 else torch.float32
    parameter.data = data.new_empty(0, dtype=other)
    parameter.data = data


class SparseLinear(nn.Module):
    """A linear layer with stored non-zeros only: ``y = x W^T + b``.

    Parameters
    ----------
    in_features, out_features
        Sizes of the last axis of ``x (..., in_features)`` and ``y (..., out_features)``.
    sparsity
        Share of weights that are zero, at random places; not used when ``mask`` is given.
    mask
        Bool ``(out_features, in_features)``: which weights exist.
    kernel
        ``"auto"`` races the sparse against the dense product once per machine and kind of call and
        keeps the faster; ``"sparse"`` and ``"dense"`` fix the choice (and so the rounding).

    Attributes
    ----------
    values
        The non-zeros, one 1-D parameter; float32, float64, float16 or bfloat16.
    local, runs
        Their places (uint8 buffers), in the tiled form of :mod:`tokfrag.reference.sparse`.

    Raises
    ------
    ValueError, TypeError
        For sizes, sparsity, masks or inputs of the wrong shape, dtype or device.

    Examples
    --------
    >>> import torch
    >>> layer = SparseLinear(512, 256, sparsity=0.9)
    >>> layer(torch.ones(3, 512)).shape, layer.nnz
    (torch.Size([3, 256]), 13107)
    """

    values: nn.Parameter
    local: Tensor
    runs: Tensor
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        sparsity: float = 0.9,
        mask: Tensor | None = None,
        kernel: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_size("in_features", in_features)
        self.out_features = check_size("out_features", out_features)
        if kernel not in _operators.KERNELS:
            raise ValueError(f"kernel: got {kernel!r}, takes one of {_operators.KERNELS}")
        self.kernel = kernel
        dtype = torch.get_default_dtype() if dtype is None else dtype
        check_dtype(dtype, "dtype")
        check_sparsity(sparsity)
        shape = (self.out_features, self.in_features)
        mask = random_mask(*shape, sparsity) if mask is None else check_mask(mask, shape)
        local, runs = pack_mask(mask)
        self.register_buffer("local", local.to(device))
        self.register_buffer("runs", runs.to(device))
        self.values = nn.Parameter(torch.empty(local.numel(), dtype=dtype, device=device))
        if bias:
            self.bias = nn.Parameter(torch.empty(self.out_features, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws values and bias uniformly, with the variance a dense layer's outputs would have."""
        fan_in = max(1.0, self.nnz / self.out_features)
        bound = 1 / math.sqrt(fan_in)
        nn.init.uniform_(self.values, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def from_dense(
        cls, linear: nn.Linear, mask: Tensor | None = None, *, kernel: str = "auto"
    ) -> SparseLinear:
        """The sparse form of a linear layer.

        ``mask`` is bool ``(out_features, in_features)``; without it, weights that are exactly zero
        are left out.
        """
        weight = getattr(linear, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim != 2:
            raise TypeError(f"linear: got {type(linear).__name__}, takes torch.nn.Linear")
        bias = getattr(linear, "bias", None)
        return cls.from_weight(weight, bias, mask, kernel=kernel)

    @classmethod
    def from_weight(
        cls,
        weight: Tensor,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        kernel: str = "auto",
    ) -> SparseLinear:
        """As :meth:`from_dense`, from ``weight (out_features, in_features)`` itself."""
        weight = weight.detach()
        check_dtype(weight.dtype, "weight")
        if mask is None:
            mask = weight != 0
        mask = check_mask(mask, (weight.shape[0], weight.shape[1]))
        layer = cls(
            weight.shape[1],
            weight.shape[0],
            bias=bias is not None,
            mask=mask,
            kernel=kernel,
            dtype=weight.dtype,
            device=weight.device,
        )
        with torch.no_grad():
            places = positions_of(layer.local, layer.runs, layer.in_features)
            layer.values.copy_(weight.reshape(-1)[places])
            if layer.bias is not None and bias is not None:
                layer.bias.copy_(bias)
        return layer

    def to_dense(self) -> nn.Linear:
        """A ``torch.nn.Linear`` of the same weights, zeros included."""
        linear = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=self.values.device,
            dtype=self.values.dtype,
        )
        with torch.no_grad():
            linear.weight.copy_(self.dense_weight())
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    def dense_weight(self) -> Tensor:
        """The weight ``(out_features, in_features)``; gradients flow to ``values``."""
        return densify(self.values, self.local, self.runs, self.in_features)

    @property
    def mask(self) -> Tensor:
        """Bool ``(out_features, in_features)``: where values are stored."""
        shape = (self.out_features, self.in_features)
        mask = torch.zeros(shape[0] * shape[1], dtype=torch.bool, device=self.local.device)
        mask[positions_of(self.local, self.runs, self.in_features)] = True
        return mask.view(shape)

    @property
    def nnz(self) -> int:
        """How many weights are stored."""
        return self.local.numel()

    @property
    def sparsity(self) -> float:
        """The share of weights that are not stored."""
        return 1 - self.nnz / (self.in_features * self.out_features)

    @property
    def nbytes(self) -> int:
        """Bytes of values and indices (what a checkpoint holds, bias left out)."""
        return sum(t.numel() * t.element_size() for t in (self.values, self.local, self.runs))

    def forward(self, x: Tensor) -> Tensor:
        """``x (..., in_features)`` to ``(..., out_features)``."""
        if x.device.type not in ("cpu", "meta") and not _operators.has_kernel(x.device.type):
            raise ValueError(f"{self}: got an input on {x.device}, takes cpu")
        return torch.ops.tokfrag.sparse_mm(  # type: ignore[no-any-return]
            x, self.values, self.bias, self.local, self.runs, self.in_features, False, self.kernel
        )

    def set_mask(self, mask: Tensor) -> Tensor:
        """Stores other places: kept values stay, new ones begin at zero.

        Returns, for each stored value, the place it had before in the old ``values``, or -1: what
        is needed to carry an optimiser's state over. ``values.data`` is replaced, the parameter
        itself stays the same object.
        """
        shape = (self.out_features, self.in_features)
        mask = check_mask(mask, shape).to(self.local.device)
        before = positions_of(self.local, self.runs, self.in_features)
        order = torch.full((shape[0] * shape[1],), -1, dtype=torch.int64, device=before.device)
        order[before] = torch.arange(before.numel(), device=before.device)
        local, runs = pack_mask(mask)
        origin = order[positions_of(local, runs, self.in_features)]
        values = self.values.detach()
        kept = torch.where(origin >= 0, values[origin.clamp(min=0)] if len(values) else 0, 0)
        self.local, self.runs = local, runs
        replace_data(self.values, kept.to(values.dtype))
        return origin

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        # A checkpoint may hold another mask: check it, then make room for it.
        stored = [state_dict.get(prefix + name) for name in ("values", "local", "runs")]
        if all(isinstance(tensor, Tensor) for tensor in stored):
            values, local, runs = (tensor for tensor in stored if isinstance(tensor, Tensor))
            try:
                if runs.ndim != 3 or runs.shape != self.runs.shape:
                    raise ValueError(
                        f"runs: got shape {tuple(runs.shape)}, takes {self.runs.shape}"
                    )
                if values.shape != local.shape:
                    raise ValueError(f"values: got {tuple(values.shape)} for {tuple(local.shape)}")
                if values.device.type != "meta":
                    pattern_of(local.cpu().contiguous(), runs.cpu().contiguous(), self.in_features)
            except (ValueError, TypeError) as error:
                error_msgs.append(f"{prefix}{type(self).__name__}: {error}")
                return
            if values.shape != self.values.shape:
                replace_data(self.values, self.values.data.new_empty(values.shape))
                self.local = self.local.new_empty(local.shape)
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, nnz={self.nnz}, sparsity={self.sparsity:.3f}"
        )
