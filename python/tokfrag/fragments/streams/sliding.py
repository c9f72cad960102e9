"""Sliding-window inference: cut, run the model, merge, all in a stream."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from operator import index as as_int
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._progress import progress_bar
from tokfrag.fragments.data_arrays import is_data_array, named_results, sliced_numbers
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.selection import Where, chosen_windows
from tokfrag.fragments.streams.cutting import cut_numbers
from tokfrag.fragments.streams.results import Results, Stitching, checked_halo
from tokfrag.fragments.windows import ALL_REDUCES, Reduce, Window

if TYPE_CHECKING:
    import torch


#: How allocators other than torch's own say it, in small letters: CUDA's, ROCm's and their
#: libraries', Metal's, XPU's, the CPU's, ONNX Runtime's.
_OUT_OF_MEMORY = (
    "out of memory",
    "outofmemory",
    "alloc_failed",
    "memoryallocation",
    "allocate memory",
    "bad_alloc",
)
#: In place of outputs: the batch did not fit.
_TOO_LARGE: Any = object()


class OutOfMemoryWarning(RuntimeWarning):
    """The model ran out of memory; smaller batches are tried."""


def map_fragments(
    model: Callable[..., Any],
    x: Any,
    grid: FragmentGrid,
    *,
    batch_size: int,
    window: Window | None = None,
    reduce: Reduce | None = None,
    device: torch.device | str | None = None,
    out: Any = None,
    reduce_slab: Callable[[Any], Any] | None = None,
    halo: Sequence[int | tuple[int, int]] | int | Literal["valid", "scale"] = 0,
    where: Where | None = None,
    with_origins: bool = False,
    progress: bool = False,
    threads: int | None = None,
) -> Any:
    """Run ``model`` on every fragment of ``x`` and merge what it returns.

    Equal to ``merge(model(extract(x, grid).flatten(0, 1)), grid, window=window)`` within rounding,
    but fragments are cut batch by batch and outputs are merged at once, so neither ever exists
    whole. Each slab of the result is written to ``out`` as soon as no later fragment reaches it.

    If the model runs out of memory, the batch is halved, with an `OutOfMemoryWarning`, and tried
    again. A model is called as it is (its training mode is not touched), without gradients.

    Parameters
    ----------
    model : callable
        From ``(count, channels, *size)`` to ``(count, channels_out, *size_out)``; or to a tuple,
        list or dict of such outputs. Sizes may differ from the input's by any factor for which
        every window still begins at a whole position; the result scales alike. One vector a window,
        ``(count, channels_out)`` or of size 1 on every axis, makes a map over ``grid.counts``.
        Smaller outputs that unpadded convolutions might have made are refused unless `halo` says
        what they are, or another output has the fragments' size.
    x : (batch, channels, *space_time)
        An array, a tensor, a memory map, or whatever has ``shape`` and slices into arrays (zarr,
        HDF5); only what a batch needs is read. An xarray.DataArray gives one, with its dimensions
        and the coordinates of batch and space-time; the model sees arrays.
    grid : FragmentGrid
        Over ``x.shape[2:]``.
    batch_size : int
        Fragments a call of the model.
    window, reduce :
        As :func:`tokfrag.merge` takes them (no weights for single fragments). `window` is
        ``"gaussian"`` unless said, or uniform where `reduce` takes no weights; one given as numbers
        is of the fragments' size, and resized for outputs of another. Sums are kept in
        float32, or float64 for float64 outputs and for weights that float32 does not hold;
        ``"sum"`` leaves out what lies in the padding. `reduce` is ``"mean"`` unless said; then
        integers other than the data's own are refused, for they may be labels: ``"vote"`` takes
        them, and the result is of their type. ``"min"``, ``"median"`` and ``"vote"`` keep the
        outputs of the rows of windows that reach a position until it is finished.
    device : torch device, optional
        Where fragments go before the model; ``x``'s own if not given. The model gets tensors if
        ``x`` is one, if a device is given, or if it is an ``nn.Module``; arrays otherwise.
    out : optional
        What the result is written to: array, tensor, memory map or zarr-like, of the result's
        shape; for several outputs, a tuple, list or dict like the model's. One of integers gets
        results rounded half to even and saturated, and 0 for NaN.
    reduce_slab : callable, optional
        Applied to each finished slab ``(1, channels_out, thickness, *rest)`` (argmax over the
        channels, say) before it is written; must keep the thickness.
    halo : int, or one number or pair an axis, or "valid" or "scale"
        Results left out (before and after) where a fragment's border is not the array's own: what a
        model looks at beyond a position, `FragmentPlan` knows it. Takes windows inside the array.
        ``"valid"``: outputs are the middle of their fragments, as unpadded convolutions make them;
        what no output reaches is 0, or stays as it is in `out`. ``"scale"``: outputs are the whole
        of their fragments at another resolution, whatever their size.
    where : optional
        A mask over space-time: only windows that touch it go through the model; or the numbers of
        those that do. What none of them reaches is 0.
    with_origins : bool
        Call ``model(fragments, origins)``: the first position of each fragment, ``(count, axes)``
        integers of the kind of the fragments.
    progress : bool
        Show a progress bar.
    threads : int, optional
        At most so many threads for cutting; one per processor if not given.

    Returns
    -------
    ``out``, or fresh results of the kind of ``x`` (on its device), ``(batch, channels_out,
    *space_time_out)``, structured as the model's outputs; None in place of a result if there is
    nothing to run the model on.

    Raises
    ------
    ValueError, TypeError
        An argument, or an output of the model, that does not fit; the message names it.

    Examples
    --------
    >>> x = np.arange(12.0).reshape(1, 1, 12)
    >>> grid = FragmentGrid((12,), size=4, stride=2)
    >>> map_fragments(lambda fragments: 2 * fragments, x, grid, batch_size=3)[0, 0, :4].round(6)
    array([0., 2., 4., 6.])
    """
    if is_data_array(x):
        results = map_fragments(
            model,
            sliced_numbers(x),
            grid,
            batch_size=batch_size,
            window=window,
            reduce=reduce,
            device=device,
            out=out,
            reduce_slab=reduce_slab,
            halo=halo,
            where=where,
            with_origins=with_origins,
            progress=progress,
            threads=threads,
        )
        return results if out is not None else named_results(results, x)
    x = _arrays.sliceable(x)
    if window is None:
        window = "gaussian" if reduce in (None, "mean", "sum") else "uniform"
    call = Call(
        batch_size=_check(x, grid, batch_size, reduce),
        window=window,
        reduce=reduce,
        device=device,
        reduce_slab=reduce_slab,
        halo=checked_halo(halo, len(grid.shape)),
        chosen=None if where is None else np.sort(chosen_windows(grid, where)),
        with_origins=with_origins,
        progress=progress,
        threads=threads,
    )
    return _untraced()(model, x, grid, out, call)


class Call(NamedTuple):
    """The checked options of a call."""

    batch_size: int
    window: Window
    reduce: Reduce | None
    device: Any
    reduce_slab: Callable[[Any], Any] | None
    halo: Any
    chosen: NDArray[np.int64] | None
    with_origins: bool
    progress: bool
    threads: int | None


def _untraced() -> Callable[..., Any]:
    """`_stream` out of torch.compile's reach: a graph breaks at the call, which runs as ever."""
    torch = sys.modules.get("torch")
    if torch is None:
        return _stream
    reason = "map_fragments runs the model batch by batch; compile the model"
    disabled: Callable[..., Any] = torch.compiler.disable(_stream, reason=reason)
    return disabled


