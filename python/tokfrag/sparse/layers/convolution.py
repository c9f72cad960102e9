"""Convolutions with sparse weights: windows are gathered, then one sparse product."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from tokfrag.sparse.layers.dense_view import view_of
from tokfrag.sparse.layers.linear import SparseLinear

if TYPE_CHECKING:
    from typing_extensions import Self


class SparseConvolution(nn.Module):
    """The base of :class:`SparseConv1d` and :class:`SparseConv2d`: products of gathered windows.

    ``product``, a :class:`SparseLinear`, holds the weight ``(out_channels, in_channels *
    positions)``. Gathering takes ``positions`` times the bytes of
    the input, so large kernels on large images are better left to a dense convolution.

    Examples
    --------
    >>> import torch
    >>> from tokfrag.sparse import SparseConv1d
    >>> dense = torch.nn.Conv1d(4, 8, 3)
    >>> sparse = SparseConv1d.from_dense(dense)
    >>> torch.equal(sparse.to_dense().weight, dense.weight)
    True
    """

    _AXES: ClassVar[int]
    _DENSE: ClassVar[type[nn.Conv1d] | type[nn.Conv2d]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | str | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        *,
        bias: bool = True,
        padding_mode: str = "zeros",
        sparsity: float = 0.9,
        mask: Tensor | None = None,
        kernel: str = "auto",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        # Torch's own checks and defaults of the sizes, without memory for a weight.
        plain = self._DENSE(
            in_channels,
            out_channels,
            kernel_size,  # type: ignore[arg-type]
            stride,  # type: ignore[arg-type]
            padding,  # type: ignore[arg-type]
            dilation,  # type: ignore[arg-type]
            bias=bias,
            padding_mode=padding_mode,  # type: ignore[arg-type]
            device="meta",
        )
        self._describe(plain)
        if mask is not None:
            mask = mask.flatten(1)
        self.product = SparseLinear(
            in_channels * math.prod(self.kernel_size),
            out_channels,
            bias=bias,
            sparsity=sparsity,
            mask=mask,
            kernel=kernel,
            device=device,
            dtype=dtype,
        )

    def _describe(self, dense: nn.Conv1d | nn.Conv2d) -> None:
        self.in_channels, self.out_channels = dense.in_channels, dense.out_channels
        self.kernel_size: tuple[int, ...] = dense.kernel_size
        self.stride: tuple[int, ...] = dense.stride
        self.padding: str | tuple[int, ...] = dense.padding
        self.dilation: tuple[int, ...] = dense.dilation
        self.padding_mode = dense.padding_mode
        self.groups = 1
        # In functional.pad's order: the last axis first, before and after.
        self._pads: list[int] = list(dense._reversed_padding_repeated_twice)

    @classmethod
    def from_dense(
        cls, convolution: Any, mask: Tensor | None = None, *, kernel: str = "auto"
    ) -> Self:
        """The sparse form of a convolution of one group.

        Parameters
        ----------
        convolution : torch.nn.Conv1d or torch.nn.Conv2d
        mask : (out_channels, in_channels, *kernel_size) bool tensor, optional
            Which weights exist; by default those that are not exactly zero.
        kernel : "auto", "sparse" or "dense"
            As in :class:`SparseLinear`.

        Returns
        -------
        SparseConv1d or SparseConv2d
            With copies of weights and bias, in their dtype and on their device.

        Raises
        ------
        TypeError
            It is another module, or the mask is not bool.
        ValueError
            It has several groups, or the mask has another shape.
        """
        if not isinstance(convolution, cls._DENSE):
            name = type(convolution).__name__
            raise TypeError(f"convolution: got {name}, takes {cls._DENSE.__name__}")
        if convolution.groups != 1:
            raise ValueError(f"convolution: got groups={convolution.groups}, takes 1")
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._describe(convolution)
        mask = None if mask is None else mask.flatten(1)
        weight = convolution.weight.flatten(1)
        layer.product = SparseLinear.from_weight(weight, convolution.bias, mask, kernel=kernel)
        return layer

    def to_dense(self) -> Any:
        """Copy the weights, zeros included, to torch's dense layer.

        Returns
        -------
        torch.nn.Conv1d or torch.nn.Conv2d
        """
        weight, bias = self.product.dense_weight().detach(), self.product.bias
        dense = self._DENSE(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.dilation,  # type: ignore[arg-type]
            bias=bias is not None,
            padding_mode=self.padding_mode,
            device=weight.device,
            dtype=weight.dtype,
        )
        dense.weight.data.copy_(weight.view_as(dense.weight))
        if bias is not None and dense.bias is not None:
            dense.bias.data.copy_(bias.detach())
        return dense

    @property
    def weight(self) -> Tensor:
        """The dense weight ``(out_channels, in_channels, *kernel_size)``, a read-only copy."""
        shape = (self.out_channels, self.in_channels, *self.kernel_size)
        return view_of(self.product.dense_weight().view(shape))

    @property
    def bias(self) -> Tensor | None:
        """The bias ``(out_channels,)``."""
        return self.product.bias

    @property
    def mask(self) -> Tensor:
        """Bool, of the weight's shape: where values are stored."""
        return self.product.mask.view(self.out_channels, self.in_channels, *self.kernel_size)

    @property
    def nnz(self) -> int:
        """How many weights are stored."""
        return self.product.nnz

    def forward(self, input: Tensor) -> Tensor:
        """Convolve; differentiable.

        Parameters
        ----------
        input : (batch, in_channels, *space) or (in_channels, *space) tensor
            On the device and in the dtype of the weights.

        Returns
        -------
        (batch, out_channels, *places) or (out_channels, *places) tensor

        Raises
        ------
        ValueError
            The input has another number of axes or channels.
        """
        axes = self._AXES
        if input.ndim not in (axes + 1, axes + 2) or input.shape[-axes - 1] != self.in_channels:
            raise ValueError(
                f"input: got shape {tuple(input.shape)}, takes ([batch,] {self.in_channels}, "
                f"{'*' * axes})"
            )
        x = input if input.ndim == axes + 2 else input.unsqueeze(0)
        windows, space = gather_windows(self, x)
        lines: Tensor = self.product(windows)
        y = lines.transpose(1, 2).reshape(len(x), self.out_channels, *space)
        return y if input.ndim == axes + 2 else y.squeeze(0)

    def extra_repr(self) -> str:
        """Name the sizes, for ``repr``.

        Returns
        -------
        str
        """
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )


