"""Sparse layers that no longer train, in the fewest bytes: for decoding, one input at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.dense_view import view_of
from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.stored import check_mask
from tokfrag.sparse.products import bitmap as products

if TYPE_CHECKING:
    from typing_extensions import Self

GROUP = 512


def check_values(values: object) -> str:
    """Return the name of a dtype that values can be frozen in; refuse any other."""
    if values not in products.DTYPES:
        raise ValueError(f"values: got {values!r}, takes one of {', '.join(products.DTYPES)}")
    return str(values)


def check_group(group: object) -> int:
    """Return a number of columns that can share a scale; refuse any other."""
    if isinstance(group, bool) or not isinstance(group, int):
        raise TypeError(f"group: got {group!r}, takes 64, 128, 256, ...")
    if group < products.WORD_COLUMNS or group & (group - 1):
        raise ValueError(f"group: got {group}, takes 64, 128, 256, ...")
    return group


class FrozenSparseLinear(nn.Module):
    """A linear layer for serving: non-zeros under a bitmap, as floats or as codes of eight bits.

    An input reads a bit a weight and the values, nothing else; four inputs share a pass. Batches of
    more than eight are multiplied as :class:`SparseLinear` does, from tiles made on the way, or by
    the dense matrix made on the way where a race, once a kind of call, says that it is faster.
    Nothing trains: values, scales and bias are buffers, and gradients flow to the input only. Made
    by :meth:`from_sparse`, by :func:`freeze` of a whole model, and by ``sparsify(values=...)``.

    Parameters
    ----------
    weight : (out_features, in_features) tensor
    bias : (out_features,) tensor, optional
    mask : (out_features, in_features) bool tensor, optional
        Which weights are stored; by default those that are not exactly zero.
    values : {"float32", "float16", "bfloat16", "int8"}
        How they are stored. Floats take inputs of their own dtype. Codes take inputs of any of the
        three; up to eight inputs count as 16-bit integers, a 32767th of the largest of each.
    group : int
        How many columns of a row share the scale of their codes: 64, 128, 256, ....

    Attributes
    ----------
    values : (nnz,) buffer
    bitmap : (out_features, words) buffer, int64
    scales : (out_features, groups) buffer, float32, or None

    Raises
    ------
    ValueError, TypeError
        For other sizes, dtypes or values that are not finite.

    Notes
    -----
    The form is that of :mod:`tokfrag.reference.bitmap`.

    Examples
    --------
    >>> import torch
    >>> weight = torch.randn(256, 512) * (torch.rand(256, 512) < 0.25)
    >>> layer = FrozenSparseLinear(weight, values="int8")
    >>> x = torch.randn(1, 512)
    >>> exact = x @ weight.t()
    >>> bool((layer(x) - exact).norm() < 0.01 * exact.norm())
    True
    """

    values: Tensor
    bitmap: Tensor
    scales: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        values: str = "float32",
        group: int = GROUP,
    ) -> None:
        super().__init__()
        if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
            raise TypeError("weight: takes a floating-point tensor (out_features, in_features)")
        dtype = products.DTYPES[check_values(values)]
        group = check_group(group)
        weight = weight.detach()
        self.out_features, self.in_features = weight.shape
        shape = (self.out_features, self.in_features)
        mask = weight != 0 if mask is None else check_mask(mask, shape).to(weight.device)
        scales = None
        if dtype == torch.int8:
            if not bool(weight[mask].isfinite().all()):
                raise ValueError("weight: got infinite or NaN numbers, takes finite ones for int8")
            stored, scales = products.encode(weight, mask, group)
        else:
            stored = weight[mask].to(dtype)
        self.register_buffer("values", stored)
        self.register_buffer("bitmap", products.pack_bitmap(mask))
        self.register_buffer("scales", scales)
        kept = torch.float32 if dtype == torch.int8 else dtype
        self.register_buffer("bias", None if bias is None else bias.detach().to(kept, copy=True))

    @classmethod
    def from_sparse(
        cls, layer: SparseLinear, *, values: str | None = None, group: int = GROUP
    ) -> Self:
        """The frozen form of a sparse layer; by default its values as they are.

        Parameters
        ----------
        layer : SparseLinear
        values, group
            As in the constructor; ``None``: in the dtype they have.

        Returns
        -------
        FrozenSparseLinear
            On the same device, in the same mode.
        """
        if values is None:
            values = str(layer.values.dtype).removeprefix("torch.")
        weight = layer.dense_weight()
        frozen = cls(weight, layer.bias, layer.mask, values=values, group=group)
        frozen.train(layer.training)
        return frozen

    @property
    def mask(self) -> Tensor:
        """Bool ``(out_features, in_features)``: where values are stored."""
        return products.mask_of(self.bitmap, self.in_features)

    @property
    def nnz(self) -> int:
        """How many weights are stored."""
        return self.values.numel()

    @property
    def sparsity(self) -> float:
        """The share of weights that are not stored."""
        return 1 - self.nnz / (self.out_features * self.in_features)

    @property
    def nbytes(self) -> int:
        """Bytes of values, bitmap and scales: what an input reads."""
        stored = (self.values, self.bitmap, self.scales)
        return sum(t.numel() * t.element_size() for t in stored if t is not None)

    @property
    def weight(self) -> Tensor:
        """The dense weight ``(out_features, in_features)``, made on each read and read-only."""
        return view_of(self.dense_weight())

    def dense_weight(self) -> Tensor:
        """Make the dense weight that products stand for: float32 of codes.

        Returns
        -------
        (out_features, in_features) tensor
        """
        return products.expand(self.values, self.scales, self.bitmap, self.in_features)

    def to_dense(self) -> nn.Linear:
        """Copy the weights, zeros included, to torch's dense layer.

        Returns
        -------
        torch.nn.Linear
        """
        weight = self.dense_weight()
        linear = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            linear.weight.copy_(weight)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the weight and add the bias; differentiable in the input.

        Parameters
        ----------
        input : (..., in_features) tensor
            On the layer's device; in the dtype of ``values``, of codes any but float64.

        Returns
        -------
        (..., out_features) tensor
            In the dtype of the input; under autocast, in autocast's.

        Raises
        ------
        ValueError, TypeError
            The input has another size or dtype, or lies elsewhere.
        """
        # Straight from the dictionary: a module's attribute lookup costs as much as all else.
        buffers = self._buffers
        return products.linear(
            input,
            buffers["values"],  # type: ignore[arg-type]
            buffers["scales"],
            buffers["bias"],
            buffers["bitmap"],  # type: ignore[arg-type]
            self.in_features,
        )

    def extra_repr(self) -> str:
        """Name the sizes, for ``repr``.

        Returns
        -------
        str
        """
        values = str(self.values.dtype).removeprefix("torch.")
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, nnz={self.nnz}, values={values}"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Scales of codes stay as fine as they are, whatever dtype the model is moved to.
        scales, bias = self.scales, self.bias
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if scales is not None and self.scales is not None:
            self.scales = scales.to(self.scales.device)
            self.bias = None if bias is None else bias.to(self.scales.device)
        return self

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
        # A checkpoint may hold another mask, or values of another kind: check them, make room.
        stored = {n: state_dict.get(prefix + n) for n in ("values", "bitmap", "scales")}
        values, bitmap, scales = stored.values()
        if values is not None and bitmap is not None:
            try:
                self._check_stored(values, bitmap, scales)
            except (ValueError, TypeError) as error:
                error_msgs.append(f"{prefix}{type(self).__name__}: {error}")
                return
            for name, tensor in stored.items():
                room = None if tensor is None else torch.empty_like(tensor, device=values.device)
                setattr(self, name, None if room is None else room.to(self.bitmap.device))
            if scales is not None and self.bias is not None:
                self.bias = self.bias.float()
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _check_stored(self, values: Tensor, bitmap: Tensor, scales: Tensor | None) -> None:
        if bitmap.ndim != 2 or len(bitmap) != self.out_features:
            raise ValueError(
                f"bitmap: got shape {tuple(bitmap.shape)} for {self.out_features} rows"
            )
        count = products.form_of(bitmap, self.in_features).native.nnz
        if values.shape != (count,):
            raise ValueError(f"values: got shape {tuple(values.shape)}, takes ({count},)")
        if (values.dtype == torch.int8) != (scales is not None):
            raise ValueError(
                f"scales: got {'none' if scales is None else 'some'} for {values.dtype}"
            )
        if scales is not None:
            shape = scales.shape
            if scales.dtype != torch.float32 or scales.ndim != 2 or len(scales) != len(bitmap):
                raise ValueError(f"scales: got {scales.dtype} {tuple(shape)}, takes a row for each")
            products.group_words(bitmap.shape[1], shape[1])
