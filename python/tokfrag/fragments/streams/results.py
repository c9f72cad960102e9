"""What becomes of a model's outputs: a stitcher for each, and where its slabs are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import index as as_int
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.placing import put_back
from tokfrag.fragments.shapes import check_stacked
from tokfrag.fragments.streams.chosen import ChosenStitcher, all_positive
from tokfrag.fragments.streams.host import HostStitcher, emits_into
from tokfrag.fragments.streams.kept import KeptStitcher
from tokfrag.fragments.streams.stitching import (
    Halo,
    Stitcher,
    central_grid,
    output_grid,
    refuse_two_readings,
    window_map_grid,
)
from tokfrag.fragments.streams.targets import check_target, put
from tokfrag.fragments.windows import Reduce, Window

if TYPE_CHECKING:
    from tokfrag.fragments.streams.downloads import Downloads


class WeightedOutputs(NamedTuple):
    """What a model may return for `compat.monai`: outputs, and their weights within a fragment.

    Means are divided by the weights of the first call at every fragment, as MONAI has it.
    """

    outputs: Any
    weights: NDArray[np.float64]


class Stitching(NamedTuple):
    """How outputs become results."""

    window: Window
    reduce: Reduce | None
    halo: Halo | Literal["valid", "scale"] | None
    reduce_slab: Callable[[Any], Any] | None
    threads: int
    chosen: NDArray[np.int64] | None = None  # the windows that come, ascending; None: all
    placed: bool = False  # the grid has an offset or padding

    def stitcher(
        self, output: Any, x: Any, grid: FragmentGrid, weights: NDArray[np.float64] | None
    ) -> Stitcher:
        """The sums for one output of the model, whose first batch it is."""
        size = tuple(output.shape[2:])
        window = self.window if weights is None else weights
        if self.halo == "valid":
            of_output, window = central_grid(grid, size), central_window(window, grid.size, size)
        elif size != grid.size and set(size) == {1}:
            of_output, window = window_map_grid(grid), "uniform"
            if self.halo not in (None, "scale"):
                raise ValueError("halo: got one with outputs of one number a window, takes none")
        else:
            if self.placed and size != grid.size:
                raise ValueError(
                    f"model: got outputs of size {size}; on a grid with offset or padding, takes "
                    f"{grid.size} or one vector a window"
                )
            of_output = output_grid(grid, size)
            if self.halo is None and size != grid.size:
                refuse_two_readings(grid, size)
            window = resized(window, grid.size, size)
            if self.halo not in (None, "scale") and size != grid.size:
                raise ValueError(f"halo: got outputs of size {size}, takes {grid.size}")
        halo = None if isinstance(self.halo, str) else self.halo
        reduce = self.reduce
        if reduce is None:
            refuse_labels(output.dtype, x)
            reduce = "mean"
        here = output.is_cpu if _arrays.is_tensor(output) else True
        summed = reduce in ("mean", "sum") and halo is None and here
        if self.chosen is not None and summed and all_positive(of_output, window):
            return ChosenStitcher(of_output, window, reduce, output, self.threads, self.chosen)
        if self.chosen is not None or reduce in ("min", "vote", "median"):
            check_stacked(output.dtype, reduce, window if reduce in ("mean", "sum") else "uniform")
            return KeptStitcher(of_output, window, reduce, halo, output, self.chosen)
        return _stitcher(of_output, window, reduce, halo, output, self.threads)


class Results:
    """Every output of the model: its stitcher, and where its slabs go."""

    def __init__(
        self,
        outputs: Any,
        count: int,
        x: Any,
        grid: FragmentGrid,
        out: Any,
        stitching: Stitching,
    ) -> None:
        self._x, self._reduce_slab = x, stitching.reduce_slab
        self._placed = grid if grid.inner is not None else None
        self._grid = grid = grid if grid.inner is None else grid.inner
        self._is_vote = stitching.reduce == "vote"
        outputs, weights = _unweighted(outputs)
        self._keys, first = _flattened(outputs)
        first = [_with_space(_arrays.from_protocols(output), grid) for output in first]
        self._kind = type(outputs)
        if out is None:
            self._targets: list[Any] = [None] * len(first)
        else:
            keys, self._targets = _flattened(out)
            if keys != self._keys:
                got, takes = map(_structure, (keys, self._keys))
                raise ValueError(f"out: got {got}, takes {takes}, as the model returns")
            for target in self._targets:
                check_target(target, x)
        #: Where results go in the end, once moved to the array's own positions.
        self._outs = self._targets
        if self._placed is not None:
            self._targets = [None] * len(first)
        self._stitchers = []
        #: Positions at either end of an axis that no output reaches.
        self._margins: list[tuple[int, ...]] = []
        for output in first:
            _check_output(output, grid, count)
        if stitching.halo is None and any(tuple(o.shape[2:]) == grid.size for o in first):
            stitching = stitching._replace(halo="scale")  # the model pads: no other reading
        for output in first:
            self._stitchers.append(stitching.stitcher(output, x, grid, weights))
            lost = zip(grid.size, output.shape[2:], strict=True)
            valid = stitching.halo == "valid"
            self._margins.append(tuple((w - int(v)) // 2 if valid else 0 for w, v in lost))
        self._dtypes = [output.dtype for output in first]
        self._shapes = [tuple(output.shape[1:]) for output in first]
        self._downloads: Downloads | None = None  # once a slab comes from a device

    def add(self, outputs: Any, first: int, count: int) -> None:
        """Merge the outputs of fragments [first, first + count); write what is finished."""
        outputs, weights = _unweighted(outputs)
        keys, parts = _flattened(outputs)
        if keys != self._keys:
            got, takes = map(_structure, (keys, self._keys))
            raise ValueError(f"model: got {got} back, takes {takes}, as of the first batch")
        for k, (stitcher, part) in enumerate(zip(self._stitchers, parts, strict=True)):
            part = _with_space(_arrays.from_protocols(part), self._grid)
            _check_output(part, self._grid, count)
            if tuple(part.shape[1:]) != self._shapes[k]:
                raise ValueError(
                    f"model: got an output of shape {tuple(part.shape)}, takes "
                    f"{(count, *self._shapes[k])}, as of the first batch"
                )
            own = weights
            if weights is not None:
                own = np.asarray(resized(weights, self._grid.size, stitcher.grid.size))
            done = 0
            while done < count:
                entry, at = divmod(first + done, stitcher.windows)
                end = min(stitcher.until(at), stitcher.windows, at + count - done)
                stitcher.add(at, part[done : done + end - at], own)
                done += end - at
                finished = stitcher.finished(end)
                if finished is not None:
                    self._write(k, entry, finished)

    def packed(self) -> Any:
        """The results, in the structure of the model's outputs."""
        if self._downloads is not None:
            self._downloads.finish()
        results = self._targets if self._placed is None else list(map(self._put_back, self._outs))
        if self._keys is None:
            return results[0]
        if isinstance(self._keys, list):
            return dict(zip(self._keys, results, strict=True))
        return list(results) if self._kind is list else tuple(results)

    def _put_back(self, out: Any) -> Any:
        """The next result over what the windows reach, on the array's own positions."""
        assert self._placed is not None
        result = self._targets.pop(0)
        shape = tuple(result.shape[2:])
        if shape == self._grid.shape:
            result = put_back(result, self._placed, channels_last=False, fold=False, fill_value=0)
        elif shape != self._grid.counts:
            raise ValueError(
                f"reduce_slab: got positions {shape} back, takes {self._grid.shape} with a grid of "
                "offset or padding"
            )
        if out is None:
            return result
        if tuple(out.shape) != tuple(result.shape):
            raise ValueError(f"out: got shape {tuple(out.shape)}, takes {tuple(result.shape)}")
        self._store(result, out, (slice(None),) * result.ndim)
        return out

    def _write(self, k: int, entry: int, finished: slice) -> None:
        stitcher = self._stitchers[k]
        length, rest = stitcher.grid.shape[0], stitcher.grid.shape[1:]
        slab = None
        if self._reduce_slab is not None:
            slab = self._reduce_slab(stitcher.take(finished)[None])
            thickness = finished.stop - finished.start
            if not hasattr(slab, "shape") or not hasattr(slab, "dtype"):
                got = type(slab).__name__
                raise TypeError(f"reduce_slab: got {got} back, takes arrays, as it is given")
            if len(slab.shape) < 3 or slab.shape[0] != 1 or slab.shape[2] != thickness:
                takes = f"(1, channels, {thickness}, ...)"
                raise ValueError(f"reduce_slab: got shape {tuple(slab.shape)} back, takes {takes}")
            channels, rest, dtype = slab.shape[1], tuple(slab.shape[3:]), slab.dtype
        else:
            channels, dtype = stitcher.channels, self._dtypes[k]
        margins = self._margins[k]
        if len(rest) == len(margins) - 1:
            lengths = [n + 2 * m for n, m in zip((length, *rest), margins, strict=True)]
            inside = tuple(slice(m, m + n) for n, m in zip(rest, margins[1:], strict=True))
        else:  # reduce_slab has changed the axes
            lengths, inside = [length + 2 * margins[0], *rest], ()
        shape = (self._x.shape[0], channels, *lengths)
        if self._targets[k] is None:
            self._targets[k] = self._fresh(stitcher.tensors if slab is None else slab, shape, dtype)
            if any(margins):
                self._targets[k][:] = 0
        target = self._targets[k]
        if tuple(target.shape) != shape:
            raise ValueError(f"out: got shape {tuple(target.shape)}, takes {shape}")
        place = slice(finished.start + margins[0], finished.stop + margins[0])
        if slab is None and isinstance(stitcher, HostStitcher) and emits_into(target):
            where = (entry, slice(None), place, *inside)
            stitcher.take(finished, target[where])
        else:
            slab = stitcher.take(finished)[None] if slab is None else slab
            self._store(slab, target, (slice(entry, entry + 1), slice(None), place, *inside))
        if finished.stop == length:
            stitcher.restart()

    def _store(self, slab: Any, target: Any, place: tuple[slice, ...]) -> None:
        """Write a slab in the kind and type of the target; integers rounded and saturated."""
        if _arrays.is_tensor(slab):
            if slab.is_cuda and not getattr(target, "is_cuda", False):
                return self._download(slab, target, place)
            if not _arrays.is_tensor(target):
                slab = slab.cpu().numpy()
        elif _arrays.is_tensor(target):
            import torch

            slab = torch.from_numpy(np.ascontiguousarray(slab)).to(target.device)
        put(slab, target, place)
        return None

    def _download(self, slab: Any, target: Any, place: tuple[slice, ...]) -> None:
        """Write a slab that lies on a device, once it has come; the device is not waited for."""
        from tokfrag.fragments.streams.downloads import Downloads

        if self._downloads is None:
            self._downloads = Downloads()
        as_numpy = not _arrays.is_tensor(target)
        self._downloads.put(
            slab, lambda copy: put(copy.numpy() if as_numpy else copy, target, place)
        )

    def _fresh(self, of: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """An empty result of the kind of the input, on its device."""
        exact = self._reduce_slab is not None or self._is_vote
        if of is True or _arrays.is_tensor(of):
            import torch

            floating = dtype.is_floating_point or exact
            kept = dtype if floating else torch.float32
            if _arrays.is_tensor(self._x):
                return _arrays.empty_tensor(self._x.new_empty(0, dtype=kept), shape)
            kept = torch.float32 if kept == torch.bfloat16 else kept  # unknown to NumPy
            return _arrays.empty_tensor(torch.empty(0, dtype=kept), shape).numpy()
        kept = dtype if dtype.kind == "f" or exact else np.float32
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


def resized(window: Window, size: tuple[int, ...], wanted: tuple[int, ...]) -> Window:
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


def central_window(window: Window, size: tuple[int, ...], wanted: tuple[int, ...]) -> Window:
    """A window given as numbers, for outputs that are the middle of a fragment."""
    inside = [slice((w - v) // 2, (w + v) // 2) for w, v in zip(size, wanted, strict=True)]
    if isinstance(window, str):
        return window
    if isinstance(window, (list, tuple)):
        return [np.asarray(v)[at] for v, at in zip(window, inside, strict=True)]
    return np.asarray(window, np.float64)[tuple(inside)]


def refuse_labels(dtype: Any, x: Any) -> None:
    """Integers that are not the data's own are labels: nobody averages them unasked."""
    name = _arrays.dtype_name(_arrays.native(dtype))
    if not _arrays.is_integer(dtype) and name != "bool":
        return
    own = _arrays.dtype_name(_arrays.native(x.dtype)) if hasattr(x, "dtype") else ""
    if name != own or name in ("bool", "int64", "uint64"):
        raise TypeError(
            f"model: got outputs of {name}, which may be labels; takes floats, "
            "reduce='vote' for labels, or reduce='mean' to average numbers all the same"
        )


def checked_halo(halo: Any, rank: int) -> Halo | Literal["valid", "scale"] | None:
    """Pairs, one an axis; None if there is nothing to leave out."""
    if isinstance(halo, str):
        if halo == "valid":
            return "valid"
        if halo == "scale":
            return "scale"
        raise TypeError(f"halo: got {halo!r}, takes 'valid', 'scale', integers, or pairs of them")
    margins = list(halo) if isinstance(halo, (list, tuple)) else [halo] * rank
    try:
        pairs = [pair if isinstance(pair, (list, tuple)) else (pair, pair) for pair in margins]
        if any(isinstance(number, bool) for pair in pairs for number in pair):
            raise TypeError
        checked = tuple((as_int(before), as_int(after)) for before, after in pairs)
    except (TypeError, ValueError):
        raise TypeError(f"halo: got {halo!r}, takes integers, or pairs of them") from None
    if len(checked) != rank or any(not 0 <= n < 2**62 for pair in checked for n in pair):
        raise ValueError(f"halo: got {halo!r}, takes 0 or more, for {rank} axes")
    return checked if any(map(any, checked)) else None


def _flattened(outputs: Any) -> tuple[Any, list[Any]]:
    """A single output (keys None), a sequence (their number) or a mapping (its keys), as a list."""
    if isinstance(outputs, Mapping):
        return list(outputs), list(outputs.values())
    if isinstance(outputs, (tuple, list)):
        return len(outputs), list(outputs)
    return None, [outputs]


def _structure(keys: Any) -> str:
    """How outputs of these keys hang together, in words."""
    if keys is None:
        return "one array"
    return f"a sequence of {keys}" if isinstance(keys, int) else f"a mapping of {keys}"


def _with_space(output: Any, grid: FragmentGrid) -> Any:
    """An output of one vector a window, (count, channels), as fragments of one position."""
    if len(getattr(output, "shape", ())) != 2:
        return output
    place = (slice(None), slice(None), *(None,) * len(grid.size))
    return output[place]


def _check_output(output: Any, grid: FragmentGrid, count: int) -> None:
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) != 2 + len(grid.size) or shape[0] != count:
        axes = ", ".join(f"size_{axis}" for axis in range(len(grid.size)))
        raise ValueError(
            f"model: got an output of shape {shape}, takes ({count}, channels, {axes}) or "
            f"({count}, channels)"
        )
    _arrays.check_plain(output, "model")
