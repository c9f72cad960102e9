"""Processes of torch.distributed: agreeing on a call, and moving parts of arrays between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

#: Positions along each axis, ascending.
Positions = Sequence[NDArray[np.int64]]
Index = tuple[slice, ...]

T = TypeVar("T")


class Peers:
    """The processes of a group, numbered within it."""

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        if not dist.is_available() or not dist.is_initialized():
            raise RuntimeError(
                "group: torch.distributed is not initialised; "
                "call torch.distributed.init_process_group first"
            )
        world = dist.group.WORLD if group is None else group
        assert world is not None
        self.group = world
        self.rank = dist.get_rank(self.group)
        self.count = dist.get_world_size(self.group)
        if self.rank < 0:
            raise ValueError("group: this process is not in it")
        # Messages lie where the backend takes them: NCCL's on a GPU, gloo's on the host.
        nccl = "nccl" in str(dist.get_backend(self.group))
        self.device = torch.device("cuda", torch.cuda.current_device()) if nccl else "cpu"

    def agree(self, facts: Callable[[], dict[str, int]]) -> list[dict[str, int]]:
        """The facts of every process; raises everywhere if it raises anywhere.

        A process that raised alone would leave the others waiting for its messages.
        """
        error: Exception | None = None
        own: dict[str, int] = {}
        try:
            own = facts()
        except Exception as raised:
            error = raised
        numbers = torch.zeros(8, dtype=torch.int64)
        numbers[0] = error is None
        numbers[1 : 1 + len(own)] = torch.tensor(list(own.values()))
        gathered = [torch.empty_like(numbers, device=self.device) for _ in range(self.count)]
        dist.all_gather(gathered, numbers.to(self.device), group=self.group)
        if error is not None:
            try:
                raise error
            finally:
                # Else its traceback holds this frame, and that the group and its threads, until the
                # garbage collector comes by: for a process that ends, too late.
                del error
        lists = [each.tolist() for each in gathered]
        refused = [rank for rank, each in enumerate(lists) if not each[0]]
        if refused:
            raise RuntimeError(f"the call failed on rank {refused[0]}, which says why")
        return [dict(zip(own, each[1:], strict=False)) for each in lists]

    def swap(self, outgoing: list[Tensor], sizes: list[int]) -> list[Tensor | None]:
        """Give each process its message; take `sizes[rank]` numbers from each that has some.

        Messages are flat and of one dtype; one to oneself is handed over as it is.
        """
        like = outgoing[self.rank]
        operations = []
        held: list[Tensor] = []  # until all is sent
        incoming: list[Tensor | None] = [None] * self.count
        for rank in range(self.count):
            message = outgoing[rank]
            if rank == self.rank:
                continue
            peer = dist.get_global_rank(self.group, rank)
            if message.numel():
                staged = message.to(self.device).contiguous().view(torch.uint8)
                held.append(staged)
                operations.append(dist.P2POp(dist.isend, staged, peer, self.group))
            if sizes[rank]:
                length = sizes[rank] * like.element_size()
                buffer = torch.empty(length, dtype=torch.uint8, device=self.device)
                incoming[rank] = buffer
                operations.append(dist.P2POp(dist.irecv, buffer, peer, self.group))
        if operations:
            for work in dist.batch_isend_irecv(operations):
                work.wait()
        arrived = [
            None if message is None else message.view(like.dtype).to(like.device)
            for message in incoming
        ]
        arrived[self.rank] = like
        return arrived


@dataclass(frozen=True)
class Redistribution:
    """Parts of an array go from the processes that own them to those that need them.

    Parameters
    ----------
    peers : Peers
        The processes.
    owned : sequence of one range an axis, one a process
        The positions that each process holds; they do not overlap.
    needed : sequence of one array an axis, one a process
        The positions along each axis that each process wants: their product.
    first : int
        The array's first space-time axis.
    """

    peers: Peers
    owned: Sequence[Index]
    needed: Sequence[Positions]
    first: int

    def __call__(self, x: Tensor) -> Tensor:
        """Give the positions that this process needs; differentiable: all call the backward too."""
        moved: Tensor = _Redistribute.apply(x, self)  # type: ignore[no-untyped-call]
        return moved

    def spread(self, x: Tensor) -> Tensor:
        """From owners to those in need: this process' block."""
        me, places, sizes = self.peers.rank, [], []
        shape = self._block_shape(x)
        for owner in range(self.peers.count):
            place = self._place(owner, me)
            places.append(place)
            sizes.append(_volume(shape, self.first, place))
        outgoing = [_taken(x, self.first, self._positions(me, r)) for r in range(self.peers.count)]
        incoming = self.peers.swap(outgoing, sizes)
        block = x.new_empty(shape)
        for place, message in zip(places, incoming, strict=True):
            target = block[self._whole_index(place)]
            if message is not None and target.numel():
                target.copy_(message.view(target.shape))
        return block

    def collect(self, block: Tensor, shape: torch.Size) -> Tensor:
        """The adjoint: from blocks back to their owners, added up rank by rank."""
        me, outgoing, sizes, positions = self.peers.rank, [], [], []
        for rank in range(self.peers.count):
            outgoing.append(block[self._whole_index(self._place(rank, me))].reshape(-1))
            positions.append(self._positions(me, rank))
            lengths = [*shape[: self.first], *map(len, positions[-1])]
            lengths += shape[len(lengths) :]
            sizes.append(prod(lengths))
        incoming = self.peers.swap(outgoing, sizes)
        total = block.new_zeros(shape)
        for message, place in zip(incoming, positions, strict=True):
            if message is not None and message.numel():
                grid = tuple(torch.from_numpy(axis).to(block.device) for axis in np.ix_(*place))
                index = (slice(None),) * self.first + grid
                # The axes so indexed are neighbours, so they stay where they are.
                total[index] += message.view(total[index].shape)
        return total

    def _block_shape(self, x: Tensor) -> tuple[int, ...]:
        lengths = [len(axis) for axis in self.needed[self.peers.rank]]
        return (*x.shape[: self.first], *lengths, *x.shape[self.first + len(lengths) :])

    def _whole_index(self, place: Index) -> Index:
        return (slice(None),) * self.first + place

    def _place(self, owner: int, needy: int) -> Index:
        """Where what comes from `owner` lies in the block of `needy`."""
        return tuple(
            slice(*np.searchsorted(need, (own.start, own.stop)).tolist())
            for own, need in zip(self.owned[owner], self.needed[needy], strict=True)
        )

    def _positions(self, owner: int, needy: int) -> list[NDArray[np.int64]]:
        """Where what `needy` gets lies in the region of `owner`."""
        return [
            need[place] - own.start
            for own, need, place in zip(
                self.owned[owner], self.needed[needy], self._place(owner, needy), strict=True
            )
        ]


class _Redistribute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, task: Redistribution) -> Tensor:
        ctx.task, ctx.shape = task, x.shape
        return task.spread(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total: Tensor = _Collect.apply(gradients[0], ctx.task, ctx.shape)  # type: ignore[no-untyped-call]
        return total, None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, block: Tensor, task: Redistribution, shape: torch.Size) -> Tensor:
        ctx.task = task
        return task.collect(block, shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.task(gradients[0]), None, None


def _taken(x: Tensor, first: int, positions: Positions) -> Tensor:
    """The product of some positions along the space-time axes, flat."""
    for axis, wanted in enumerate(positions):
        at = first + axis
        if len(wanted) == 0 or wanted[-1] - wanted[0] + 1 == len(wanted):
            x = x.narrow(at, int(wanted[0]) if len(wanted) else 0, len(wanted))
        else:
            x = x.index_select(at, torch.from_numpy(wanted).to(x.device))
    return x.reshape(-1)


def _volume(shape: Sequence[int], first: int, place: Index) -> int:
    lengths = list(shape)
    for axis, part in enumerate(place):
        lengths[first + axis] = part.stop - part.start
    return prod(lengths)