def _stream(model: Callable[..., Any], x: Any, grid: FragmentGrid, out: Any, call: Call) -> Any:
    count = _arrays.thread_count(call.threads)
    stitching = Stitching(
        call.window,
        call.reduce,
        call.halo,
        call.reduce_slab,
        count,
        call.chosen,
        grid.inner is not None,
    )
    feeder = Feeder(model, x, grid, call)
    results: Results | None = None
    done = 0
    total = x.shape[0] * (grid.n if call.chosen is None else len(call.chosen))
    bar = progress_bar(total, "fragments", " fragments", call.progress)
    with bar as advance, feeder.no_gradients():
        while done < total:
            count = min(feeder.batch_size, total - done)
            outputs = feeder.outputs(model, done, count)
            if outputs is _TOO_LARGE:
                continue  # smaller batches next time
            if results is None:
                results = Results(outputs, count, x, grid, out, stitching)
            results.add(outputs, done, count)
            del outputs  # its memory is the next batch's
            done += count
            advance(count)
    return out if results is None else results.packed()


def _check(x: Any, grid: FragmentGrid, batch_size: int, reduce: str | None) -> int:
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    if not all(hasattr(x, name) for name in ("shape", "dtype", "__getitem__")):
        raise TypeError(f"x: got {type(x).__name__}, takes an array")
    _arrays.check_plain(x, "x")
    if len(x.shape) != 2 + len(grid.shape) or tuple(x.shape[2:]) != grid.shape:
        takes = f"(batch, channels) + {grid.shape}, the grid's"
        raise ValueError(f"x: got shape {tuple(x.shape)}, takes {takes}")
    if grid.padded_shape != grid.shape:
        _arrays.number_bytes(grid.pad_value, x.dtype, "pad_value")  # the type can hold it
    try:
        if isinstance(batch_size, bool):
            raise TypeError
        batch = as_int(batch_size)
    except TypeError:
        raise TypeError(f"batch_size: got {batch_size!r}, takes an integer") from None
    if batch < 1:
        raise ValueError(f"batch_size: got {batch_size}, takes 1 or more")
    if reduce is not None and reduce not in ALL_REDUCES:
        raise ValueError(f"reduce: got {reduce!r}, takes {', '.join(map(repr, ALL_REDUCES))}")
    return batch


