"""Recurrent networks whose input and recurrent products are sparse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tokfrag.sparse.layers.gated_recurrence import gated_recurrence
from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.recurrence import recurrence
from tokfrag.sparse.layers.recurrent_base import SparseRecurrent

State = tuple[Tensor, Tensor]


def _at_end(y: Tensor, first: Tensor, ends: Tensor | None) -> Tensor:
    """The output of each sequence's last step; the first state where there is no step."""
    if not len(y):
        return first
    if ends is None:
        return y[-1]
    return y[ends - 1, torch.arange(y.shape[1], device=y.device)]


class SparseLSTM(SparseRecurrent):
    """An LSTM with sparse weights, torch's equations and gate order (i, f, g, o).

    It takes what ``torch.nn.LSTM`` takes, packed sequences and ``hx=`` too. All steps of a layer in
    one direction are one autograd node.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        As in ``torch.nn.LSTM``.
    bias, batch_first, dropout, bidirectional, proj_size
        As in ``torch.nn.LSTM``; there is one bias a gate (torch keeps two and adds them). The
        projection itself, ``weight_hr``, stays dense.
    sparsity : float
        Share of zeros, at random places, of both products.
    kernel, device, dtype
        As in :class:`SparseLinear`.

    Examples
    --------
    >>> import torch
    >>> rnn = SparseLSTM(32, 64, sparsity=0.9, bidirectional=True)
    >>> y, (h, c) = rnn(torch.ones(5, 2, 32))
    >>> y.shape, h.shape, c.shape
    (torch.Size([5, 2, 128]), torch.Size([2, 2, 64]), torch.Size([2, 2, 64]))
    """

    _GATES, _DENSE, _HIDDEN_BIAS = 4, nn.LSTM, False

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
        proj_size: int = 0,
        sparsity: float = 0.9,
        kernel: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            sparsity=sparsity,
            kernel=kernel,
            device=device,
            dtype=dtype,
        )
        self.projections = nn.ParameterList()
        if not proj_size:
            return
        if not 0 < proj_size < hidden_size:
            raise ValueError(f"proj_size: got {proj_size}, takes 0 to {hidden_size - 1}")
        self.proj_size = proj_size
        directions = 2 if bidirectional else 1
        options: dict[str, Any] = {"sparsity": sparsity, "kernel": kernel}
        options |= {"device": device, "dtype": dtype}
        for number in range(len(self.input_products)):
            if number >= directions:
                self.input_products[number] = SparseLinear(
                    proj_size * directions, 4 * hidden_size, bias=bias, **options
                )
            self.hidden_products[number] = SparseLinear(
                proj_size, 4 * hidden_size, bias=False, **options
            )
            weight = torch.empty(proj_size, hidden_size, device=device, dtype=dtype)
            self.projections.append(
                nn.init.uniform_(weight, -(hidden_size**-0.5), hidden_size**-0.5)
            )

    def forward(self, input: Tensor | PackedSequence, hx: State | None = None) -> Any:
        """Run over ``input (steps, batch, input_size)``, batch first as asked, unbatched or packed.

        Parameters
        ----------
        input : (steps, batch, input_size) tensor or PackedSequence
        hx : pair of (layers, batch, size) tensors, optional
            First outputs and cell states; zeros by default.

        Returns
        -------
        tuple
            Outputs ``(steps, batch, directions * size)``, packed if ``input`` is, and the last
            ``(h, c)``, each ``(num_layers * directions, batch, size)``.
        """
        y, state = self._run(input, hx)
        return y, state

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def _direction(
        self, number: int, x: Tensor, state: tuple[Tensor, ...], ends: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        product: SparseLinear = self.hidden_products[number]  # type: ignore[assignment]
        inputs = self.input_products[number](x)
        values, _ = self._tensors(product, inputs)
        projection = self.projections[number].to(inputs.dtype) if self.proj_size else None
        h, c = state
        y, c = recurrence(
            inputs,
            h,
            c,
            values,
            product.local,
            product.runs,
            product.kernel,
            ends=ends,
            projection=projection,
        )
        return y, (_at_end(y, h, ends), c)

    def _take_rest(self, number: int, suffix: str, weights: Mapping[str, Tensor]) -> None:
        if self.proj_size:
            weight = weights[f"weight_hr{suffix}"]
            self.projections.append(
                nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
            )

    def _give_rest(self, number: int, suffix: str, weights: Mapping[str, Tensor]) -> None:
        if self.proj_size:
            weights[f"weight_hr{suffix}"].copy_(self.projections[number])


class SparseGRU(SparseRecurrent):
    """A GRU with sparse weights, torch's equations and gate order (r, z, n).

    It takes what ``torch.nn.GRU`` takes, packed sequences and ``hx=`` too. All steps of a layer in
    one direction are one autograd node.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As in ``torch.nn.GRU``.
    sparsity : float
        Share of zeros, at random places, of both products.
    kernel, device, dtype
        As in :class:`SparseLinear`.

    Examples
    --------
    >>> import torch
    >>> rnn = SparseGRU(32, 64, sparsity=0.9)
    >>> y, h = rnn(torch.ones(5, 2, 32))
    >>> y.shape, h.shape
    (torch.Size([5, 2, 64]), torch.Size([1, 2, 64]))
    """

    _GATES, _DENSE, _HIDDEN_BIAS = 3, nn.GRU, True

    def forward(self, input: Tensor | PackedSequence, hx: Tensor | None = None) -> Any:
        """Run over ``input (steps, batch, input_size)``, batch first as asked, unbatched or packed.

        Parameters
        ----------
        input : (steps, batch, input_size) tensor or PackedSequence
        hx : (layers, batch, hidden_size) tensor, optional
            First outputs; zeros by default.

        Returns
        -------
        tuple
            Outputs ``(steps, batch, directions * hidden_size)``, packed if ``input`` is, and the
            last ones ``(num_layers * directions, batch, hidden_size)``.
        """
        y, (h,) = self._run(input, None if hx is None else (hx,))
        return y, h

    def _direction(
        self, number: int, x: Tensor, state: tuple[Tensor, ...], ends: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        product: SparseLinear = self.hidden_products[number]  # type: ignore[assignment]
        inputs = self.input_products[number](x)
        values, bias = self._tensors(product, inputs)
        (h,) = state
        y = gated_recurrence(inputs, h, values, bias, product.local, product.runs, product.kernel)
        return y, (_at_end(y, h, ends),)
