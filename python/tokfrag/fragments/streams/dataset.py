"""Fragments as a dataset, for arrays that are larger than memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.arguments import one_integer
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.selection import Where, chosen_windows
from tokfrag.fragments.streams.cutting import cut_numbers


class FragmentDataset:
    """The fragments of an array, one at a time: what a ``torch.utils.data.DataLoader`` takes.

    Fragment ``i`` is number ``i % grid.n`` of batch entry ``i // grid.n``. Only the part of the
    array that it holds is read, when it is asked for; datasets pickle if their array does (a NumPy
    memory map, or a view into one, is opened anew from its file, and not copied).

    Parameters
    ----------
    x : (batch, channels, *space_time)
        An array, a tensor, a memory map, or whatever has ``shape`` and ``dtype`` and slices into
        arrays (zarr, HDF5).
    grid : FragmentGrid
        Over ``x.shape[2:]``.
    where : optional
        A mask over space-time, for the windows that touch it, or numbers of windows, in their
        order. Fragment ``i`` is then number ``where[i % len(where)]`` of entry ``i // len(where)``.
    with_index : bool
        Give pairs of a fragment and its window's number over the batch and then the whole grid:
        what :meth:`FragmentMerger.add` takes, so that a shuffled loader can be merged.
    transform : callable, optional
        Applied to each fragment.

    Raises
    ------
    ValueError, TypeError, IndexError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> dataset = FragmentDataset(np.arange(10.0).reshape(1, 1, 10), FragmentGrid((10,), 4, 3))
    >>> len(dataset), dataset[1].tolist()
    (3, [[3.0, 4.0, 5.0, 6.0]])
    """

    def __init__(
        self,
        x: Any,
        grid: FragmentGrid,
        *,
        where: Where | None = None,
        with_index: bool = False,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        if not isinstance(grid, FragmentGrid):
            raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
        x = _arrays.sliceable(x)
        _arrays.check_plain(x, "x")
        if not hasattr(x, "shape") or not hasattr(x, "dtype"):
            raise TypeError(f"x: got {type(x).__name__}, takes an array")
        if len(x.shape) != 2 + len(grid.shape) or tuple(x.shape[2:]) != grid.shape:
            takes = f"(batch, channels) + {grid.shape}, the grid's"
            raise ValueError(f"x: got shape {tuple(x.shape)}, takes {takes}")
        if grid.padded_shape != grid.shape:
            _arrays.number_bytes(grid.pad_value, x.dtype, "pad_value")  # the type can hold it
        self.x, self.grid, self.transform = x, grid, transform
        self.with_index = with_index
        self._chosen = None if where is None else chosen_windows(grid, where)

    def __len__(self) -> int:
        return int(self.x.shape[0]) * self._windows

    def __getitem__(self, index: int) -> Any:
        """Fragment ``index``: (channels, *size); or a pair of it and its window's number."""
        at = self._checked(index)
        fragment = self._cut(at, at + 1)[0]
        fragment = fragment if self.transform is None else self.transform(fragment)
        return (fragment, int(self.numbers(at, at + 1)[0])) if self.with_index else fragment

    def numbers(self, first: int, last: int) -> NDArray[np.int64]:
        """The windows' numbers of some fragments, over the batch and then the grid.

        Parameters
        ----------
        first, last : int
            Fragments [first, last).

        Returns
        -------
        (last - first,) array, int64
        """
        if self._chosen is None:
            return np.arange(first, last)
        entries, at = np.divmod(np.arange(first, last), max(1, self._windows))
        numbers: NDArray[np.int64] = entries * self.grid.n + self._chosen[at]
        return numbers

    @property
    def _windows(self) -> int:
        """Of each batch entry."""
        return self.grid.n if self._chosen is None else len(self._chosen)

    def slice(self, first: int, last: int) -> Any:
        """Some fragments in one array, untransformed.

        Parameters
        ----------
        first, last : int
            Fragments [first, last).

        Returns
        -------
        (last - first, channels, *size) array or tensor
            A tensor where the dataset's array is one.

        Raises
        ------
        IndexError
            They are not all in the dataset, or `last` is before `first`.
        """
        if not 0 <= first <= last <= len(self):
            raise IndexError(f"slice: got [{first}, {last}), takes a part of [0, {len(self)})")
        return self._cut(first, last)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        place = _MapPlace.of(self.x) if isinstance(self.x, np.ndarray) else None
        if place is not None:
            state["x"] = place
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.x, _MapPlace):
            self.x = self.x.opened()

    def _checked(self, index: int) -> int:
        at = one_integer(index, "index")
        if not -len(self) <= at < len(self):
            raise IndexError(f"index: got {at}, takes {-len(self)} to {len(self) - 1}")
        return at % len(self)

    def _cut(self, first: int, last: int) -> Any:
        shape = (last - first, self.x.shape[1], *self.grid.size)
        if _arrays.is_tensor(self.x):
            out: Any = self.x.new_empty(shape)
            cut_numbers(self.x.detach(), self.grid, self.numbers(first, last), out, None)
        else:
            out = np.empty(shape, np.dtype(self.x.dtype).newbyteorder("="))  # torch knows no other
            cut_numbers(self.x, self.grid, self.numbers(first, last), out, None)
        return out


class _MapPlace(NamedTuple):
    """Where a memory map, or any view into one, lies in its file; in place of its contents."""

    filename: str
    dtype: np.dtype[Any]
    offset: int  # of the first number
    begin: int  # of the lowest byte
    end: int  # behind the highest
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @staticmethod
    def of(x: NDArray[Any]) -> _MapPlace | None:
        """The place of an array; None if it is no view into a file."""
        root: Any = x
        while isinstance(root.base, np.ndarray):
            root = root.base
        if not isinstance(root, np.memmap) or root.filename is None or x.size == 0:
            return None
        if root.mode == "c":  # what was written to it is in no file
            return None
        low, high = _arrays.bounds(x)
        shift = int(root.offset) - root.ctypes.data
        options = (x.dtype, x.ctypes.data + shift, low + shift, high + shift)
        return _MapPlace(str(root.filename), *options, x.shape, x.strides)

    def opened(self) -> NDArray[Any]:
        """The same view, into the file opened anew."""
        span = (self.end - self.begin,)
        held = np.memmap(self.filename, np.uint8, mode="r", offset=self.begin, shape=span)
        first = self.offset - self.begin
        place = (self.shape, self.dtype, held, first, self.strides)
        view: NDArray[Any] = np.ndarray.__new__(np.memmap, *place)
        return view
