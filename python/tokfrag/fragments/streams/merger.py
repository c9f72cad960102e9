"""Merging fragments that come in any order, from several writers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._locks import fork_safe_lock
from tokfrag.fragments.engines.chosen import NO_WEIGHT, add
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.placing import put_back
from tokfrag.fragments.selection import reached, window_numbers
from tokfrag.fragments.shapes import check_merged_dtype
from tokfrag.fragments.windows import REDUCES, Reduce, Weights, Window, outer, window_weights

if TYPE_CHECKING:
    import torch

_MERGED = (*REDUCES, "min")
_NAMED_AT_MOST = 8


class FragmentMerger:
    """Merge fragments in any order and in batches of any size: a shuffled loader's, several jobs'.

    Equal to :func:`tokfrag.merge` of all fragments at once. Sums are kept in float64 and rounded
    once, in `result`; the order of adding changes them by a rounding of float64 at most, which
    float32 and smaller types rarely show (in the last bit). ``"max"`` and ``"min"`` have the same
    bits in any order. Adding is safe from several threads; a merger pickles, with what it holds,
    and takes in what mergers of other processes hold.

    Parameters
    ----------
    grid : FragmentGrid
        What the fragments were cut on.
    channels : int
        Of the fragments.
    dtype : NumPy or torch dtype
        Of the fragments and of the result: what :func:`tokfrag.merge` takes. A torch dtype makes
        the result a tensor.
    window : optional
        As :func:`tokfrag.merge` takes it; ``"gaussian"`` unless said, or uniform for ``"max"`` and
        ``"min"``, which take no weights.
    reduce : {"mean", "sum", "max", "min"}
        ``"sum"`` leaves out what lies in the padding. A vote and a median need all fragments at
        once: merge takes them.
    batch : int
        Batch entries; window ``i`` of entry ``b`` is number ``b * grid.n + i``, the index of
        :class:`FragmentDataset`.
    device : torch device, optional
        Where sums are kept, for tensors. The CPU unless said.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> grid = FragmentGrid((7,), size=3, stride=2)
    >>> merger = FragmentMerger(grid, channels=1, dtype=np.float64)
    >>> merger.add(np.array([[[4.0, 5.0, 6.0]], [[0.0, 1.0, 2.0]]]), [2, 0])
    >>> merger.missing().tolist()
    [1]
    >>> merger.add(np.array([[2.0, 3.0, 4.0]]), 1)
    >>> merger.result()[0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    """

    def __init__(
        self,
        grid: FragmentGrid,
        *,
        channels: int,
        dtype: Any,
        window: Window | None = None,
        reduce: Reduce = "mean",
        batch: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        if not isinstance(grid, FragmentGrid):
            raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
        if reduce not in _MERGED:
            raise ValueError(
                f"reduce: got {reduce!r}, takes 'mean', 'sum', 'max' or 'min' (merge takes the "
                "others, which need all fragments at once)"
            )
        for name, value in (("channels", channels), ("batch", batch)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
                raise ValueError(f"{name}: got {value!r}, takes an integer of at least 0")
        torch_ = _torch_of(dtype, device)
        self.grid, self.reduce, self.channels, self.batch = grid, reduce, int(channels), int(batch)
        #: The grid that sums lie on.
        self._inner = grid if grid.inner is None else grid.inner
        self.dtype = np.dtype(dtype) if torch_ is None else dtype
        wide = _arrays.wider(self.dtype)
        check_merged_dtype(self.dtype, self.dtype if wide is None else wide, "mean")
        self._extreme = reduce in ("max", "min")
        # Weights are part of the call: what they were made of may change before the result.
        if window is None:
            window = "uniform" if self._extreme else "gaussian"
        elif self._extreme and not (isinstance(window, str) and window == "uniform"):
            raise ValueError(
                f"window: reduce={reduce!r} takes no weights, leave the window uniform"
            )
        weights = window_weights(grid, window)
        self._whole = None if weights.array is None else weights.array.copy()
        self._vectors = None
        if self._whole is None:
            axes = zip(weights.vectors, grid.size, strict=True)
            self._vectors = [np.ones(w) if vector is None else vector for vector, w in axes]
        self._per_fragment = weights.per_fragment
        self._added = np.zeros((self.batch, grid.n), np.bool_)
        shape = (self.batch, self.channels, *self._inner.padded_shape)
        empty = -np.inf if self._extreme else 0.0
        self._sums: Any
        if torch_ is None or torch_.device("cpu" if device is None else device).type == "cpu":
            self._sums = np.full(shape, empty)
        else:
            self._sums = torch_.full(shape, empty, dtype=torch_.float64, device=device)
        self._lock = fork_safe_lock()

    def add(self, fragments: Any, which: Any) -> None:
        """Take in the fragments of some windows.

        Parameters
        ----------
        fragments : (count, channels, *size) array or tensor
            Or (channels, *size), for one.
        which : int, or (count,) integers
            The windows' numbers, over the batch and then the grid.

        Raises
        ------
        ValueError, TypeError
            A shape or type that does not fit; a window that is out of range, or added before (then
            nothing of this call is added).
        """
        fragments, which = _arrays.from_protocols(fragments), _arrays.from_protocols(which)
        _arrays.check_array(fragments, "fragments")
        _arrays.check_plain(which, "which")
        if _arrays.is_tensor(which):
            which = which.detach().cpu().numpy()
        numbers = np.asarray(which)
        if numbers.dtype.kind not in "iu" and numbers.size:
            raise TypeError(f"which: got {numbers.dtype}, takes integers")
        if numbers.ndim == 0:
            fragments, numbers = fragments[None], numbers[None]
        takes = (len(numbers) if numbers.ndim == 1 else -1, self.channels, *self.grid.size)
        if tuple(fragments.shape) != takes or numbers.ndim != 1:
            raise ValueError(
                f"fragments: got shape {tuple(fragments.shape)} for numbers of shape "
                f"{numbers.shape}, takes (count, {self.channels}) + {self.grid.size} and (count,)"
            )
        given, own = map(_arrays.native, (fragments.dtype, self.dtype))
        if _arrays.dtype_name(given) != _arrays.dtype_name(own):
            raise TypeError(
                f"fragments: got {_arrays.dtype_name(fragments.dtype)}, takes "
                f"{_arrays.dtype_name(self.dtype)}"
            )
        numbers = window_numbers(numbers, self.batch * self.grid.n, "which")
        values = self._values(fragments)
        with self._lock:
            entries, windows = np.divmod(numbers, self.grid.n or 1)
            again = numbers[self._added[entries, windows]]
            if len(again):
                raise ValueError(f"which: window {again[0]} was added before, takes each once")
            for entry in np.unique(entries):
                at = np.flatnonzero(entries == entry)
                part = values if len(at) == len(values) else values[at]
                if isinstance(self._sums, np.ndarray):
                    self._add_host(int(entry), part, windows[at])
                else:
                    self._add_device(int(entry), part, windows[at])
            self._added[entries, windows] = True

    def update(self, other: FragmentMerger) -> None:
        """Take in what another merger holds: one that another process filled and sent, say.

        Parameters
        ----------
        other : FragmentMerger
            Made with the same arguments; stays as it is.

        Raises
        ------
        ValueError, TypeError
            It is made otherwise, or holds windows that this one holds too (then nothing is taken).

        Examples
        --------
        >>> grid = FragmentGrid((4,), size=2)
        >>> first, second = (FragmentMerger(grid, channels=1, dtype=np.float64) for _ in range(2))
        >>> first.add(np.array([[1.0, 2.0]]), 0)
        >>> second.add(np.array([[3.0, 4.0]]), 1)
        >>> first.update(second)
        >>> first.result()[0, 0].tolist()
        [1.0, 2.0, 3.0, 4.0]
        """
        if not isinstance(other, FragmentMerger):
            raise TypeError(f"other: got {type(other).__name__}, takes a FragmentMerger")
        if other is self or not self._is_like(other):
            raise ValueError("other: takes another merger, made with the same arguments")
        with other._lock:
            sums, added = _copied(other._sums), other._added.copy()
        with self._lock:
            again = np.flatnonzero(self._added & added)
            if len(again):
                raise ValueError(f"other: window {again[0]} is in both, takes each once")
            if not isinstance(self._sums, np.ndarray):
                import torch

                sums = torch.as_tensor(sums).to(self._sums.device)
                self._sums = self._sums.maximum(sums) if self._extreme else self._sums + sums
            else:
                own = sums if isinstance(sums, np.ndarray) else sums.cpu().numpy()
                (np.maximum if self._extreme else np.add)(self._sums, own, out=self._sums)
            self._added |= added

    def missing(self) -> NDArray[np.int64]:
        """The numbers of the windows that were never added, ascending.

        Returns
        -------
        (missing,) array, int64
            Over the batch and then the grid.
        """
        with self._lock:
            return np.flatnonzero(~self._added)

    def result(self, *, fill_value: bool | int | float | None = None) -> Any:
        """The merged array; more may be added afterwards.

        Parameters
        ----------
        fill_value : number, optional
            For positions that no added fragment holds. If it is not given and windows are missing,
            there is no result.

        Returns
        -------
        (batch, channels, *space_time) array or tensor
            Of the merger's dtype.

        Raises
        ------
        ValueError
            Windows are missing and `fill_value` is not given; weights that sum to zero under a
            mean.
        """
        with self._lock:
            lost = np.flatnonzero(~self._added)
            if len(lost) and fill_value is None:
                named = ", ".join(map(str, lost[:_NAMED_AT_MOST]))
                named += ", ..." if len(lost) > _NAMED_AT_MOST else ""
                raise ValueError(
                    f"result: {len(lost)} of {self._added.size} windows were never added: {named} "
                    "(fill_value= takes what is there)"
                )
            fill = 0 if fill_value is None else fill_value
            _arrays.number_bytes(fill, self.dtype, "fill_value")
            inside = (slice(None), slice(None), *map(slice, self._inner.shape))
            merged = self._sums[inside]
            merged = merged.copy() if isinstance(merged, np.ndarray) else merged.clone()
            added = self._added.copy()
        for entry, chosen in enumerate(added):
            self._finish(merged[entry], chosen, fill)
        if self.grid.inner is not None:
            merged = put_back(merged, self.grid, channels_last=False, fold=False, fill_value=fill)
        if isinstance(merged, np.ndarray) and not isinstance(self.dtype, np.dtype):
            import torch

            return _arrays.narrowed(torch.from_numpy(merged), self.dtype)
        return _arrays.narrowed(merged, self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            state = self.__dict__.copy()
            state["_sums"], state["_added"] = _copied(self._sums), self._added.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = fork_safe_lock()

    def _is_like(self, other: FragmentMerger) -> bool:
        """Whether another merger was made with the same arguments, but for its device."""
        own, others = (
            (m.grid, m.reduce, m.channels, m.batch, str(m.dtype), m._per_fragment)
            for m in (self, other)
        )
        weights = zip(self._all_weights(), other._all_weights(), strict=True)
        return own == others and all(np.array_equal(a, b) for a, b in weights)

    def _all_weights(self) -> list[NDArray[np.float64]]:
        if self._vectors is not None:
            return self._vectors
        assert self._whole is not None
        return [self._whole] + [np.zeros(0)] * (len(self.grid.size) - 1)

    def _values(self, fragments: Any) -> Any:
        """Fragments of a type that kernels know, where the sums are; negated for a minimum."""
        if isinstance(self._sums, np.ndarray):
            if _arrays.is_tensor(fragments):
                fragments = fragments.detach().cpu()
            fragments = _arrays.kernel_array(fragments)
            if self.reduce == "min":
                fragments = -_as_float64(fragments)
            return fragments
        import torch

        tensor = fragments if _arrays.is_tensor(fragments) else torch.from_numpy(fragments)
        values = tensor.detach().to(self._sums)
        return -values if self.reduce == "min" else values

    def _add_host(self, entry: int, fragments: Any, windows: NDArray[np.int64]) -> None:
        sums, weights = self._sums[entry], self._weights()
        add(sums, self._inner, fragments, windows, weights, keep_max=self._extreme)

    def _add_device(self, entry: int, fragments: Any, windows: NDArray[np.int64]) -> None:
        """One fragment after the other: the same bits each time."""
        sums = self._sums[entry]
        for k, origin in enumerate(self._origins(windows).tolist()):
            axes = zip(origin, self.grid.size, self.grid.dilation, strict=True)
            place = (slice(None), *[slice(o, o + step * (w - 1) + 1, step) for o, w, step in axes])
            if self._extreme:
                sums[place] = sums[place].maximum(fragments[k])
                continue
            weights = self._device_weights(int(windows[k]))
            # Left out, not multiplied: 0 * NaN is NaN.
            sums[place] += (fragments[k] * weights).masked_fill_(weights == 0, 0)

    def _device_weights(self, window: int) -> Any:
        import torch

        whole = outer(self._vectors) if self._vectors is not None else self._whole
        assert whole is not None
        own = whole[window] if self._per_fragment else whole
        return torch.from_numpy(np.ascontiguousarray(own)).to(self._sums.device)

    def _origins(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        places = np.unravel_index(windows, self.grid.counts)
        return np.stack([s[at] for s, at in zip(self._inner.starts, places, strict=True)], 1)

    def _finish(self, sums: Any, chosen: NDArray[np.bool_], fill: float) -> None:
        """Sums become results, in place."""
        held = reached(self._inner, chosen)
        if self.reduce == "min":
            sums *= -1
        weights = self._weight_sums(chosen) if self.reduce == "mean" else None
        if weights is not None:
            if (weights[held] == 0).any():
                raise ValueError(NO_WEIGHT)
            weights[~held] = 1
        if isinstance(sums, np.ndarray):
            if weights is not None:
                sums /= weights
            sums[:, ~held] = fill
            return
        import torch

        if weights is not None:
            sums /= torch.from_numpy(weights).to(sums.device)
        sums.masked_fill_(torch.from_numpy(~held).to(sums.device), fill)

    def _weight_sums(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The weights over each position: what one number, seen as all fragments, sums to."""
        grid, windows = self._inner, np.flatnonzero(chosen)
        sums = np.zeros((1, *grid.padded_shape))
        seen = np.broadcast_to(np.ones(1), (len(windows), 1, *grid.size))
        add(sums, grid, seen, windows, self._weights(), keep_max=False)
        inside: NDArray[np.float64] = sums[0][tuple(map(slice, grid.shape))]
        return inside

    def _weights(self) -> Weights:
        none: tuple[NDArray[np.float64] | None, ...] = (None,) * len(self.grid.size)
        return Weights(none if self._vectors is None else tuple(self._vectors), self._whole)


def _torch_of(dtype: Any, device: Any) -> Any:
    """The module torch, if tensors are wanted; None for arrays."""
    torch_ = sys.modules.get("torch")
    if dtype is None:
        raise TypeError("dtype: got None, takes a NumPy or torch dtype")
    if torch_ is not None and isinstance(dtype, torch_.dtype):
        return torch_
    if device is not None:
        raise TypeError(f"dtype: got {dtype!r} with a device, takes a torch dtype")
    return None


def _as_float64(fragments: Any) -> Any:
    if not _arrays.is_tensor(fragments):
        return fragments.astype(np.float64)
    return fragments.double()


def _copied(sums: Any) -> Any:
    return sums.copy() if isinstance(sums, np.ndarray) else sums.clone()