class Feeder:
    """Cuts batches, in the kind and on the device of the model, and calls it."""

    def __init__(self, model: Any, x: Any, grid: FragmentGrid, call: Call) -> None:
        device = call.device
        torch = sys.modules.get("torch")
        module = torch is not None and isinstance(model, torch.nn.Module)
        self._x, self._grid, self._threads = x, grid, call.threads
        self._chosen, self._with_origins = call.chosen, call.with_origins
        self._tensors = _arrays.is_tensor(x) or device is not None or module
        self.batch_size = call.batch_size
        if _arrays.is_tensor(x):
            self._x = x.detach()
        else:
            self._dtype = np.dtype(x.dtype).newbyteorder("=")  # torch knows no other
        if self._tensors:
            import torch as torch_

            own = x.device if _arrays.is_tensor(x) else torch_.device("cpu")
            self._device = own if device is None else torch_.device(device)
            self._upload = self._device.type == "cuda" and own.type == "cpu"
            self._buffers: list[Any] = [None, None]
            self._copied: list[Any] = [None, None]
            self._turn = 0

    def no_gradients(self) -> Any:
        """A context in which torch, if the model may use it, keeps nothing for a backward."""
        if not self._tensors:
            return nullcontext()
        import torch

        return torch.no_grad()

    def outputs(self, model: Callable[..., Any], first: int, count: int) -> Any:
        """The model's outputs for a batch of fragments; `_TOO_LARGE` if memory was short."""
        try:
            numbers = self._numbers(first, count)
            batch = self._batch(numbers)
            if self._with_origins:
                return model(batch, self._origins(numbers))
            return model(batch)
        except Exception as error:
            if not _is_out_of_memory(error) or count == 1:
                raise
        self.batch_size = max(1, count // 2)
        warnings.warn(
            f"tokfrag: a batch of {count} fragments does not fit in memory; "
            f"going on with batches of {self.batch_size}",
            OutOfMemoryWarning,
            stacklevel=3,
        )
        return _TOO_LARGE

    def _numbers(self, first: int, count: int) -> NDArray[np.int64]:
        """The windows of a batch, over the batch and then the whole grid."""
        numbers = np.arange(first, first + count)
        if self._chosen is None:
            return numbers
        entries, at = np.divmod(numbers, len(self._chosen))
        return entries * self._grid.n + self._chosen[at]

    def _origins(self, numbers: NDArray[np.int64]) -> Any:
        """The first positions of these windows, as the model takes them."""
        places = np.unravel_index(numbers % self._grid.n, self._grid.counts)
        origins = np.stack([s[at] for s, at in zip(self._grid.starts, places, strict=True)], 1)
        if not self._tensors:
            return origins
        import torch

        return torch.from_numpy(origins).to(self._device)

    def _batch(self, numbers: NDArray[np.int64]) -> Any:
        grid = self._grid
        shape = (len(numbers), self._x.shape[1], *grid.size)
        if not self._tensors:
            fragments = _arrays.empty_array(self._dtype, shape)
            cut_numbers(self._x, grid, numbers, fragments, self._threads)
            return fragments
        import torch

        if self._upload:
            return self._uploaded(shape, numbers)
        if _arrays.is_tensor(self._x):
            batch = _arrays.empty_tensor(self._x, shape)
            cut_numbers(self._x, grid, numbers, batch, self._threads)
        else:
            fragments = _arrays.empty_array(self._dtype, shape)
            cut_numbers(self._x, grid, numbers, fragments, self._threads)
            batch = torch.from_numpy(fragments)
        return batch.to(self._device)

    def _uploaded(self, shape: tuple[int, ...], numbers: NDArray[np.int64]) -> Any:
        """A batch cut into one of two pinned buffers and copied on a stream of its own.

        The host cuts the next batch while the device still computes on this one.
        """
        import torch

        turn = self._turn = 1 - self._turn
        if self._buffers[turn] is None:
            like = self._x[:0, :0] if _arrays.is_tensor(self._x) else np.empty(0, self._dtype)
            dtype = like.dtype if _arrays.is_tensor(like) else torch.from_numpy(like).dtype
            self._buffers[turn] = torch.empty(shape, dtype=dtype, pin_memory=True)
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        elif self._copied[turn] is not None:
            self._copied[turn].synchronize()
        buffer = self._buffers[turn][: shape[0]]
        target = buffer if _arrays.is_tensor(self._x) else buffer.numpy()
        cut_numbers(self._x, self._grid, numbers, target, self._threads)
        with torch.cuda.stream(self._stream):
            batch = buffer.to(self._device, non_blocking=True)
            self._copied[turn] = self._stream.record_event()
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        batch.record_stream(current)
        return batch


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    if isinstance(error, torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return any(words in said for words in _OUT_OF_MEMORY)
