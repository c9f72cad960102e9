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

from tokfrag.fragments.grid import FragmentGrid, PadMode
from tokfrag.fragments.streams.cutting import runs, spans
from tokfrag.fragments.streams.sliding import WeightedOutputs, map_fragments

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
    Results are merged slab by slab, so ``buffer_steps`` and ``buffer_dim`` change nothing.

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
        On ``device``, in the dtype of ``inputs``.

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
    outputs = map_fragments(
        predict,
        source,
        grid,
        batch_size=sw_batch_size,
        window=window,
        device=sw_device,
        progress=progress,
    )
    target = inputs.device if device is None else torch.device(device)

    def finish(output: Tensor) -> Tensor:
        scale = [length / whole for length, whole in zip(output.shape[2:], shape, strict=True)]
        crop = tuple(
            slice(round(before * s), round((before + length) * s))
            for (before, _), length, s in zip(pads, inputs.shape[2:], scale, strict=True)
        )
        place = (slice(None), slice(None), *crop)
        return output[place].to(target, inputs.dtype)

    if isinstance(outputs, Mapping):
        return {key: finish(output) for key, output in outputs.items()}
    if isinstance(outputs, (tuple, list)):
        return tuple(map(finish, outputs))
    return finish(outputs)


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


def _roi(roi_size: Sequence[int] | int, shape: tuple[int, ...]) -> tuple[int, ...]:
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
