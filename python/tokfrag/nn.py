"""torch modules.

>>> import torch
>>> from tokfrag.nn import FragmentExtract, FragmentMerge
>>> cut = FragmentExtract(4, 2)
>>> x = torch.randn(2, 3, 10)
>>> torch.equal(FragmentMerge(4, 2)(cut(x), x.shape[2:]), x)
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag._operators import DECOMPOSITIONS, is_exporting
from tokfrag.fragments.arguments import PerAxis, window_spec
from tokfrag.fragments.axes import Edge, PadMode
from tokfrag.fragments.engines import composed
from tokfrag.fragments.engines.composed import FreeGrid
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import merge
from tokfrag.fragments.operators import (  # noqa: F401 (their decompositions)
    extract_merge,
    features,
    segments,
)
from tokfrag.fragments.windows import REDUCES, Reduce, Window, window_weights

__all__ = ["FragmentExtract", "FragmentMerge", "decompositions"]


def decompositions() -> dict[Any, Callable[..., Any]]:
    """What the package's operators on fragments are made of, by torch's own operators.

    For ``ExportedProgram.run_decompositions``, where a program goes to what knows no others.
    ``torch.onnx.export`` of a module needs no such table.

    Returns
    -------
    dict
        A function for each operator.

    Examples
    --------
    >>> import torch
    >>> program = torch.export.export(FragmentExtract(4, 2), (torch.zeros(1, 1, 8),))
    >>> "tokfrag" in program.run_decompositions(decompositions()).graph_module.code
    False
    """
    return dict(DECOMPOSITIONS)


class _OnGrid(nn.Module):
    """A module that holds the windows of a grid, whatever the shape they come to lie on.

    ``torch.export`` with free lengths makes of it a graph of torch's own operators.
    """

    def __init__(
        self,
        size: PerAxis,
        stride: PerAxis | None,
        edge: Edge,
        pad_mode: PadMode,
        pad_value: float,
        dilation: PerAxis,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.size, self.stride, self.dilation = size, stride, dilation
        self.edge: Edge = edge
        self.pad_mode: PadMode = pad_mode
        self.pad_value = pad_value
        self.channels_last = channels_last

    def _free_grid(self, shape: Sequence[int]) -> FreeGrid | None:
        """The grid on lengths that an export leaves open; None if they are all known."""
        if not any(isinstance(length, torch.SymInt) for length in shape):
            return None
        options = (self.edge, self.pad_mode, self.pad_value, self.dilation)
        spec = window_spec(len(shape), self.size, self.stride, *options)
        size, stride, edge, pad_mode, pad_value, dilation = spec
        return FreeGrid(tuple(shape), size, stride, dilation, edge, pad_mode, pad_value)

    def grid(self, shape: Sequence[int]) -> FragmentGrid:
        """Lay the windows on space-time axes of these lengths.

        Parameters
        ----------
        shape : sequence of int
            The lengths of the space-time axes.

        Returns
        -------
        FragmentGrid
            With the windows and the edge rule of this module.

        Examples
        --------
        >>> FragmentExtract(8, 4).grid((16, 16)).n
        9
        """
        return FragmentGrid(
            tuple(shape),
            self.size,
            self.stride,
            edge=self.edge,
            pad_mode=self.pad_mode,
            pad_value=self.pad_value,
            dilation=self.dilation,
        )

    def extra_repr(self) -> str:
        """Name the options, for ``repr``.

        Returns
        -------
        str
            ``name=value`` by commas.

        Examples
        --------
        >>> FragmentExtract(8, 4)
        FragmentExtract(size=8, stride=4, edge='pad', channels_last=False)
        """
        return (
            f"size={self.size}, stride={self.stride}, edge={self.edge!r}, "
            f"channels_last={self.channels_last}"
        )


class FragmentExtract(_OnGrid):
    """:func:`tokfrag.extract` as a layer: ``(batch, channels, *space_time)`` in.

    Parameters
    ----------
    size, stride, edge, pad_mode, pad_value, dilation :
        As :class:`tokfrag.FragmentGrid` takes them; the shape is the input's.
    channels_last : bool
        Takes ``(batch, *space_time, channels)``.
    flatten : bool
        Return ``(batch * n, channels, *size)``, what a model of fragments takes, instead of
        ``(batch, n, channels, *size)``.

    Examples
    --------
    >>> import torch
    >>> FragmentExtract(8, 4, flatten=True)(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([18, 3, 8, 8])
    """

    def __init__(
        self,
        size: PerAxis,
        stride: PerAxis | None = None,
        *,
        edge: Edge = "pad",
        pad_mode: PadMode = "constant",
        pad_value: float = 0,
        dilation: PerAxis = 1,
        channels_last: bool = False,
        flatten: bool = False,
    ) -> None:
        super().__init__(size, stride, edge, pad_mode, pad_value, dilation, channels_last)
        self.flatten = flatten

    def forward(self, x: Tensor) -> Tensor:
        """Cut ``x`` into its fragments; differentiable.

        Parameters
        ----------
        x : (batch, channels, *space_time) tensor
            Any real dtype; with ``channels_last``, channels are last.

        Returns
        -------
        (batch, n, channels, *size) tensor
            In the dtype and on the device of ``x``; with ``flatten``, batch and n are one axis.
        """
        shape = x.shape[1:-1] if self.channels_last else x.shape[2:]
        free = self._free_grid(shape) if is_exporting() else None
        if free is not None:
            fragments = composed.extract_free(x, free, self.channels_last)
        else:
            fragments = extract(x, self.grid(shape), channels_last=self.channels_last)
        return fragments.flatten(0, 1) if self.flatten else fragments


class FragmentMerge(_OnGrid):
    """:func:`tokfrag.merge` as a layer: fragments and the shape they were cut from in.

    Parameters
    ----------
    size, stride, edge, pad_mode, dilation :
        As the :class:`FragmentExtract` that cut the fragments has them.
    window, reduce, fill_value :
        As :func:`tokfrag.merge` takes them.
    channels_last : bool
        Takes ``(batch, n, *size, channels)``.

    Examples
    --------
    >>> import torch
    >>> FragmentMerge(8, 4, window="hann")(torch.zeros(18, 3, 8, 8), (16, 16)).shape
    torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        size: PerAxis,
        stride: PerAxis | None = None,
        *,
        window: Window = "uniform",
        reduce: Reduce = "mean",
        edge: Edge = "pad",
        pad_mode: PadMode = "constant",
        dilation: PerAxis = 1,
        channels_last: bool = False,
        fill_value: float = 0,
    ) -> None:
        super().__init__(size, stride, edge, pad_mode, 0, dilation, channels_last)
        self.window: Window = window
        self.reduce: Reduce = reduce
        self.fill_value = fill_value

    def forward(self, fragments: Tensor, shape: Sequence[int]) -> Tensor:
        """Merge fragments into one array of the given shape; differentiable.

        Parameters
        ----------
        fragments : (batch, n, channels, *size) or (batch * n, channels, *size) tensor
            As :class:`FragmentExtract` gives them; with ``channels_last``, channels are last.
        shape : sequence of int
            The lengths of the space-time axes of what they were cut from.

        Returns
        -------
        (batch, channels, *shape) tensor
            In the dtype and on the device of ``fragments``.

        Raises
        ------
        ValueError
            Batch and n are one axis, and its length is no multiple of n.
        """
        free = self._free_grid(shape) if is_exporting() else None
        if free is not None:
            return self._merge_free(fragments, free)
        grid = self.grid(shape)
        if fragments.ndim == 2 + len(grid.shape):
            if grid.n == 0 or fragments.shape[0] % grid.n:
                raise ValueError(
                    f"fragments: got {fragments.shape[0]}, takes a multiple of the grid's {grid.n}"
                )
            fragments = fragments.reshape(-1, grid.n, *fragments.shape[1:])
        return merge(
            fragments,
            grid,
            window=self.window,
            reduce=self.reduce,
            channels_last=self.channels_last,
            fill_value=self.fill_value,
        )

    def _merge_free(self, fragments: Tensor, grid: FreeGrid) -> Tensor:
        """The same on lengths that an export leaves open; every window has the same weights."""
        if self.reduce not in REDUCES:
            takes = ", ".join(map(repr, REDUCES))
            raise ValueError(f"reduce: got {self.reduce!r}, takes {takes} with free lengths")
        if fragments.ndim == 2 + len(grid.shape):
            fragments = fragments.reshape(-1, grid.n, *fragments.shape[1:])
        single = FragmentGrid(grid.size, grid.size)
        weights = None if self.reduce == "max" else window_weights(single, self.window)
        options = (self.reduce, self.channels_last, self.fill_value)
        return composed.merge_free(fragments, grid, weights, *options)
