"""Sliding-window inference: cut, run the model, merge, all in a stream."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from operator import index as as_int
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import REDUCES, Reduce, Window
from tokfrag.fragments.streams.cutting import cut
from tokfrag.fragments.streams.host import HostStitcher, emits_into
from tokfrag.fragments.streams.stitching import Halo, Stitcher, output_grid

if TYPE_CHECKING:
    import torch


class OutOfMemoryWarning(RuntimeWarning):
    """The model ran out of memory; smaller batches are tried."""


def map_fragments(
    model: Callable[[Any], Any],
    x: Any,
    grid: FragmentGrid,
    *,
    batch_size: int,
    window: Window = "gaussian",
    reduce: Reduce = "mean",
    device: torch.device | str | None = None,
    out: Any = None,
    reduce_slab: Callable[[Any], Any] | None = None,
    halo: Sequence[int | tuple[int, int]] | int = 0,
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
        every window still begins at a whole position; the result scales alike.
    x : (batch, channels, *space_time)
        An array, a tensor, a memory map, or whatever has ``shape`` and slices into arrays (zarr,
        HDF5); only what a batch needs is read.
    grid : FragmentGrid
        Over ``x.shape[2:]``.
    batch_size : int
        Fragments a call of the model.
    window, reduce :
        As :func:`tokfrag.merge` takes them (no weights for single fragments); a window given as
        numbers is of the fragments' size, and resized for outputs of another. Sums are kept in
        float32, or float64 for float64 outputs; ``"sum"`` leaves out what lies in the padding.
    device : torch device, optional
        Where fragments go before the model; ``x``'s own if not given. The model gets tensors if
        ``x`` is one, if a device is given, or if it is an ``nn.Module``; arrays otherwise.
    out : optional
        What the result is written to: array, tensor, memory map or zarr-like, of the result's
        shape; for several outputs, a tuple, list or dict like the model's.
    reduce_slab : callable, optional
        Applied to each finished slab ``(1, channels_out, thickness, *rest)`` (argmax over the
        channels, say) before it is written; must keep the thickness.
    halo : int, or one number or pair an axis
        Results left out (before and after) where a fragment's border is not the array's own: what a
        model looks at beyond a position, `FragmentPlan` knows it. Takes windows inside the array.
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
    batch_size = _check(x, grid, batch_size, reduce)
    margins = _halo(halo, len(grid.shape))
    feeder = _Feeder(model, x, grid, batch_size, device, threads)
    results: _Results | None = None
    done = 0
    total = x.shape[0] * grid.n
    with _bar(total, progress) as bar, feeder.no_gradients():
        while done < total:
            count = min(feeder.batch_size, total - done)
            outputs = feeder.outputs(model, done, count)
            if outputs is None:
                continue  # smaller batches next time
            if results is None:
                merging = (window, reduce, margins)
                results = _Results(outputs, count, x, grid, merging, out, reduce_slab, threads)
            results.add(outputs, done, count)
            del outputs  # its memory is the next batch's
            done += count
            if bar is not None:
                bar.update(count)
    return out if results is None else results.packed()


def _check(x: Any, grid: FragmentGrid, batch_size: int, reduce: str) -> int:
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid")
    if not hasattr(x, "shape") or not hasattr(x, "__getitem__"):
        raise TypeError(f"x: got {type(x).__name__}, takes an array")
    if len(x.shape) != 2 + len(grid.shape) or tuple(x.shape[2:]) != grid.shape:
        takes = f"(batch, channels) + {grid.shape}, the grid's"
        raise ValueError(f"x: got shape {tuple(x.shape)}, takes {takes}")
    try:
        batch = as_int(batch_size)
    except TypeError:
        raise TypeError(f"batch_size: got {batch_size!r}, takes an integer") from None
    if batch < 1:
        raise ValueError(f"batch_size: got {batch_size}, takes 1 or more")
    if reduce not in REDUCES:
        raise ValueError(f"reduce: got {reduce!r}, takes 'mean', 'sum' or 'max'")
    return batch


class _Feeder:
    """Cuts batches, in the kind and on the device of the model, and calls it."""

    def __init__(
        self,
        model: Any,
        x: Any,
        grid: FragmentGrid,
        batch_size: int,
        device: Any,
        threads: int | None,
    ) -> None:
        torch = sys.modules.get("torch")
        module = torch is not None and isinstance(model, torch.nn.Module)
        self._x, self._grid, self._threads = x, grid, threads
        self._tensors = _arrays.is_tensor(x) or device is not None or module
        self.batch_size = batch_size
        if _arrays.is_tensor(x):
            self._x = x.detach()
        if self._tensors:
            import torch as torch_

            own = x.device if _arrays.is_tensor(x) else torch_.device("cpu")
            self._device = own if device is None else torch_.device(device)
            self._upload = self._device.type == "cuda" and own.type == "cpu"
            self._buffers: list[Any] = [None, None]
            self._copied: list[Any] = [None, None]
            self._turn = 0

    def no_gradients(self) -> Any:
        if not self._tensors:
            return nullcontext()
        import torch

        return torch.no_grad()

    def outputs(self, model: Callable[[Any], Any], first: int, count: int) -> Any:
        """The model's outputs for a batch of fragments; None if they did not fit in memory."""
        try:
            return model(self._batch(first, count))
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
        return None

    def _batch(self, first: int, count: int) -> Any:
        grid = self._grid
        shape = (count, self._x.shape[1], *grid.size)
        if not self._tensors:
            fragments = _arrays.empty_array(self._x.dtype, shape)
            cut(self._x, grid, first, first + count, fragments, self._threads)
            return fragments
        import torch

        if self._upload:
            return self._uploaded(shape, first)
        if _arrays.is_tensor(self._x):
            batch = _arrays.empty_tensor(self._x, shape)
            cut(self._x, grid, first, first + count, batch, self._threads)
        else:
            fragments = _arrays.empty_array(self._x.dtype, shape)
            cut(self._x, grid, first, first + count, fragments, self._threads)
            batch = torch.from_numpy(fragments)
        return batch.to(self._device)

    def _uploaded(self, shape: tuple[int, ...], first: int) -> Any:
        """A batch cut into one of two pinned buffers and copied on a stream of its own.

        The host cuts the next batch while the device still computes on this one.
        """
        import torch

        turn = self._turn = 1 - self._turn
        if self._buffers[turn] is None:
            like = self._x[:0, :0] if _arrays.is_tensor(self._x) else np.empty(0, self._x.dtype)
            dtype = like.dtype if _arrays.is_tensor(like) else torch.from_numpy(like).dtype
            self._buffers[turn] = torch.empty(shape, dtype=dtype, pin_memory=True)
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        elif self._copied[turn] is not None:
            self._copied[turn].synchronize()
        buffer = self._buffers[turn][: shape[0]]
        target = buffer if _arrays.is_tensor(self._x) else buffer.numpy()
        cut(self._x, self._grid, first, first + shape[0], target, self._threads)
        with torch.cuda.stream(self._stream):
            batch = buffer.to(self._device, non_blocking=True)
            self._copied[turn] = self._stream.record_event()
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        batch.record_stream(current)
        return batch


