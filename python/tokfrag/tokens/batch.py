"""Many encoded texts as two flat arrays."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tokfrag._core import tokens as _native

if TYPE_CHECKING:
    import torch


class TokenBatch:
    """The ids of many texts, end to end: text ``i`` has ``ids[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    ids : array (tokens,), uint32
    offsets : array (texts + 1,), int64
        Not decreasing, from 0 to ``len(ids)``.

    Examples
    --------
    >>> batch = TokenBatch(np.array([5, 6, 7], np.uint32), np.array([0, 2, 3]))
    >>> len(batch), batch[1].tolist()
    (2, [7])
    >>> ids, mask = batch.to_padded(pad_id=0)
    >>> ids.tolist(), mask.tolist()
    ([[5, 6], [7, 0]], [[True, True], [True, False]])
    """

    __slots__ = ("ids", "offsets")

    def __init__(self, ids: NDArray[np.uint32], offsets: NDArray[np.int64]) -> None:
        ids = np.asarray(ids)
        offsets = np.asarray(offsets)
        if ids.ndim != 1 or ids.dtype != np.uint32:
            raise ValueError(f"ids: expected (tokens,) uint32, got {ids.shape} {ids.dtype}")
        if offsets.ndim != 1 or offsets.dtype != np.int64 or len(offsets) == 0:
            raise ValueError(
                f"offsets: expected (texts + 1,) int64, got {offsets.shape} {offsets.dtype}"
            )
        if offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets: expected to rise from 0 to len(ids) = {len(ids)}")
        self.ids = ids
        self.offsets = offsets

    @classmethod
    def _trusted(cls, ids: NDArray[np.uint32], offsets: NDArray[np.int64]) -> TokenBatch:
        batch = cls.__new__(cls)
        batch.ids = ids
        batch.offsets = offsets
        return batch

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.uint32]:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"index: {index} is outside a batch of {count} texts")
        index %= count
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[np.uint32]]:
        return (self.ids[begin:end] for begin, end in pairwise(self.offsets.tolist()))

    def __repr__(self) -> str:
        return f"TokenBatch({len(self)} texts, {len(self.ids)} tokens)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenBatch):
            return NotImplemented
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.offsets, other.offsets)

    __hash__ = None  # type: ignore[assignment]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many tokens each text has: (texts,) int64."""
        return np.diff(self.offsets)

    def tolist(self) -> list[list[int]]:
        """The ids as lists of Python's integers, which are made all at once.

        Returns
        -------
        list of list of int
            One a text.

        Examples
        --------
        >>> TokenBatch(np.array([7, 8, 9], np.uint32), np.array([0, 2, 2, 3])).tolist()
        [[7, 8], [], [9]]
        """
        numbers: list[int] = self.ids.tolist()
        return [numbers[begin:end] for begin, end in pairwise(self.offsets.tolist())]

    def to_padded(
        self,
        length: int | None = None,
        pad_id: int = 0,
        side: str = "right",
        dtype: DTypeLike = np.int64,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A matrix with a row a text, and a mask that is True where it holds an id.

        Parameters
        ----------
        length : int, optional
            Columns; the longest text by default. A longer text keeps its first ``length`` ids.
        pad_id : int
            What fills the rest.
        side : "right" or "left"
            Where the filling goes.
        dtype : int64 or int32

        Returns
        -------
        ids : array (texts, length)
        mask : array (texts, length), bool

        Raises
        ------
        ValueError
            ``length`` is negative, or ``side`` or ``dtype`` is none of these.
        """
        if length is None:
            length = int(self.lengths.max(initial=0))
        elif length < 0:
            raise ValueError(f"length: expected at least 0, got {length}")
        if side not in ("right", "left"):
            raise ValueError(f"side: expected 'right' or 'left', got {side!r}")
        kind = np.dtype(dtype)
        if kind == np.int64:
            return _native.pad_i64(self.ids, self.offsets, length, pad_id, side == "left")
        if kind == np.int32:
            return _native.pad_i32(self.ids, self.offsets, length, pad_id, side == "left")
        raise ValueError(f"dtype: expected int64 or int32, got {kind}")

    def to_torch(
        self,
        length: int | None = None,
        pad_id: int = 0,
        side: str = "right",
        dtype: DTypeLike = np.int64,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad as :meth:`to_padded` does, to torch tensors without a copy.

        Parameters
        ----------
        length, pad_id, side, dtype
            As in :meth:`to_padded`.

        Returns
        -------
        ids : tensor (texts, length)
        mask : tensor (texts, length), bool
        """
        import torch

        ids, mask = self.to_padded(length, pad_id, side, dtype)
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def to_arrow(self) -> Any:
        """The ids as an Arrow array of lists, without a copy.

        Returns
        -------
        pyarrow.LargeListArray
            A list of uint32 a text; it holds the memory of ``ids`` and ``offsets``.

        Raises
        ------
        ModuleNotFoundError
            pyarrow is not installed.
        """
        import pyarrow

        return pyarrow.LargeListArray.from_arrays(
            pyarrow.array(self.offsets), pyarrow.array(self.ids)
        )

    def to_nested(self) -> torch.Tensor:
        """Make a jagged nested tensor, which takes no padding.

        Returns
        -------
        nested tensor (texts, tokens of each), int64
        """
        import torch

        values = torch.from_numpy(self.ids.astype(np.int64))
        return torch.nested.nested_tensor_from_jagged(values, torch.from_numpy(self.offsets))
