"""The base of recurrent networks with sparse products: layers, directions, packed sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.stored import check_size

if TYPE_CHECKING:
    from typing_extensions import Self


class SparseRecurrent(nn.Module, ABC):
    """The base of :class:`SparseLSTM` and :class:`SparseGRU`: layers, directions, packed sequences.

    The gates of a layer are one product. The input product of a layer runs over the whole sequence
    at once; only the recurrent one runs step by step. Layer ``l`` in direction ``d`` has the number
    ``l * directions + d`` in ``input_products`` and ``hidden_products``.

    Examples
    --------
    >>> import torch
    >>> from tokfrag import SparseLSTM
    >>> dense = torch.nn.LSTM(8, 16)
    >>> sparse = SparseLSTM.from_dense(dense)
    >>> torch.equal(sparse.to_dense().weight_ih_l0, dense.weight_ih_l0)
    True
    """

    _GATES: ClassVar[int]
    _DENSE: ClassVar[type[nn.LSTM] | type[nn.GRU]]
    _HIDDEN_BIAS: ClassVar[bool]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        sparsity: float = 0.9,
        kernel: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = check_size("input_size", input_size)
        self.hidden_size = check_size("hidden_size", hidden_size)
        self.num_layers = check_size("num_layers", num_layers)
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.bias = bias
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout: got {dropout}, takes 0 to 1")
        self.dropout = dropout
        self.proj_size = 0
        directions = 2 if bidirectional else 1
        self.input_products, self.hidden_products = nn.ModuleList(), nn.ModuleList()
        for number in range(num_layers * directions):
            extent = input_size if number < directions else hidden_size * directions
            for products, width, with_bias in (
                (self.input_products, extent, bias),
                (self.hidden_products, hidden_size, bias and self._HIDDEN_BIAS),
            ):
                products.append(
                    SparseLinear(
                        width,
                        self._GATES * hidden_size,
                        bias=with_bias,
                        sparsity=sparsity,
                        kernel=kernel,
                        device=device,
                        dtype=dtype,
                    )
                )

    @classmethod
    def from_dense(
        cls, dense: Any, masks: Mapping[str, Tensor] | None = None, *, kernel: str = "auto"
    ) -> Self:
        """The sparse form of torch's layer of the same name.

        Parameters
        ----------
        dense : torch.nn.LSTM or torch.nn.GRU
        masks : {str: bool tensor}, optional
            Which weights exist, by their names in torch (``"weight_ih_l0"``, ``"weight_hh_l0"``,
            ...), each of its weight's shape. Of a weight without a mask, those that are not exactly
            zero.
        kernel : "auto", "sparse" or "dense"
            As in :class:`SparseLinear`.

        Returns
        -------
        SparseLSTM or SparseGRU
            With copies of the weights, in their dtype and on their device.

        Raises
        ------
        TypeError
            It is another layer, or a mask is not bool.
        ValueError
            A mask has another shape, or names no weight.
        """
        if not isinstance(dense, cls._DENSE):
            raise TypeError(f"dense: got {type(dense).__name__}, takes {cls._DENSE.__name__}")
        masks = {} if masks is None else masks
        weights = dict(dense.named_parameters())
        unknown = sorted(
            set(masks) - {n for n in weights if n.startswith(("weight_i", "weight_h"))}
        )
        if unknown:
            raise ValueError(
                f"masks: got {unknown}, which name no weight of the {cls._DENSE.__name__}"
            )
        layer = cls(
            dense.input_size,
            dense.hidden_size,
            dense.num_layers,
            bias=dense.bias,
            batch_first=dense.batch_first,
            dropout=dense.dropout,
            bidirectional=dense.bidirectional,
            sparsity=0.99,
            dtype=weights["weight_ih_l0"].dtype,
        )
        layer.proj_size = dense.proj_size
        for number, suffix in layer._suffixes():
            bias_ih: Tensor | None = weights.get(f"bias_ih{suffix}")
            bias_hh: Tensor | None = weights.get(f"bias_hh{suffix}")
            if bias_ih is not None and bias_hh is not None and not cls._HIDDEN_BIAS:
                bias_ih, bias_hh = bias_ih + bias_hh, None
            for products, part, bias in (
                (layer.input_products, "ih", bias_ih),
                (layer.hidden_products, "hh", bias_hh),
            ):
                name = f"weight_{part}{suffix}"
                product = SparseLinear.from_weight(
                    weights[name], bias, masks.get(name), kernel=kernel
                )
                product.requires_grad_(weights[name].requires_grad)
                products[number] = product
            layer._take_rest(number, suffix, weights)
        return layer

    def to_dense(self) -> Any:
        """Copy the weights, zeros included, to torch's dense layer.

        Returns
        -------
        torch.nn.LSTM or torch.nn.GRU
        """
        first: SparseLinear = self.input_products[0]  # type: ignore[assignment]
        options: dict[str, Any] = {"proj_size": self.proj_size} if self.proj_size else {}
        dense = self._DENSE(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            bias=self.bias,
            batch_first=self.batch_first,
            dropout=self.dropout,
            bidirectional=self.bidirectional,
            device=first.values.device,
            dtype=first.values.dtype,
            **options,
        )
        weights = dict(dense.named_parameters())
        with torch.no_grad():
            for number, suffix in self._suffixes():
                for products, part in ((self.input_products, "ih"), (self.hidden_products, "hh")):
                    product: SparseLinear = products[number]  # type: ignore[assignment]
                    weights[f"weight_{part}{suffix}"].copy_(product.dense_weight())
                    if self.bias:
                        bias = weights[f"bias_{part}{suffix}"]
                        bias.zero_() if product.bias is None else bias.copy_(product.bias)
                self._give_rest(number, suffix, weights)
        return dense

    @property
    def mask(self) -> dict[str, Tensor]:
        """The bool mask of each weight, by torch's names."""
        masks: dict[str, Tensor] = {}
        for number, suffix in self._suffixes():
            for products, part in ((self.input_products, "ih"), (self.hidden_products, "hh")):
                product: SparseLinear = products[number]  # type: ignore[assignment]
                masks[f"weight_{part}{suffix}"] = product.mask
        return masks

    @property
    def nnz(self) -> int:
        """How many weights are stored, both products of every layer."""
        return sum(p.nnz for p in (*self.input_products, *self.hidden_products))

    def flatten_parameters(self) -> None:
        """Do nothing, for callers of torch's layers: no kernel wants the weights in one block."""

    def extra_repr(self) -> str:
        """Name the sizes, for ``repr``.

        Returns
        -------
        str
        """
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"

    def _suffixes(self) -> Iterator[tuple[int, str]]:
        """The number of each layer and direction, and the end of its parameters' names in torch."""
        directions = 2 if self.bidirectional else 1
        for number in range(self.num_layers * directions):
            reverse = "_reverse" if number % directions else ""
            yield number, f"_l{number // directions}{reverse}"

    def _take_rest(self, number: int, suffix: str, weights: Mapping[str, Tensor]) -> None:
        """Take a dense layer's weights besides its two products."""

    def _give_rest(self, number: int, suffix: str, weights: Mapping[str, Tensor]) -> None:
        """Write what :meth:`_take_rest` took."""

    @abstractmethod
    def _direction(
        self, number: int, x: Tensor, state: tuple[Tensor, ...], ends: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs and last state of one layer in one direction, forwards over ``x``."""

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size,)

    def _run(
        self, given: Tensor | PackedSequence, hx: tuple[Tensor, ...] | None
    ) -> tuple[Any, tuple[Tensor, ...]]:
        ends, order, packed = None, None, None
        if isinstance(given, PackedSequence):
            packed = given
            # In the order of their lengths, in which packed sequences lie.
            plain = PackedSequence(given.data, given.batch_sizes)
            x, lengths = pad_packed_sequence(plain)
            ends, order = lengths.to(x.device), given.sorted_indices
        else:
            x = given
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x: got shape {tuple(x.shape)}, takes (steps, batch, {self.input_size})"
            )
        batched = x.ndim == 3
        if not batched:
            x = x.unsqueeze(1)
        elif self.batch_first and packed is None:
            x = x.transpose(0, 1)
        state = self._first_state(x, hx, batched, order)
        device = x.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            x, state = x.to(dtype), tuple(part.to(dtype) for part in state)
        x, last = self._layers(x, state, ends)
        if packed is not None:
            if packed.unsorted_indices is not None:
                last = tuple(part.index_select(1, packed.unsorted_indices) for part in last)
            rows = [x[step, :size] for step, size in enumerate(packed.batch_sizes.tolist())]
            data = torch.cat(rows)
            return PackedSequence(data, *packed[1:]), last
        if not batched:
            return x.squeeze(1), tuple(part.squeeze(1) for part in last)
        return (x.transpose(0, 1) if self.batch_first else x), last

    def _first_state(
        self, x: Tensor, hx: tuple[Tensor, ...] | None, batched: bool, order: Tensor | None
    ) -> tuple[Tensor, ...]:
        count = len(self.input_products)
        shapes = [(count, x.shape[1], size) for size in self._state_sizes()]
        if hx is None:
            return tuple(x.new_zeros(shape) for shape in shapes)
        state = hx if batched else tuple(part.unsqueeze(1) for part in hx)
        if [tuple(part.shape) for part in state] != shapes:
            got = " and ".join(str(tuple(part.shape)) for part in hx)
            raise ValueError(f"state: got shape {got}, takes {' and '.join(map(str, shapes))}")
        return state if order is None else tuple(part.index_select(1, order) for part in state)

    def _layers(
        self, x: Tensor, state: tuple[Tensor, ...], ends: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        directions = 2 if self.bidirectional else 1
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = nn.functional.dropout(x, self.dropout)
            outputs = []
            for direction in range(directions):
                number = layer * directions + direction
                first = tuple(part[number] for part in state)
                turned = _turn(x, ends) if direction else x
                y, end = self._direction(number, turned, first, ends)
                outputs.append(_turn(y, ends) if direction else y)
                last.append(end)
            x = outputs[0] if directions == 1 else torch.cat(outputs, -1)
        return x, tuple(torch.stack(parts) for parts in zip(*last, strict=True))

    def _tensors(self, product: SparseLinear, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values and bias, under autocast in the dtype of ``x``."""
        values, bias = product.values, product.bias
        if torch.is_autocast_enabled(x.device.type):
            return values.to(x.dtype), None if bias is None else bias.to(x.dtype)
        return values, bias


def _turn(x: Tensor, ends: Tensor | None) -> Tensor:
    """Sequences ``(steps, batch, size)`` back to front, each within its own length."""
    if ends is None:
        return x.flip(0)
    steps = torch.arange(len(x), device=x.device)[:, None]
    source = torch.where(steps < ends, ends - 1 - steps, steps)
    return x.gather(0, source[..., None].expand_as(x))
