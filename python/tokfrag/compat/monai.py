"""Stand-ins for MONAI's sliding-window inference, on tokfrag's cutting and merging.

>>> import torch
>>> from tokfrag.compat.monai import sliding_window_inference
>>> sliding_window_inference(torch.ones(1, 1, 8, 8), 4, 2, lambda x: 2 * x).unique().tolist()
[2.0]
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tokfrag.compat.monai_windows import Predictor, Processed, SlidingWindows
from tokfrag.fragments.axes import PadMode
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.streams.sliding import OutOfMemoryWarning

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
    predict: Callable[[Tensor], Any] = Predictor(
        predictor, grid, condition, with_coord, args, kwargs
    )
    if process_fn is not None:
        predict = Processed(predict, process_fn, window, roi, inputs.dtype)
    sliding = SlidingWindows(source, grid, window, sw_batch_size, sw_device, progress)
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


class SlidingWindowInferer:
    """``monai.inferers.SlidingWindowInferer`` (MONAI 1.6), on `sliding_window_inference`.

    Takes the same arguments. Weights cost next to nothing here, so `cache_roi_weight_map` changes
    nothing; nor do `buffer_steps` and `buffer_dim`.

    Parameters
    ----------
    cpu_thresh : int, optional
        An input of more positions than this is put together in the CPU's memory.

    Examples
    --------
    >>> import torch
    >>> inferer = SlidingWindowInferer(roi_size=4, overlap=0.5)
    >>> inferer(torch.ones(1, 1, 8, 8), lambda x: 3 * x).unique().tolist()
    [3.0]
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        sw_batch_size: int = 1,
        overlap: Sequence[float] | float = 0.25,
        mode: str = "constant",
        sigma_scale: Sequence[float] | float = 0.125,
        padding_mode: str = "constant",
        cval: float = 0.0,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        progress: bool = False,
        cache_roi_weight_map: bool = False,
        cpu_thresh: int | None = None,
        buffer_steps: int | None = None,
        buffer_dim: int = -1,
        with_coord: bool = False,
    ) -> None:
        self.roi_size, self.sw_batch_size, self.overlap = roi_size, sw_batch_size, overlap
        self.mode, self.sigma_scale = mode, sigma_scale
        self.padding_mode, self.cval = padding_mode, cval
        self.sw_device, self.device, self.progress = sw_device, device, progress
        self.cache_roi_weight_map, self.cpu_thresh = cache_roi_weight_map, cpu_thresh
        self.buffer_steps, self.buffer_dim = buffer_steps, buffer_dim
        self.with_coord = with_coord

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Run ``network`` over windows of ``inputs``; further arguments go to it.

        `condition`, of the inputs' shape, is cut alike; `device`, `buffer_steps` and `buffer_dim`
        take the place of those the inferer was made with.
        """
        return self._infer(inputs, network, self.roi_size, args, kwargs)

    def _infer(
        self,
        inputs: Tensor,
        network: Callable[..., Any],
        roi_size: Sequence[int] | int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        condition = kwargs.get("condition")
        if condition is not None and condition.shape != inputs.shape:
            raise ValueError(
                f"condition: got shape {tuple(condition.shape)}, takes that of inputs, "
                f"{tuple(inputs.shape)}"
            )
        device = kwargs.pop("device", self.device)
        buffer_steps = kwargs.pop("buffer_steps", self.buffer_steps)
        buffer_dim = kwargs.pop("buffer_dim", self.buffer_dim)
        if device is None and self.cpu_thresh is not None:
            device = "cpu" if inputs.shape[2:].numel() > self.cpu_thresh else None
        return sliding_window_inference(
            inputs,
            roi_size,
            self.sw_batch_size,
            network,
            self.overlap,
            self.mode,
            self.sigma_scale,
            self.padding_mode,
            self.cval,
            self.sw_device,
            device,
            self.progress,
            None,
            None,
            buffer_steps,
            buffer_dim,
            self.with_coord,
            *args,
            **kwargs,
        )


class SlidingWindowInfererAdapt(SlidingWindowInferer):
    """``monai.inferers.SlidingWindowInfererAdapt`` (MONAI 1.6): on the CPU if a GPU is too small.

    Where putting an image together on its device runs out of memory, that is done in the CPU's; the
    next image as large goes there at once. With a `device`, or for images on the CPU, it is
    :class:`SlidingWindowInferer`. Buffers, which MONAI tries in between, change nothing here.

    Examples
    --------
    >>> import torch
    >>> inferer = SlidingWindowInfererAdapt(roi_size=4)
    >>> inferer(torch.ones(1, 1, 8, 8), lambda x: x + 1).unique().tolist()
    [2.0]
    """

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Run ``network`` over windows of ``inputs``, see :class:`SlidingWindowInferer`."""
        positions = inputs.shape[2:].numel()
        large = self.cpu_thresh is not None and positions > self.cpu_thresh
        if self.device is not None or inputs.device.type == "cpu" or large:
            return super().__call__(inputs, network, *args, **kwargs)
        try:
            return super().__call__(inputs, network, *args, **{**kwargs, "device": inputs.device})
        except torch.OutOfMemoryError as error:
            warnings.warn(
                f"tokfrag: images of shape {tuple(inputs.shape)} do not fit in the memory of "
                f"{inputs.device}; this one and others as large are put together on the CPU "
                f"({error})",
                OutOfMemoryWarning,
                stacklevel=2,
            )
        self.cpu_thresh = positions - 1
        return super().__call__(inputs, network, *args, **{**kwargs, "device": "cpu"})


