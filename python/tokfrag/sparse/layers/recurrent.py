"""An LSTM whose input and recurrent products are sparse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.recurrence import recurrence
from tokfrag.sparse.layers.stored import check_size

State = tuple[Tensor, Tensor]


class SparseLSTM(nn.Module):
    """A (stacked) LSTM with sparse weights, torch's equations and gate order (i, f, g, o).

    The four gates of a layer are one product. The input product of a layer runs over the whole
    sequence at once; only the recurrent one runs step by step.

    Parameters
    ----------
    input_size, hidden_size, num_layers
        As in ``torch.nn.LSTM``.
    bias, batch_first, dropout
        As in ``torch.nn.LSTM``; there is one bias a gate (torch keeps two and adds them).
    sparsity
        Share of zeros, at random places, of both products.

    Examples
    --------
    >>> import torch
    >>> rnn = SparseLSTM(32, 64, sparsity=0.9)
    >>> y, (h, c) = rnn(torch.ones(5, 2, 32))
    >>> y.shape, h.shape, c.shape
    (torch.Size([5, 2, 64]), torch.Size([1, 2, 64]), torch.Size([1, 2, 64]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
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
        self.bias = bias
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout: got {dropout}, takes 0 to 1")
        self.dropout = dropout

        def product(extent: int, with_bias: bool) -> SparseLinear:
            return SparseLinear(
                extent,
                4 * hidden_size,
                bias=with_bias,
                sparsity=sparsity,
                kernel=kernel,
                device=device,
                dtype=dtype,
            )

        extents = [input_size, *[hidden_size] * (num_layers - 1)]
        self.input_products = nn.ModuleList(product(extent, bias) for extent in extents)
        self.hidden_products = nn.ModuleList(product(hidden_size, False) for _ in extents)

    @classmethod
    def from_dense(
        cls, lstm: nn.LSTM, masks: Mapping[str, Tensor] | None = None, *, kernel: str = "auto"
    ) -> SparseLSTM:
        """The sparse form of an LSTM.

        ``masks`` maps parameter names (``"weight_ih_l0"``, ``"weight_hh_l0"``, ...) to bool masks;
        for names it lacks, weights that are exactly zero are left out. Bidirectional LSTMs and
        projections are refused (ValueError).
        """
        if not isinstance(lstm, nn.LSTM):
            raise TypeError(f"lstm: got {type(lstm).__name__}, takes torch.nn.LSTM")
        if lstm.bidirectional or lstm.proj_size:
            raise ValueError("lstm: takes bidirectional=False and proj_size=0")
        masks = {} if masks is None else masks
        weights = dict(lstm.named_parameters())
        unknown = sorted(set(masks) - {n for n in weights if n.startswith("weight")})
        if unknown:
            raise ValueError(f"masks: got {unknown}, which name no weight of the LSTM")
        layer = cls(
            lstm.input_size,
            lstm.hidden_size,
            lstm.num_layers,
            bias=lstm.bias,
            batch_first=lstm.batch_first,
            dropout=lstm.dropout,
            sparsity=0.99,
            dtype=weights["weight_ih_l0"].dtype,
        )
        for index in range(lstm.num_layers):
            bias = None
            if lstm.bias:
                bias = weights[f"bias_ih_l{index}"] + weights[f"bias_hh_l{index}"]
                bias = bias.detach()
            for products, part, part_bias in (
                (layer.input_products, "ih", bias),
                (layer.hidden_products, "hh", None),
            ):
                name = f"weight_{part}_l{index}"
                products[index] = SparseLinear.from_weight(
                    weights[name], part_bias, masks.get(name), kernel=kernel
                )
        return layer

    def to_dense(self) -> nn.LSTM:
        """A ``torch.nn.LSTM`` of the same weights; the bias goes to ``bias_ih``."""
        first: SparseLinear = self.input_products[0]  # type: ignore[assignment]
        lstm = nn.LSTM(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            bias=self.bias,
            batch_first=self.batch_first,
            dropout=self.dropout,
            device=first.values.device,
            dtype=first.values.dtype,
        )
        weights = dict(lstm.named_parameters())
        with torch.no_grad():
            for index in range(self.num_layers):
                inputs: SparseLinear = self.input_products[index]  # type: ignore[assignment]
                hidden: SparseLinear = self.hidden_products[index]  # type: ignore[assignment]
                weights[f"weight_ih_l{index}"].copy_(inputs.dense_weight())
                weights[f"weight_hh_l{index}"].copy_(hidden.dense_weight())
                if inputs.bias is not None:
                    weights[f"bias_ih_l{index}"].copy_(inputs.bias)
                    weights[f"bias_hh_l{index}"].zero_()
        return lstm

    @property
    def mask(self) -> dict[str, Any]:
        """The bool mask of each weight, by torch's names."""
        masks = {}
        for index in range(self.num_layers):
            masks[f"weight_ih_l{index}"] = self.input_products[index].mask
            masks[f"weight_hh_l{index}"] = self.hidden_products[index].mask
        return masks

    @property
    def nnz(self) -> int:
        """How many weights are stored, both products of every layer."""
        return sum(p.nnz for p in (*self.input_products, *self.hidden_products))

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """``x (steps, batch, input_size)``, or batch first as asked; unbatched ``(steps, size)``.

        Returns the outputs ``(steps, batch, hidden_size)`` and the last ``(h, c)``, each
        ``(num_layers, batch, hidden_size)``.
        """
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x: got shape {tuple(x.shape)}, takes (steps, batch, {self.input_size})"
            )
        batched = x.ndim == 3
        if not batched:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        shape = (self.num_layers, x.shape[1], self.hidden_size)
        if state is None:
            zeros = x.new_zeros(shape)
            state = (zeros, zeros)
        elif not batched:
            state = (state[0].unsqueeze(1), state[1].unsqueeze(1))
        if state[0].shape != shape or state[1].shape != shape:
            raise ValueError(f"state: got shape {tuple(state[0].shape)}, takes twice {shape}")
        last_h, last_c = [], []
        for index in range(self.num_layers):
            if index and self.dropout and self.training:
                x = nn.functional.dropout(x, self.dropout)
            x, h, c = self._run_layer(index, x, state[0][index], state[1][index])
            last_h.append(h)
            last_c.append(c)
        h, c = torch.stack(last_h), torch.stack(last_c)
        if not batched:
            return x.squeeze(1), (h.squeeze(1), c.squeeze(1))
        return (x.transpose(0, 1) if self.batch_first else x), (h, c)

    def _run_layer(
        self, index: int, x: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        product: SparseLinear = self.hidden_products[index]  # type: ignore[assignment]
        inputs = self.input_products[index](x)
        y, c = recurrence(inputs, h, c, product.values, product.local, product.runs, product.kernel)
        return y, (y[-1] if len(y) else h), c

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"