def gather_windows(
    layer: SparseConvolution | nn.Conv1d | nn.Conv2d, x: Tensor
) -> tuple[Tensor, list[int]]:
    """Windows ``(batch, places, in_channels * positions)`` of a convolution, and its output's size.

    ``x (batch, in_channels, *space)``; each window lies as a row of the flattened weight does.
    """
    pads = list(layer._pads if isinstance(layer, SparseConvolution) else _pads_of(layer))
    if any(pads):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = functional.pad(x, pads, mode)
    axes = zip(x.shape[2:], layer.kernel_size, layer.stride, layer.dilation, strict=True)
    space = [(n - dilation * (size - 1) - 1) // step + 1 for n, size, step, dilation in axes]
    sizes = [layer.kernel_size, layer.dilation, layer.stride]
    if x.ndim == 3:
        x = x.unsqueeze(2)
        sizes = [(1, *size) for size in sizes]
    size, dilation, stride = sizes
    windows = functional.unfold(x, size, dilation=dilation, stride=stride)
    return windows.transpose(1, 2), space


def _pads_of(convolution: nn.Conv1d | nn.Conv2d) -> list[int]:
    pads: list[int] = list(convolution._reversed_padding_repeated_twice)
    return pads


class SparseConv1d(SparseConvolution):
    """A convolution over ``(batch, in_channels, length)`` with stored non-zeros only.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, bias, padding_mode
        As in ``torch.nn.Conv1d``, of one group.
    sparsity : float
        Share of weights that are zero, at random places; not used when ``mask`` is given.
    mask : bool tensor of the weight's shape, optional
        Which weights exist.
    kernel, device, dtype
        As in :class:`SparseLinear`.

    Examples
    --------
    >>> import torch
    >>> SparseConv1d(16, 32, 3, padding=1, sparsity=0.75)(torch.ones(2, 16, 20)).shape
    torch.Size([2, 32, 20])
    """

    _AXES, _DENSE = 1, nn.Conv1d


class SparseConv2d(SparseConvolution):
    """A convolution over ``(batch, in_channels, height, width)`` with stored non-zeros only.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, bias, padding_mode
        As in ``torch.nn.Conv2d``, of one group.
    sparsity : float
        Share of weights that are zero, at random places; not used when ``mask`` is given.
    mask : bool tensor of the weight's shape, optional
        Which weights exist.
    kernel, device, dtype
        As in :class:`SparseLinear`.

    Examples
    --------
    >>> import torch
    >>> SparseConv2d(3, 8, 3, stride=2, sparsity=0.5)(torch.ones(2, 3, 9, 9)).shape
    torch.Size([2, 8, 4, 4])
    """

    _AXES, _DENSE = 2, nn.Conv2d