class SliceInferer(SlidingWindowInferer):
    """``monai.inferers.SliceInferer`` (MONAI 1.6): a model of images over the slices of a volume.

    Parameters
    ----------
    spatial_dim : 0, 1 or 2
        The axis whose slices go through the model one by one.
    args, kwargs
        As :class:`SlidingWindowInferer` takes them; `roi_size` has two lengths.

    Examples
    --------
    >>> import torch
    >>> inferer = SliceInferer(roi_size=(4, 4), spatial_dim=1)
    >>> inferer(torch.ones(1, 1, 8, 5, 8), torch.nn.AvgPool2d(3, 1, 1)).shape
    torch.Size([1, 1, 8, 5, 8])
    """

    def __init__(self, spatial_dim: int = 0, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spatial_dim = spatial_dim

    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Run ``network``, of ``(count, channels, *plane)``, over slices of ``inputs``."""
        if not 0 <= self.spatial_dim <= 2:
            raise ValueError(f"spatial_dim: got {self.spatial_dim}, takes 0, 1 or 2")
        roi = self.roi_size
        lengths = list(roi) if isinstance(roi, Sequence) else [roi]
        if len(lengths) != 2 or inputs.ndim != 5:
            raise RuntimeError(
                f"roi_size: got {roi} for inputs of shape {tuple(inputs.shape)}, takes two lengths "
                "for volumes (batch, channels, height, width, depth)"
            )
        lengths.insert(self.spatial_dim, 1)
        axis = self.spatial_dim + 2

        def of_slices(windows: Tensor, *rest: Any, **options: Any) -> Any:
            condition = options.pop("condition", None)
            given = [] if condition is None else [condition.squeeze(axis)]
            outputs = network(windows.squeeze(axis), *given, *rest, **options)
            if isinstance(outputs, Tensor):
                return outputs.unsqueeze(axis)
            if isinstance(outputs, Mapping):
                return {key: output.unsqueeze(axis) for key, output in outputs.items()}
            return tuple(output.unsqueeze(axis) for output in outputs)

        return self._infer(inputs, of_slices, lengths, args, kwargs)


def _as_given(output: Tensor, inputs: Tensor) -> Tensor:
    """With the metadata of a MetaTensor, if that is what came in."""
    if not hasattr(inputs, "copy_meta_from"):
        return output
    kept = output.as_subclass(type(inputs))
    kept.copy_meta_from(inputs)
    return kept


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
