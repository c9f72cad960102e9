"""Fragments over several processes: each cuts and merges its own part, borders are exchanged.

A process holds a block of the grid's windows, and the positions from its first window's start up to
the next process' first window (`GridShards`). To cut, it is sent the positions its windows hold
beyond its own; to merge, the parts of other processes' fragments that lie over its own positions.
Those are raw values, so every position is summed once, in the order of a merge in one process, and
normalised once: the same bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from tokfrag import _arrays
from tokfrag.fragments.distributed.exchange import Peers, Positions, Redistribution
from tokfrag.fragments.distributed.shard_merge import ShardMerge
from tokfrag.fragments.distributed.shards import GridShards
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.grid import FragmentGrid, source_table
from tokfrag.fragments.shapes import cut_of
from tokfrag.fragments.streams.cutting import pad_axis
from tokfrag.fragments.windows import Reduce, Window, numbers

_DTYPES = (*_arrays.KERNEL_DTYPES, "uint16", "uint32", "uint64", "complex64", "complex128")


def scatter_fragments(
    x: Any,
    grid: FragmentGrid,
    *,
    split: Sequence[int] | None = None,
    source: int | None = None,
    channels_last: bool = False,
    group: dist.ProcessGroup | None = None,
    threads: int | None = None,
) -> Any:
    """The fragments of this process' windows: its part of ``extract(x, grid)``.

    Every process of the group calls it. Each is sent, point to point, the positions that its
    windows hold beyond its own. Differentiable: the backward sends gradients the other way, so
    every process calls that too.

    Parameters
    ----------
    x : array or tensor
        This process' own part of the data, ``x_whole[..., *GridShards(...).region(rank)]``, so
        ``(batch, channels, *lengths)``; with `source`, the whole data there, and
        None elsewhere.
    grid : FragmentGrid
        Over the whole data.
    split : sequence of int, optional
        Processes along each axis, as `GridShards` takes it; `FragmentPlan` suggests one.
    source : int, optional
        The rank, in the group, that holds all the data.
    channels_last : bool
        Whether `x` is ``(batch, *lengths, channels)``.
    group : ProcessGroup, optional
        Of torch.distributed, gloo or NCCL (tensors on this process' GPU); all processes if not
        given.
    threads : int, optional
        At most so many threads for cutting.

    Returns
    -------
    (batch, n_own, channels, *size) array or tensor
        As `x` is, channels last too; ``n_own`` is the product of ``GridShards(...).counts(rank)``.

    Raises
    ------
    ValueError, TypeError
        An argument does not fit, or differs between processes.
    RuntimeError
        The call failed on another process, or torch.distributed is not initialised.

    Examples
    --------
    >>> import torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> scatter_fragments(np.arange(4.0).reshape(1, 1, 4), FragmentGrid((4,), 2)).tolist()
    [[[[0.0, 1.0]], [[2.0, 3.0]]]]
    >>> dist.destroy_process_group()
    """
    peers = Peers(group)
    shards: GridShards
    own: Tensor | None = None

    def facts() -> dict[str, int]:
        nonlocal shards, own
        shards = GridShards(grid, peers.count, split)
        holder = _rank(source, "source", peers)
        shape = shards.shape(peers.rank) if holder is None else grid.shape
        common = {"grid": _checksum(grid, shards.split, channels_last), "source": _of(holder)}
        if holder is not None and holder != peers.rank:
            if x is not None:
                raise ValueError(f"x: got an array on rank {peers.rank}, source is {holder}")
            return {**common, "batch": -1, "channels": -1, "dtype": -1, "kind": -1}
        own = _tensor(x, "x")
        if holder is not None and own.requires_grad:
            raise ValueError("source: gradients go to processes that hold data, detach x")
        _check_part(own, shape, channels_last)
        cut_of(grid, False, own.dtype)  # the type holds the pad value
        return {**common, **_facts(own, x, -1 if channels_last else 1)}

    agreed = _same(peers.agree(facts))
    first = 1 if channels_last else 2
    regions = [shards.region(rank) for rank in range(peers.count)]
    if source is not None:
        nothing = tuple(slice(0, 0) for _ in grid.shape)
        whole = tuple(slice(0, length) for length in grid.shape)
        regions = [whole if rank == source else nothing for rank in range(peers.count)]
    if own is None:
        own = _nothing(agreed, len(grid.shape), channels_last, peers)
    fragments = _scatter(own, shards, peers, regions, first, threads)
    return fragments.numpy() if agreed["kind"] == 0 else fragments


def gather_merge(
    fragments: Any,
    grid: FragmentGrid,
    *,
    window: Window = "uniform",
    reduce: Reduce = "mean",
    split: Sequence[int] | None = None,
    target: int | None = None,
    channels_last: bool = False,
    fill_value: bool | int | float = 0,
    group: dist.ProcessGroup | None = None,
    threads: int | None = None,
) -> Any:
    """Merge the fragments of all processes, at the positions this process owns.

    Every process of the group calls it, with the fragments of its own windows, as
    `scatter_fragments` cut them. Each is sent, point to point, the parts of other fragments over
    its positions, and adds and normalises every position once: the bits are those of
    ``merge(all_fragments, grid, ...)``. What fragments hold beyond an axis is left out, under
    ``"sum"`` too. Differentiable, like `scatter_fragments`.

    Parameters
    ----------
    fragments : (batch, n_own, channels, *size) array or tensor
        Of this process' windows; ``(batch, n_own, *size, channels)`` with `channels_last`.
    grid, split, channels_last, group, threads
        As `scatter_fragments` took them.
    window, reduce, fill_value
        As :func:`tokfrag.merge` takes them; weights of single fragments are given for the whole
        grid, ``(n, *size)``.
    target : int, optional
        The rank, in the group, that gets the whole result; the others get None. If not given, each
        gets its own part.

    Returns
    -------
    (batch, channels, *lengths) array or tensor, or None
        As `fragments` are, channels last too; the lengths are ``GridShards(...).shape(rank)``.

    Raises
    ------
    ValueError, TypeError
        An argument does not fit, or differs between processes.
    RuntimeError
        The call failed on another process, or torch.distributed is not initialised.

    Examples
    --------
    >>> import torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> grid = FragmentGrid((4,), 2, 1)
    >>> gather_merge(scatter_fragments(np.arange(4.0).reshape(1, 1, 4), grid), grid).tolist()
    [[[0.0, 1.0, 2.0, 3.0]]]
    >>> dist.destroy_process_group()
    """
    peers = Peers(group)
    shards: GridShards
    own: Tensor
    task: ShardMerge

    def facts() -> dict[str, int]:
        nonlocal shards, own, task
        shards = GridShards(grid, peers.count, split)
        getter = _rank(target, "target", peers)
        own = _tensor(fragments, "fragments")
        if getter is not None and own.requires_grad:
            raise ValueError("target: gradients come from processes that get a part, take none")
        _check_own(own, shards.counts(peers.rank), grid, channels_last)
        task = ShardMerge(
            shards, peers, window, reduce, fill_value, own.dtype, channels_last, threads
        )
        call = (shards.split, channels_last, reduce, repr(fill_value), _window_bytes(window))
        common = {"grid": _checksum(grid, *call), "target": _of(getter)}
        return {**common, **_facts(own, fragments, -1 if channels_last else 2)}

    _same(peers.agree(facts))
    merged: Tensor | None = _GatherMerge.apply(own, task)  # type: ignore[no-untyped-call]
    if target is not None:
        assert merged is not None
        merged = _gathered(merged, shards, peers, target, 1 if channels_last else 2)
    return merged if merged is None or _arrays.is_tensor(fragments) else merged.numpy()


class _GatherMerge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fragments: Tensor, task: ShardMerge) -> Tensor:
        merged = task(fragments)
        ctx.task = task
        if task.reduce == "max":
            ctx.save_for_backward(fragments, merged)
        return merged

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The window times what `scatter_fragments` would cut from the gradient."""
        task: ShardMerge = ctx.task
        gradient = gradients[0]
        if task.reduce == "max":  # shared evenly among the fragments that attain it
            fragments, largest = ctx.saved_tensors
            attained = (fragments == _cut(largest, task)).to(gradient.dtype)
            total = task.plain_sum(gradient.dtype)(attained).clamp_min(1)
            return _cut(gradient / total, task) * attained, None
        if task.reduce == "mean":
            half = gradient.dtype in (torch.float16, torch.bfloat16)
            wide = gradient.float() if half else gradient
            gradient = (wide / task.weight_sums(wide)).to(gradient.dtype)
        cut = _cut(gradient, task)
        window = task.own_window()
        return (cut if window is None else cut * window.to(cut)), None


class _Reach(NamedTuple):
    """The positions that a process' windows reach over along one axis."""

    needed: NDArray[np.int64]  # positions of the data
    gather: NDArray[np.int64]  # of each position reached, its place among those; -1: the pad value
    padded: bool


def _cut(x: Tensor, task: ShardMerge) -> Tensor:
    """`scatter_fragments` of a part of something merged; nothing lies beyond an axis."""
    shards, peers = task.plain_shards, task.peers
    regions = [shards.region(rank) for rank in range(peers.count)]
    return _scatter(x, shards, peers, regions, 1 if task.channels_last else 2, task.threads)


def _scatter(
    own: Tensor,
    shards: GridShards,
    peers: Peers,
    regions: list[tuple[slice, ...]],
    first: int,
    threads: int | None,
) -> Tensor:
    grid = shards.grid
    reaches = [_reaches(grid, shards.windows(rank)) for rank in range(peers.count)]
    needed: list[Positions] = [[axis.needed for axis in axes] for axes in reaches]
    block = Redistribution(peers, regions, needed, first)(own)
    counts = shards.counts(peers.rank)
    if 0 in counts:  # nothing to cut, yet part of the graph
        inner = (*grid.size, own.shape[-1]) if first == 1 else (own.shape[1], *grid.size)
        return block.reshape(own.shape[0], 0, *inner)
    for axis, reach in enumerate(reaches[peers.rank]):
        if reach.padded:
            missing = reach.gather < 0
            block = pad_axis(block, first + axis, reach.gather, missing, grid.pad_value)
    # On the positions they reach over, the windows lie as in a "shift" grid.
    shape = tuple(len(reach.gather) for reach in reaches[peers.rank])
    spec = (grid.size, grid.stride, "shift", "constant", 0, grid.dilation)
    local = FragmentGrid.checked(shape, *spec)  # type: ignore[arg-type]
    assert local.counts == counts
    return extract(block, local, channels_last=first == 1, threads=threads)


def _reaches(grid: FragmentGrid, windows: tuple[slice, ...]) -> list[_Reach]:
    reaches = []
    for axis, run in enumerate(windows):
        starts = grid.starts[axis][run]
        extent = grid.dilation[axis] * (grid.size[axis] - 1) + 1
        end = int(starts[-1]) + extent if len(starts) else 0
        positions = np.arange(int(starts[0]) if len(starts) else 0, end)
        source = source_table(grid, axis)[positions]
        needed, gather = np.unique(source, return_inverse=True)
        lost = int(len(needed) > 0 and needed[0] < 0)  # -1, the pad value, comes first
        padded = end > grid.shape[axis]
        reaches.append(_Reach(needed[lost:], gather.reshape(-1) - lost, padded))
    return reaches


def _gathered(
    part: Tensor, shards: GridShards, peers: Peers, target: int, first: int
) -> Tensor | None:
    """The whole result on one process."""
    whole = [np.arange(length) for length in shards.grid.shape]
    nothing = [np.arange(0) for _ in shards.grid.shape]
    needed: list[Positions] = [whole if rank == target else nothing for rank in range(peers.count)]
    regions = [shards.region(rank) for rank in range(peers.count)]
    block = Redistribution(peers, regions, needed, first)(part)
    return block if peers.rank == target else None


# Checks of a call's arguments


def _tensor(x: Any, name: str) -> Tensor:
    _arrays.check_array(x, name)
    if _arrays.is_tensor(x):
        tensor: Tensor = x
        return tensor
    plain = x.flags.writeable and all(stride >= 0 for stride in x.strides)
    return torch.from_numpy(x if plain else x.copy())


def _check_part(x: Tensor, shape: tuple[int, ...], channels_last: bool) -> None:
    got = tuple(x.shape[1:-1] if channels_last else x.shape[2:])
    if x.ndim != 2 + len(shape) or got != shape:
        takes = f"(batch, *{shape}, channels)" if channels_last else f"(batch, channels, *{shape})"
        raise ValueError(f"x: got shape {tuple(x.shape)}, takes {takes}, this process' region")


def _check_own(
    fragments: Tensor, counts: tuple[int, ...], grid: FragmentGrid, channels_last: bool
) -> None:
    n = int(np.prod(counts))
    size = fragments.shape[2:-1] if channels_last else fragments.shape[3:]
    if fragments.ndim != 3 + len(counts) or fragments.shape[1] != n or tuple(size) != grid.size:
        inner = f"*{grid.size}, channels" if channels_last else f"channels, *{grid.size}"
        raise ValueError(
            f"fragments: got shape {tuple(fragments.shape)}, takes (batch, {n}, {inner}), "
            "the fragments of this process' windows"
        )


def _facts(own: Tensor, x: Any, channel_axis: int) -> dict[str, int]:
    name = _arrays.dtype_name(own.dtype)
    if name not in _DTYPES:
        raise TypeError(f"x: got type {name}, takes numbers")
    wants = own.requires_grad and torch.is_grad_enabled()
    return {
        "batch": own.shape[0],
        "channels": own.shape[channel_axis],
        "dtype": _DTYPES.index(name),
        "kind": (2 if wants else 1) if _arrays.is_tensor(x) else 0,
    }


def _same(everyone: list[dict[str, int]]) -> dict[str, int]:
    """The facts all agree on; -1 where a process has none."""
    agreed: dict[str, int] = {}
    for name in everyone[0]:
        values = {facts[name] for facts in everyone if facts[name] >= 0}
        if len(values) > 1:
            told = ", ".join(f"rank {rank}: {facts[name]}" for rank, facts in enumerate(everyone))
            what = {
                "grid": "grid, split, window or another option",
                "kind": "kind or requires_grad",
            }
            raise ValueError(f"{what.get(name, name)}: differs between processes ({told})")
        agreed[name] = values.pop() if values else -1
    return agreed


def _nothing(facts: dict[str, int], rank: int, channels_last: bool, peers: Peers) -> Tensor:
    """No positions of the data that another process holds."""
    space = (0,) * rank
    shape = (*space, facts["channels"]) if channels_last else (facts["channels"], *space)
    dtype = getattr(torch, _DTYPES[facts["dtype"]])
    return torch.empty((facts["batch"], *shape), dtype=dtype, device=peers.device)


def _rank(rank: int | None, name: str, peers: Peers) -> int | None:
    if rank is not None and not (isinstance(rank, int) and 0 <= rank < peers.count):
        raise ValueError(f"{name}: got {rank!r}, takes a rank of the group, 0 to {peers.count - 1}")
    return rank


def _of(rank: int | None) -> int:
    return 0 if rank is None else 1 + rank


def _checksum(grid: FragmentGrid, *others: object) -> int:
    return zlib.crc32(repr((grid, grid.pad_mode, grid.pad_value, *others)).encode())


def _window_bytes(window: Window) -> object:
    if isinstance(window, str):
        return window
    parts = window if isinstance(window, (list, tuple)) else [window]
    return [zlib.crc32(numbers(part).tobytes()) for part in parts]
