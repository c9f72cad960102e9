"""A stand-in for MONAI's sliding-window inference, on tokfrag's cutting and merging.

>>> import torch
>>> from tokfrag.compat.monai import sliding_window_inference
>>> sliding_window_inference(torch.ones(1, 1, 8, 8), 4, 2, lambda x: 2 * x).unique().tolist()
[2.0]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tokfrag.fragments.axes import PadMode
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import merge
from tokfrag.fragments.streams.cutting import Run, run_grid, runs, spans
from tokfrag.fragments.streams.results import WeightedOutputs, resized
from tokfrag.fragments.streams.sliding import map_fragments
from tokfrag.fragments.streams.stitching import output_grid

_LEAST_WEIGHT = 1e-3


def sliding_window_inference(
    inputs: Tensor,
    roi_size: Sequence[int] | int,
    sw_batch_size: int,
    predictor: Callable[..., Any],
    overlap: Sequence[float] | float = 0.25,
    mode: str = "constant",
    sigma_scale: Sequence[float] | float = 0.125,
    padding_mode: str = "constant",
    cval: float = 0.0,
    sw_device: torch.device | str | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
    roi_weight_map: Tensor | None = None,
    process_fn: Callable[..., Any] | None = None,
    buffer_steps: int | None = None,
    buffer_dim: int = -1,
    with_coord: bool = False,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Run ``predictor`` over windows of ``inputs`` and average what it returns.

    The arguments are those of ``monai.inferers.sliding_window_inference`` (MONAI 1.6), and so is
    the result, within rounding: sums are kept in float32 whatever the dtype of ``inputs``.
    Results are merged slab by slab, so ``buffer_steps`` and ``buffer_dim`` change nothing. Where
    gradients are on and the predictor's outputs have one, they are all kept and the result has it
    too; ``torch.no_grad()`` saves that memory. Metadata of a MetaTensor goes to the result.

    Parameters
    ----------
    inputs : (batch, channels, *spatial)
        With 1 to 4 spatial axes.
    roi_size : int or sequence of int
        The window; an axis with None, 0 or less takes the input's length.
    sw_batch_size : int
        Windows a call of ``predictor``.
    predictor : callable
        ``predictor(windows, *args, **kwargs)``, or with ``with_coord``
        ``predictor(windows, coordinates, *args, **kwargs)``; returns a tensor, a sequence or a
        dict of tensors.
    mode : {"constant", "gaussian"}
        How windows are blended, unless ``roi_weight_map`` says.
    process_fn : callable, optional
        ``process_fn(outputs, windows, weights)`` after each call of ``predictor``: gets a tuple of
        outputs and the window's weights, returns both as they are to be used. As in MONAI, what is
        summed is divided by the weights of the first call, at every window.

    Returns
    -------
    Tensor, tuple of Tensor, or dict of Tensor
        On ``device``, in the dtype of ``inputs`` if that is floating, else of what was merged.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; the message names it.

    Examples
    --------
    >>> double = sliding_window_inference(torch.ones(1, 1, 9), 4, 2, lambda x: 2 * x, 0.5)
    >>> double.shape, double.mean().item()
    (torch.Size([1, 1, 9]), 2.0)
    """
    if not inputs.shape[0]:
        raise ValueError(f"inputs: got shape {tuple(inputs.shape)}, takes at least one image")
    rank = inputs.ndim - 2
    roi = _roi(roi_size, tuple(inputs.shape[2:]))
    overlaps = _per_axis(overlap, rank, "overlap")
    if not all(0 <= o < 1 for o in overlaps):
        raise ValueError(f"overlap: got {overlap}, takes 0 to less than 1")
    source = inputs.as_subclass(Tensor)
    condition = kwargs.pop("condition", None)
    pads = _pads(tuple(inputs.shape[2:]), roi)
    widths = [width for pair in reversed(pads) for width in pair]
    if any(widths):
        source = functional.pad(source, widths, mode=_pad_mode(padding_mode), value=cval)
        if condition is not None:
            condition = functional.pad(condition, widths, mode=_pad_mode(padding_mode), value=cval)
    shape = tuple(source.shape[2:])
    stride = [
        w if w == length else max(int(w * (1 - o)), 1)
        for w, length, o in zip(roi, shape, overlaps, strict=True)
    ]
    grid = FragmentGrid(shape, roi, stride, edge="shift")
    window = _window(roi_weight_map, mode, sigma_scale, roi)
    predict: Callable[[Tensor], Any] = _Predictor(
        predictor, grid, condition, with_coord, args, kwargs
    )
    if process_fn is not None:
        predict = _Processed(predict, process_fn, window, roi, inputs.dtype)
    sliding = _Sliding(source, grid, window, sw_batch_size, sw_device, progress)
    outputs = sliding.run(predict)
    target = inputs.device if device is None else torch.device(device)

    def finish(output: Tensor) -> Tensor:
        scale = [length / whole for length, whole in zip(output.shape[2:], shape, strict=True)]
        crop = tuple(
            slice(round(before * s), round((before + length) * s))
            for (before, _), length, s in zip(pads, inputs.shape[2:], scale, strict=True)
        )
        place = (slice(None), slice(None), *crop)
        # Probabilities of an image of integers stay probabilities.
        dtype = inputs.dtype if inputs.is_floating_point() else output.dtype
        return _as_given(output[place].to(target, dtype), inputs)

    if isinstance(outputs, Mapping):
        return {key: finish(output) for key, output in outputs.items()}
    if isinstance(outputs, (tuple, list)):
        return tuple(map(finish, outputs))
    return finish(outputs)


