"""Layers whose weights are really sparse: one 1-D parameter of values, indices as buffers.

Because the values are an ordinary parameter and the indices ordinary buffers, optimisers, weight
decay, gradient clipping, ``.to()``, ``state_dict``, safetensors, ``copy.deepcopy`` and pickling
work as for any layer; memory and time follow the number of non-zeros.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.dense_view import view_of
from tokfrag.sparse.layers.stored import (
    StoredMatrix,
    check_dtype,
    check_mask,
    check_size,
    check_sparsity,
    random_mask,
    replace_data,
)
from tokfrag.sparse.products import operators, products
from tokfrag.sparse.products.places import TILE, densify, pack_mask, pattern_of, positions_of


class SparseLinear(StoredMatrix):
    """A linear layer with stored non-zeros only: ``y = x W^T + b``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis of ``x (..., in_features)`` and ``y (..., out_features)``.
    bias : bool
        Whether ``b`` exists; it is dense.
    sparsity : float, 0 to less than 1
        Share of weights that are zero, at random places; not used when ``mask`` is given.
    mask : (out_features, in_features) bool tensor, optional
        Which weights exist.
    kernel : "auto", "sparse" or "dense"
        "auto" races the sparse against the dense product once per machine and kind of call and
        keeps the faster; "sparse" and "dense" fix the choice (and so the rounding).
    device, dtype
        Of values and bias; float32, float64, float16 or bfloat16.

    Attributes
    ----------
    values : (nnz,) parameter
        The non-zeros.
    local, runs : (nnz,) and (tiles, out_features, 2) buffers, uint8
        Their places, in the tiled form of :mod:`tokfrag.reference.sparse`.

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

    _PLACES = ("local", "runs")

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
        if kernel not in products.KERNELS:
            raise ValueError(f"kernel: got {kernel!r}, takes one of {products.KERNELS}")
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
        """Draw values and bias uniformly, with the variance a dense layer's outputs would have."""
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

        Parameters
        ----------
        linear : torch.nn.Linear
        mask : (out_features, in_features) bool tensor, optional
            Which weights exist; by default those that are not exactly zero.
        kernel : "auto", "sparse" or "dense"
            As in the constructor.

        Returns
        -------
        SparseLinear
            With copies of weights and bias, in their dtype and on their device.

        Raises
        ------
        TypeError
            It is no linear layer, the mask is not bool, or the dtype is none of the four.
        ValueError
            The mask has another shape.
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
        """The sparse form of a weight and a bias, as :meth:`from_dense` makes it of a layer.

        Parameters
        ----------
        weight : (out_features, in_features) tensor
        bias : (out_features,) tensor, optional
        mask, kernel
            As in :meth:`from_dense`.

        Returns
        -------
        SparseLinear
        """
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
            layer.values.copy_(weight.reshape(-1)[layer._positions()])
            if layer.bias is not None and bias is not None:
                layer.bias.copy_(bias)
        return layer

    def to_dense(self) -> nn.Linear:
        """Copy the weights, zeros included, to torch's dense layer.

        Returns
        -------
        torch.nn.Linear
        """
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

    def to_semi_structured(self) -> nn.Linear:
        """Copy the weights to torch's own 2:4 form, for inference on a GPU.

        The mask may hold two of every four weights along a row at most (``sparsify`` with
        ``structure="2:4"``); the layer lies on a CUDA device with sparse tensor cores (compute
        capability 8.0 or more).

        Returns
        -------
        torch.nn.Linear
            Its weight takes no gradient.

        Raises
        ------
        ValueError
            Four neighbours hold three weights or more, a size is no multiple of 64, or the layer
            is not on a CUDA device.
        TypeError
            The dtype is neither float16 nor bfloat16.
        """
        padded = nn.functional.pad(self.mask, (0, -self.in_features % 4))
        full = (padded.view(self.out_features, -1, 4).sum(-1) > 2).nonzero()
        if len(full):
            row, group = full[0].tolist()
            raise ValueError(
                f"{self}: got more than two weights in row {row}, columns {4 * group} to "
                f"{4 * group + 3}; takes a 2:4 mask"
            )
        if self.in_features % 64 or self.out_features % 64:
            raise ValueError(f"{self}: takes sizes that are multiples of 64")
        if self.values.dtype not in (torch.float16, torch.bfloat16):
            raise TypeError(f"{self}: got {self.values.dtype}, takes float16 or bfloat16")
        if not self.values.is_cuda:
            raise ValueError(f"{self}: got values on {self.values.device}, takes cuda")
        linear = self.to_dense()
        weight = torch.sparse.to_sparse_semi_structured(linear.weight.detach())
        linear.weight = nn.Parameter(weight, requires_grad=False)
        return linear

    def dense_weight(self) -> Tensor:
        """Make the dense weight; gradients flow to ``values``.

        Returns
        -------
        (out_features, in_features) tensor
        """
        return densify(self.values, self.local, self.runs, self.in_features)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.out_features, self.in_features

    def _positions(self) -> Tensor:
        return positions_of(self.local, self.runs, self.in_features)

    def _check_places(self, values: Tensor, places: Sequence[Tensor]) -> None:
        local, runs = places
        shape = (-(-self.in_features // TILE), self.out_features, 2)
        if runs.shape != shape:
            raise ValueError(f"runs: got shape {tuple(runs.shape)}, takes {shape}")
        if values.device.type != "meta":
            pattern_of(local.contiguous(), runs.contiguous(), self.in_features)

    @property
    def derived_nbytes(self) -> int:
        """Bytes of what products have derived from the places so far and keep, such as a transpose.

        They belong to no checkpoint.
        """
        return pattern_of(self.local, self.runs, self.in_features).nbytes

    @property
    def weight(self) -> Tensor:
        """The dense weight ``(out_features, in_features)``, made on each read and read-only.

        For code that was written for ``torch.nn.Linear``. Gradients flow to ``values``; where they
        are wanted in training, a UserWarning says that a dense matrix was made.
        """
        if self.training and self.values.requires_grad and torch.is_grad_enabled():
            warnings.warn(
                "SparseLinear.weight: made a dense matrix for a read in training; `values` holds "
                "the weights",
                UserWarning,
                stacklevel=2,
            )
        return view_of(self.dense_weight())

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the weight and add the bias; differentiable.

        Parameters
        ----------
        input : (..., in_features) tensor
            On the device and in the dtype of ``values``; under autocast, in autocast's dtype.

        Returns
        -------
        (..., out_features) tensor

        Raises
        ------
        ValueError, TypeError
            The input has another size or dtype, or lies elsewhere.
        """
        x = input
        if not (x.is_cpu or x.is_cuda or x.is_meta):
            raise ValueError(f"{self}: got an input on {x.device}, takes cpu or cuda")
        # Straight from the dictionaries: a module's attribute lookup costs as much as all else.
        parameters, buffers = self._parameters, self._buffers
        return operators.linear(
            x,
            parameters["values"],  # type: ignore[arg-type]
            parameters["bias"],
            buffers["local"],  # type: ignore[arg-type]
            buffers["runs"],  # type: ignore[arg-type]
            self.in_features,
            self.kernel,
        )

    def set_mask(self, mask: Tensor) -> Tensor:
        """Store other places: kept values stay, new ones begin at zero.

        ``values.data`` is replaced; the parameter itself stays the same object, so that optimisers
        keep it.

        Parameters
        ----------
        mask : (out_features, in_features) bool tensor
            Which weights exist from now on.

        Returns
        -------
        (nnz,) tensor, int64
            For each stored value its place in the old ``values``, or -1, to carry an optimiser's
            state over.
        """
        shape = (self.out_features, self.in_features)
        mask = check_mask(mask, shape).to(self.local.device)
        before = self._positions()
        order = torch.full((shape[0] * shape[1],), -1, dtype=torch.int64, device=before.device)
        order[before] = torch.arange(before.numel(), device=before.device)
        local, runs = pack_mask(mask)
        origin = order[positions_of(local, runs, self.in_features)]
        values = self.values.detach()
        kept = torch.where(origin >= 0, values[origin.clamp(min=0)] if len(values) else 0, 0)
        self.local, self.runs = local, runs
        replace_data(self.values, kept.to(values.dtype))
        return origin

    def extra_repr(self) -> str:
        """Name the sizes, for ``repr``.

        Returns
        -------
        str
        """
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, nnz={self.nnz}, sparsity={self.sparsity:.3f}"
        )