class WeightedOutputs(NamedTuple):
    """What a model may return for `compat.monai`: outputs, and their weights within a fragment.

    Means are divided by the weights of the first call at every fragment, as MONAI has it.
    """

    outputs: Any
    weights: NDArray[np.float64]


class _Results:
    """Every output of the model: its stitcher, and where its slabs go."""

    def __init__(
        self,
        outputs: Any,
        count: int,
        x: Any,
        grid: FragmentGrid,
        merging: tuple[Window, Reduce, Halo | None],
        out: Any,
        reduce_slab: Callable[[Any], Any] | None,
        threads: int | None,
    ) -> None:
        self._x, self._grid, self._reduce_slab = x, grid, reduce_slab
        outputs, weights = _unweighted(outputs)
        self._keys, first = _flattened(outputs)
        self._kind = type(outputs)
        if out is None:
            self._targets: list[Any] = [None] * len(first)
        else:
            keys, self._targets = _flattened(out)
            if keys != self._keys:
                raise ValueError(f"out: got {keys}, takes one for each output: {self._keys}")
        self._stitchers = []
        for output in first:
            _check_output(output, grid, count)
            of_output = output_grid(grid, tuple(output.shape[2:]))
            window, reduce, halo = merging
            if halo is not None and of_output.size != grid.size:
                raise ValueError(f"halo: got outputs of size {of_output.size}, takes {grid.size}")
            given = window if weights is None else weights
            resized = _resized(given, grid.size, of_output.size)
            options = (of_output, resized, reduce, halo, output)
            self._stitchers.append(_stitcher(*options, _arrays.thread_count(threads)))
        self._dtypes = [output.dtype for output in first]

    def add(self, outputs: Any, first: int, count: int) -> None:
        """Merge the outputs of fragments [first, first + count); write what is finished."""
        outputs, weights = _unweighted(outputs)
        _, parts = _flattened(outputs)
        for k, (stitcher, part) in enumerate(zip(self._stitchers, parts, strict=True)):
            _check_output(part, self._grid, count)
            own = weights
            if weights is not None:
                own = np.asarray(_resized(weights, self._grid.size, stitcher.grid.size))
            done = 0
            while done < count:
                entry, at = divmod(first + done, self._grid.n)
                group = stitcher.group
                end = min(at - at % group + group, self._grid.n, at + count - done)
                stitcher.add(at, part[done : done + end - at], own)
                done += end - at
                finished = stitcher.finished(end)
                if finished is not None:
                    self._write(k, entry, finished)

    def packed(self) -> Any:
        """The results, in the structure of the model's outputs."""
        if self._keys is None:
            return self._targets[0]
        if isinstance(self._keys, list):
            return dict(zip(self._keys, self._targets, strict=True))
        return list(self._targets) if self._kind is list else tuple(self._targets)

    def _write(self, k: int, entry: int, finished: slice) -> None:
        stitcher = self._stitchers[k]
        length, rest = stitcher.grid.shape[0], stitcher.grid.shape[1:]
        slab = None
        if self._reduce_slab is not None:
            slab = self._reduce_slab(stitcher.take(finished)[None])
            thickness = finished.stop - finished.start
            if len(slab.shape) < 3 or slab.shape[0] != 1 or slab.shape[2] != thickness:
                takes = f"(1, channels, {thickness}, ...)"
                raise ValueError(f"reduce_slab: got shape {tuple(slab.shape)} back, takes {takes}")
            channels, rest, dtype = slab.shape[1], tuple(slab.shape[3:]), slab.dtype
        else:
            channels, dtype = stitcher.channels, self._dtypes[k]
        shape = (self._x.shape[0], channels, length, *rest)
        if self._targets[k] is None:
            self._targets[k] = self._fresh(stitcher.tensors if slab is None else slab, shape, dtype)
        target = self._targets[k]
        if tuple(target.shape) != shape:
            raise ValueError(f"out: got shape {tuple(target.shape)}, takes {shape}")
        if slab is None and isinstance(stitcher, HostStitcher) and emits_into(target):
            stitcher.take(finished, target[entry, :, finished])
        else:
            slab = stitcher.take(finished)[None] if slab is None else slab
            if _arrays.is_tensor(slab) and not _arrays.is_tensor(target):
                slab = slab.cpu().numpy()
            elif _arrays.is_tensor(target) and not _arrays.is_tensor(slab):
                slab = target.new_tensor(slab)
            target[entry : entry + 1, :, finished] = slab
        if finished.stop == length:
            stitcher.restart()

    def _fresh(self, of: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """An empty result of the kind of the input, on its device."""
        if of is True or _arrays.is_tensor(of):
            import torch

            floating = dtype.is_floating_point or self._reduce_slab is not None
            kept = dtype if floating else torch.float32
            if _arrays.is_tensor(self._x):
                return _arrays.empty_tensor(self._x.new_empty(0, dtype=kept), shape)
            kept = torch.float32 if kept == torch.bfloat16 else kept  # unknown to NumPy
            return _arrays.empty_tensor(torch.empty(0, dtype=kept), shape).numpy()
        kept = dtype if dtype.kind == "f" or self._reduce_slab is not None else np.float32
        return _arrays.empty_array(kept, shape)


def _stitcher(
    grid: FragmentGrid, window: Window, reduce: Reduce, halo: Halo | None, like: Any, threads: int
) -> Stitcher:
    if _arrays.is_tensor(like) and not like.is_cpu:
        from tokfrag.fragments.streams.device import DeviceStitcher

        return DeviceStitcher(grid, window, reduce, halo, like)
    return HostStitcher(grid, window, reduce, halo, like, threads)


def _unweighted(outputs: Any) -> tuple[Any, NDArray[np.float64] | None]:
    return outputs if isinstance(outputs, WeightedOutputs) else (outputs, None)


def _resized(window: Window, size: tuple[int, ...], wanted: tuple[int, ...]) -> Window:
    """A window given as numbers, for outputs of another size: the nearest weight on each axis."""
    if isinstance(window, str) or wanted == size:
        return window
    nearest = [(2 * np.arange(v) + 1) * w // (2 * v) for v, w in zip(wanted, size, strict=True)]
    if isinstance(window, (list, tuple)):
        vectors = [np.asarray(v, np.float64) for v in window]
        if [v.shape for v in vectors] == [(w,) for w in size]:
            return [v[index] for v, index in zip(vectors, nearest, strict=True)]
        return vectors
    whole = np.asarray(window, np.float64)
    return whole[np.ix_(*nearest)] if whole.shape == size else whole


def _halo(halo: Any, rank: int) -> Halo | None:
    """Pairs, one an axis; None if there is nothing to leave out."""
    margins = list(halo) if isinstance(halo, (list, tuple)) else [halo] * rank
    try:
        pairs = [pair if isinstance(pair, (list, tuple)) else (pair, pair) for pair in margins]
        checked = tuple((as_int(before), as_int(after)) for before, after in pairs)
    except (TypeError, ValueError):
        raise TypeError(f"halo: got {halo!r}, takes integers, or pairs of them") from None
    if len(checked) != rank or any(min(pair) < 0 for pair in checked):
        raise ValueError(f"halo: got {halo!r}, takes 0 or more, for {rank} axes")
    return checked if any(map(any, checked)) else None


def _flattened(outputs: Any) -> tuple[Any, list[Any]]:
    """A single output (keys None), a sequence (their number) or a mapping (its keys), as a list."""
    if isinstance(outputs, Mapping):
        return list(outputs), list(outputs.values())
    if isinstance(outputs, (tuple, list)):
        return len(outputs), list(outputs)
    return None, [outputs]


def _check_output(output: Any, grid: FragmentGrid, count: int) -> None:
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) != 2 + len(grid.size) or shape[0] != count:
        axes = ", ".join(f"size_{axis}" for axis in range(len(grid.size)))
        raise ValueError(
            f"model: got an output of shape {shape}, takes ({count}, channels, {axes})"
        )


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _bar(total: int, progress: bool) -> Any:
    if not progress:
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="fragment")