def _as_given(output: Tensor, inputs: Tensor) -> Tensor:
    """With the metadata of a MetaTensor, if that is what came in."""
    if not hasattr(inputs, "copy_meta_from"):
        return output
    kept = output.as_subclass(type(inputs))
    kept.copy_meta_from(inputs)
    return kept


class _Sliding:
    """Windows through the predictor and back: streamed, or whole where a gradient is wanted."""

    def __init__(
        self,
        source: Tensor,
        grid: FragmentGrid,
        window: Any,
        batch_size: int,
        device: torch.device | str | None,
        progress: bool,
    ) -> None:
        self._source, self._grid, self._window = source, grid, window
        self._batch_size, self._device, self._progress = batch_size, device, progress

    def run(self, predict: Callable[[Tensor], Any]) -> Any:
        """The merged outputs."""
        first = self._first_outputs(predict) if torch.is_grad_enabled() else None
        if first is not None and any(part.requires_grad for part in _parts(first)):
            return self._with_gradient(predict, first)

        def resumed(windows: Tensor) -> Any:
            nonlocal first
            outputs, first = first, None  # the first batch has been through the predictor
            return predict(windows) if outputs is None else outputs

        return map_fragments(
            resumed,
            self._source,
            self._grid,
            batch_size=self._batch_size,
            window=self._window,
            reduce="mean",
            device=self._device,
            progress=self._progress,
        )

    def _windows(self, first: int) -> Tensor:
        """A batch of windows, differentiable in the source."""
        last = min(first + self._batch_size, self._source.shape[0] * self._grid.n)
        windows = [
            extract(
                self._source[_place(run, spans(grid, run))],
                run_grid(grid, run.length),
            )[0]
            for grid in [self._grid]
            for run in runs(grid, first, last)
        ]
        return torch.cat(windows).to(self._source.device if self._device is None else self._device)

    def _first_outputs(self, predict: Callable[[Tensor], Any]) -> Any:
        return predict(self._windows(0))

    def _with_gradient(self, predict: Callable[[Tensor], Any], first: Any) -> Any:
        """Every output kept, for the gradient needs them all, and merged at once."""
        batches = [first]
        total = self._source.shape[0] * self._grid.n
        for begin in range(self._batch_size, total, self._batch_size):
            batches.append(predict(self._windows(begin)))
        weights = [b.weights if isinstance(b, WeightedOutputs) else None for b in batches]
        parts = [_parts(batch) for batch in batches]
        merged = [
            self._merged([batch[k] for batch in parts], weights) for k in range(len(parts[0]))
        ]
        outputs = first.outputs if isinstance(first, WeightedOutputs) else first
        if isinstance(outputs, Mapping):
            return dict(zip(outputs, merged, strict=True))
        return merged[0] if isinstance(outputs, Tensor) else tuple(merged)

    def _merged(self, batches: list[Tensor], weights: list[Any]) -> Tensor:
        """The mean of one output over the windows that hold a position."""
        size = tuple(batches[0].shape[2:])
        grid = output_grid(self._grid, size)
        shape = (self._source.shape[0], grid.n, -1, *size)
        if weights[0] is None:
            window = resized(self._window, self._grid.size, size)
            fragments = torch.cat(batches).reshape(shape)
            return merge(_wide(fragments), grid, window=window)
        # As the streamed way: each batch by its own weights, over those of the first call.
        numbers = [
            torch.from_numpy(np.asarray(resized(own, self._grid.size, size))) for own in weights
        ]
        weighed = [
            _wide(batch) * own.to(batch.device, torch.float32)
            for batch, own in zip(batches, numbers, strict=True)
        ]
        total = merge(torch.cat(weighed).reshape(shape), grid, reduce="sum")
        ones = np.broadcast_to(np.ones(1), (1, grid.n, 1, *size))
        held = merge(ones, grid, window=numbers[0].numpy(), reduce="sum")
        return total / torch.from_numpy(held).to(total)


def _place(run: Run, spans: tuple[slice, ...]) -> tuple[slice, ...]:
    return (slice(run.batch, run.batch + 1), slice(None), *spans)


def _parts(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, WeightedOutputs):
        outputs = outputs.outputs
    if isinstance(outputs, Mapping):
        return list(outputs.values())
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _wide(fragments: Tensor) -> Tensor:
    """Sums are kept in float32, or in float64 for float64."""
    return fragments if fragments.dtype == torch.float64 else fragments.float()


class _Predictor:
    """Calls the predictor with what MONAI passes along: coordinates, condition, other arguments."""

    def __init__(
        self,
        predictor: Callable[..., Any],
        grid: FragmentGrid,
        condition: Tensor | None,
        with_coord: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._predictor, self._grid, self._condition = predictor, grid, condition
        self._with_coord, self._args, self._kwargs = with_coord, args, kwargs
        self._done = 0

    def __call__(self, windows: Tensor) -> Any:
        arguments: list[Any] = [windows]
        options = dict(self._kwargs)
        if self._with_coord or self._condition is not None:
            places = self._places(len(windows))
            if self._with_coord:
                arguments.append(places)
            if self._condition is not None:
                cut = [self._condition[tuple(place)] for place in places]
                options["condition"] = torch.cat(cut).to(windows.device)
        outputs = self._predictor(*arguments, *self._args, **options)
        self._done += len(windows)  # not before: a call that ran out of memory is repeated
        return outputs

    def _places(self, count: int) -> list[list[slice]]:
        """Where each window of a batch lies: batch, channels, then the spatial axes."""
        places = []
        for run in runs(self._grid, self._done, self._done + count):
            for k in range(run.length):
                place = (*run.place[:-1], run.place[-1] + k)
                inside = spans(self._grid, run._replace(place=place, length=1))
                places.append([slice(run.batch, run.batch + 1), slice(None), *inside])
        return places


class _Processed:
    """Calls `process_fn` on what the predictor returns."""

    def __init__(
        self,
        predict: Callable[[Tensor], Any],
        process_fn: Callable[..., Any],
        window: Any,
        roi: tuple[int, ...],
        dtype: torch.dtype,
    ) -> None:
        self._predict, self._process, self._roi = predict, process_fn, roi
        whole = np.ones(roi) if isinstance(window, str) else window
        self._weights = torch.from_numpy(whole).to(dtype)

    def __call__(self, windows: Tensor) -> WeightedOutputs:
        outputs = self._predict(windows)
        kind = type(outputs)
        keys = list(outputs) if isinstance(outputs, Mapping) else None
        parts = outputs.values() if isinstance(outputs, Mapping) else outputs
        parts = (parts,) if isinstance(parts, Tensor) else tuple(parts)
        parts, weights = self._process(parts, windows, self._weights.to(windows.device))
        numbers = torch.as_tensor(weights).detach().cpu().double().numpy()
        if numbers.size != prod(self._roi) or numbers.shape[-len(self._roi) :] != self._roi:
            raise ValueError(
                f"process_fn: got weights of shape {numbers.shape} back, takes {self._roi}"
            )
        if keys is not None:
            outputs = dict(zip(keys, parts, strict=True))
        else:
            outputs = parts[0] if issubclass(kind, Tensor) else tuple(parts)
        return WeightedOutputs(outputs, numbers.reshape(self._roi))


def _roi(roi_size: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(roi_size, (np.ndarray, Tensor)):
        roi_size = roi_size.tolist()
    if isinstance(roi_size, Sequence):
        if len(roi_size) != len(shape):
            raise ValueError(f"roi_size: got {tuple(roi_size)}, takes {len(shape)} lengths")
        sizes = list(roi_size)
    else:
        sizes = [roi_size] * len(shape)
    return tuple(
        int(w) if w is not None and w > 0 else length
        for w, length in zip(sizes, shape, strict=True)
    )


def _per_axis(value: Sequence[float] | float, rank: int, name: str) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{name}: got {value}, takes one number, or one for each of {rank} axes")
    return values


def _pads(shape: tuple[int, ...], roi: tuple[int, ...]) -> list[tuple[int, int]]:
    """Before and after each axis that is shorter than its window."""
    missing = [max(w - length, 0) for w, length in zip(roi, shape, strict=True)]
    return [(m // 2, m - m // 2) for m in missing]


def _pad_mode(mode: str) -> PadMode:
    name = str(getattr(mode, "value", mode)).lower()
    if name not in ("constant", "reflect", "replicate", "circular"):
        raise ValueError(
            f"padding_mode: got {mode!r}, takes constant, reflect, replicate, circular"
        )
    return name  # type: ignore[return-value]


def _window(
    weights: Tensor | None,
    mode: str,
    sigma_scale: Sequence[float] | float,
    roi: tuple[int, ...],
) -> Any:
    if weights is not None:
        array = torch.as_tensor(weights).detach().cpu().double().numpy()
        while array.ndim > len(roi) and array.shape[0] == 1:
            array = array[0]
        return array
    name = str(getattr(mode, "value", mode)).lower()
    if name == "constant":
        return "uniform"
    if name != "gaussian":
        raise ValueError(f"mode: got {mode!r}, takes 'constant' or 'gaussian'")
    scales = _per_axis(sigma_scale, len(roi), "sigma_scale")
    window: NDArray[np.float64] = np.ones(())
    for size, scale in zip(roi, scales, strict=True):
        distance = np.arange(size) - (size - 1) / 2
        window = window[..., None] * np.exp(-0.5 * (distance / (scale * size)) ** 2)
    # Clipped once multiplied out: on more than one axis such a window has no factors.
    return np.maximum(window, max(float(window.min()), _LEAST_WEIGHT))
