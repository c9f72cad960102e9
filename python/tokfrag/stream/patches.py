"""Images and videos as the patches that a model reads, in its own order, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._arrays import (
    bounds,
    check_apart,
    dtype_code,
    dtype_name,
    empty_array,
    empty_tensor,
    is_tensor,
    thread_count,
)
from tokfrag._core import stream as _native
from tokfrag.stream.audio import frame_audio
from tokfrag.stream.layouts import WHISPER, WHISPER_HOP, Layout, layout_of
from tokfrag.stream.pixels import Pixels, read_all, runs
from tokfrag.stream.scaling import FORMULAS, Scaling, computes_exactly, scaling_of

_OUT = {"uint8", "float16", "bfloat16", "float32"}


@dataclass(frozen=True, eq=False)
class Patches:
    """The patches of several images and videos, end to end.

    Attributes
    ----------
    values : (n, patch) array or tensor
    grid_thw : (items, 3) array, int64
        Patches of each item along time, height and width: transformers' ``image_grid_thw``.
    cu_seqlens : (segments + 1,) array, int32
        Where the patches that attend to each other begin: the patches of one time or of one item,
        as the layout says.
    positions : (n, 3) array, int64
        Time, row and column of each patch.
    layout : Layout
    """

    values: Any
    grid_thw: NDArray[np.int64]
    cu_seqlens: NDArray[np.int32]
    positions: NDArray[np.int64]
    layout: Layout
    scaling: Scaling
    items: tuple[tuple[int, bool, bool], ...]  # frames, whether a video, whether channels first

    def __len__(self) -> int:
        """How many patches there are."""
        return len(self.values)

    @property
    def places(self) -> NDArray[np.int64]:
        """How many places each item takes in a text: (items,), one a group of patches."""
        places: NDArray[np.int64] = self.grid_thw.prod(1) // self.layout.merge**2
        return places

    def __repr__(self) -> str:
        kind = dtype_name(self.values.dtype)
        return f"Patches({len(self)} of {self.layout.patch_values} {kind}, {len(self.items)} items)"


def patchify(
    images: Any,
    layout: str | Layout,
    *,
    scale: float | Sequence[float] | NDArray[Any] | None = None,
    shift: float | Sequence[float] | NDArray[Any] | None = None,
    dtype: Any = np.float32,
    out: Any = None,
    threads: int | None = None,
) -> Patches:
    """Cut images and videos into patches in a model's order, scaled and cast in the same pass.

    Parameters
    ----------
    images : an image, a video, or a sequence of these, of any sizes
        ``(h, w, c)`` or ``(frames, h, w, c)`` arrays, ``(c, h, w)`` or ``(frames, c, h, w)``
        tensors, Pillow images; uint8 (0 to 255) or float32. Nothing is resized: height and width
        are multiples of the layout's unit.
    layout : str or Layout
        ``"qwen2_vl"``, ``"qwen2_5_vl"``, ``"qwen3_vl"``, ``"siglip2"``, ``"navit"``,
        ``"pixtral"``, ``"internvl"``, ``"llama4"``, ``"clip"``, ``"vit"``, ``"videomae"``, or one
        of your own. ``"whisper"`` takes ``(samples,)`` float arrays of sound and gives what
        :func:`tokfrag.stream.frame_audio` does.
    scale, shift : float or (c,), optional
        Values are ``x * scale + shift`` a channel, computed in float32. Where both are left out,
        values are normalised by the layout's mean, std and formula.
    dtype : float32, float16, bfloat16 or uint8
        Of the values, of NumPy or torch; bfloat16 makes a tensor. Halves are rounded from float32;
        uint8 takes no scale or shift but 1 and 0.
    out : (n, patch) array or tensor, optional
        Where the values go.
    threads : int, optional
        At most so many; the bits do not depend on it.

    Returns
    -------
    Patches
        Values are a tensor where the first image, or ``out``, is one.

    Raises
    ------
    ValueError
        An image whose size the layout cannot take: says which sizes near it it could.
    TypeError
        What is no image, or of another dtype.

    Examples
    --------
    >>> image = np.zeros((56, 84, 3), np.uint8)
    >>> patches = patchify(image, "qwen2_vl")
    >>> patches.values.shape, patches.grid_thw.tolist()
    ((24, 1176), [[1, 4, 6]])
    >>> bool((unpatchify(patches)[0] == image).all())
    True
    """
    plan = layout_of(layout)
    if plan is WHISPER:
        return _frames_of_sound(images, scale, shift, dtype, out)
    pixels = read_all(images, plan.channels)
    kind = dtype_name(dtype if str(dtype).startswith("torch.") else _numpy_or_name(dtype))
    if kind not in _OUT:
        raise ValueError(f"dtype: got {kind}, takes float32, float16, bfloat16 or uint8")
    shapes = [grid_of(*p.shape[:3], plan, f"images[{n}]") for n, p in enumerate(pixels)]
    grids = np.array(shapes, np.int64).reshape(-1, 3)
    count = int(grids.prod(1).sum())
    scaling = scaling_of(plan, scale, shift)
    if kind == "uint8":
        _check_bytes(pixels, scaling)
    workers = thread_count(threads)
    if any(_needs_torch(p.data) for p in pixels):
        values = _by_torch(pixels, grids, plan, scaling, kind, out)
    else:
        values = _output(out, pixels, kind, (count, plan.patch_values))
        _fill(values, pixels, grids, plan, scaling, workers)
    return Patches(
        values,
        grids,
        _bounds(grids, plan),
        _positions(grids, plan.merge),
        plan,
        scaling,
        tuple((p.shape[0], p.video, p.channels_first) for p in pixels),
    )


def unpatchify(patches: Patches, *, dtype: Any = np.uint8) -> list[NDArray[Any]]:
    """Put patches back together: images as they were given, scale and shift undone.

    Parameters
    ----------
    patches : Patches
        Values may have been changed since; their shape not.
    dtype : uint8 or a float type
        Of the images; uint8 is rounded and kept within 0 to 255.

    Returns
    -------
    list of (h, w, c) arrays, or (frames, h, w, c) for videos
        Channels come last however the images were given. Where frames were doubled the first of
        them is taken. For ``"whisper"``: (samples,) float64, whole hops of them.

    Raises
    ------
    ValueError
        The values have not the shape that the grid says, ``dtype`` is another, or images were
        scaled by 0.

    Examples
    --------
    >>> video = np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3)
    >>> [back] = unpatchify(patchify(video, "qwen3_vl"))
    >>> bool((back == video).all())
    True
    """
    plan = patches.layout
    values = patches.values
    if plan is WHISPER:
        return _sound_of_frames(patches)
    if is_tensor(values):
        values = values.detach().float().cpu().numpy()
    expected = (int(patches.grid_thw.prod(1).sum()), plan.patch_values)
    if values.shape != expected:
        raise ValueError(f"patches: values have shape {values.shape}, the grid says {expected}")
    kind = np.dtype(dtype)
    if kind != np.uint8 and kind.kind != "f":
        raise ValueError(f"dtype: got {kind}, takes uint8 or a float type")
    if 0 in patches.scaling.scale:
        raise ValueError("patches: a scale of 0 cannot be undone")
    extent = {"c": plan.channels, "t": plan.frames, "y": plan.patch, "x": plan.patch}
    inner = [extent[axis] for axis in plan.axes]
    back = [plan.axes.index(axis) + 5 for axis in "tyxc"]
    m, made, begin = plan.merge, [], 0
    for (t, h, w), (frames, video, _) in zip(patches.grid_thw.tolist(), patches.items, strict=True):
        part = values[begin : begin + t * h * w].reshape(t, h // m, w // m, m, m, *inner)
        begin += t * h * w
        # time, frame | group row, row, pixel row | group column, column, pixel column | channel
        order = (0, back[0], 1, 3, back[1], 2, 4, back[2], back[3])
        whole = part.transpose(order).reshape(
            t * plan.frames, h * plan.patch, w * plan.patch, plan.channels
        )[:frames]
        if not patches.scaling.plain:
            whole = patches.scaling.undo(whole)
        if kind == np.uint8 and whole.dtype != np.uint8:
            whole = np.clip(np.rint(whole), 0, 255)
        whole = np.ascontiguousarray(whole, kind)
        made.append(whole if video else whole[0])
    return made


def _frames_of_sound(sounds: Any, scale: Any, shift: Any, dtype: Any, out: Any) -> Patches:
    if out is not None:
        raise ValueError("out: layout 'whisper' takes none")
    if isinstance(sounds, np.ndarray) or is_tensor(sounds):
        sounds = [sounds]
    scaling = scaling_of(WHISPER, 1.0 if scale is None else scale, shift)
    parts = [frame_audio(sound) for sound in sounds]
    for number, part in enumerate(parts):
        if part.ndim != 2:
            raise ValueError(f"images[{number}]: got several sounds at once, takes (samples,)")
    grids = np.array([(len(part), 1, 1) for part in parts], np.int64).reshape(-1, 3)
    if parts and is_tensor(parts[0]):
        import torch

        kind = getattr(torch, dtype_name(dtype if str(dtype)[:5] == "torch" else np.dtype(dtype)))
        values = scaling.apply(torch.cat(parts)[..., None])[..., 0].to(kind)
    else:
        whole = np.concatenate(parts) if parts else np.empty((0, WHISPER.frames), np.float32)
        values = scaling.apply(whole[..., None])[..., 0].astype(dtype)
    items = tuple((len(part), False, False) for part in parts)
    positions = _positions(grids, 1)
    return Patches(values, grids, _bounds(grids, WHISPER), positions, WHISPER, scaling, items)


def _sound_of_frames(patches: Patches) -> list[NDArray[Any]]:
    """The samples that each frame alone adds, a hop of them."""
    values = patches.values
    values = values.detach().float().cpu().numpy() if is_tensor(values) else values
    middle = values[:, WHISPER.frames // 2 : WHISPER.frames // 2 + WHISPER_HOP]
    ends = np.cumsum(patches.grid_thw[:, 0])
    sounds = np.split(patches.scaling.undo(middle[..., None])[..., 0], ends[:-1])
    return [sound.reshape(-1) for sound in sounds[: len(ends)]]


def _numpy_or_name(dtype: Any) -> Any:
    return dtype if dtype == "bfloat16" else np.dtype(dtype)


def grid_of(frames: int, height: int, width: int, plan: Layout, name: str) -> tuple[int, int, int]:
    """Patches of an image or video along time, height and width; `name` is for the error."""
    unit = plan.unit
    if height % unit or width % unit:
        near = " or ".join(
            f"{max(unit, height // unit * unit + a)} x {max(unit, width // unit * unit + b)}"
            for a, b in ((0, 0), (unit, unit))
        )
        raise ValueError(
            f"{name}: got {height} x {width} pixels, takes multiples of {unit}: {near}, say"
        )
    return -(-frames // plan.frames), height // plan.patch, width // plan.patch


def _output(out: Any, pixels: list[Pixels], kind: str, shape: tuple[int, int]) -> Any:
    if out is not None:
        _check_out(out, pixels, kind, shape)
        return out
    if kind == "bfloat16" or (pixels and is_tensor(pixels[0].data)):
        import torch

        return empty_tensor(torch.empty(0, dtype=getattr(torch, kind)), shape)
    return empty_array(kind, shape)


def _check_out(out: Any, pixels: list[Pixels], kind: str, shape: tuple[int, int]) -> None:
    """Refuse an `out` that is no contiguous memory for the values, where the images lie."""
    if not (is_tensor(out) or isinstance(out, np.ndarray)):
        raise TypeError(f"out: got {type(out).__name__}, takes an array or a tensor")
    if tuple(out.shape) != shape or dtype_name(out.dtype) != kind:
        raise ValueError(
            f"out: got {dtype_name(out.dtype)} of shape {tuple(out.shape)}, takes {kind} of"
            f" shape {shape}"
        )
    on_device = [p.data.device for p in pixels if is_tensor(p.data) and not p.data.is_cpu]
    if on_device:
        if not is_tensor(out) or out.device != on_device[0] or not out.is_contiguous():
            raise ValueError(f"out: takes a contiguous tensor on {on_device[0]}, as the images")
        (begin, end), others = bounds(out), [bounds(p.data) for p in pixels]
        if any(begin < last and first < end for first, last in others):
            raise ValueError("out: shares memory with images, takes a tensor apart from them")
    else:
        flat = out.is_contiguous() and out.is_cpu if is_tensor(out) else out.flags.c_contiguous
        if not flat or (isinstance(out, np.ndarray) and not out.flags.writeable):
            raise ValueError("out: takes a contiguous writable array, or such a tensor on the CPU")
    for item in pixels:
        check_apart(out, item.data, "images")


def _check_bytes(pixels: list[Pixels], scaling: Scaling) -> None:
    """Refuse uint8 values where they would lose something."""
    if not scaling.plain:
        raise ValueError("dtype: uint8 loses what scale and shift give, takes scale=1, shift=0")
    if any(p.dtype == "float32" for p in pixels):
        raise ValueError("dtype: uint8 loses the fractions of float32 images, takes a float type")


def _needs_torch(image: Any) -> bool:
    """Whether an image is out of the kernel's reach, or needs a gradient."""
    if not is_tensor(image):
        return False
    import torch

    return not image.is_cpu or (image.requires_grad and torch.is_grad_enabled())


def _by_torch(
    pixels: list[Pixels],
    grids: NDArray[np.int64],
    plan: Layout,
    scaling: Scaling,
    kind: str,
    out: Any,
) -> Any:
    import torch

    from tokfrag.stream import device
    from tokfrag.stream.composed import composed

    devices = {str(p.data.device) if is_tensor(p.data) else "an array" for p in pixels}
    if len(devices) > 1:
        raise ValueError(f"images: lie on {', '.join(sorted(devices))}, takes one device")
    if device.suits(pixels, grids, plan):
        shape = (int(grids.prod(1).sum()), plan.patch_values)
        if out is None:
            like = torch.empty(0, dtype=getattr(torch, kind), device=pixels[0].data.device)
            out = empty_tensor(like, shape)
        else:
            _check_out(out, pixels, kind, shape)
        device.fill(out, pixels, grids, plan, scaling)
        return out
    if out is not None:
        raise ValueError(
            "out: takes none for tensors that require a gradient, nor where no kernel of ours runs"
        )
    return composed(pixels, grids, plan, scaling, getattr(torch, kind))


def _fill(
    values: Any,
    pixels: list[Pixels],
    grids: NDArray[np.int64],
    plan: Layout,
    scaling: Scaling,
    threads: int,
) -> None:
    """Run the kernel, one call a run of images of one type."""
    out = values.data_ptr() if is_tensor(values) else values.ctypes.data
    sizes = (plan.frames, plan.patch, plan.patch, plan.channels, plan.merge)
    kind = dtype_name(values.dtype)
    formula, table = scaling.formula, scaling.table(kind)
    if kind == "uint8" or not computes_exactly(scaling):
        formula = "table"
    scale, shift = scaling.numbers()
    for dtype, items in runs(pixels, grids):
        _native.patchify(
            dtype_code(np.dtype(dtype)),
            dtype_code(values.dtype),
            items,
            sizes,
            plan.steps,
            FORMULAS.index(formula if dtype == "uint8" else scaling.formula),
            table.ctypes.data,
            scale.ctypes.data,
            shift.ctypes.data,
            out,
            threads,
        )
        out += sum(t * h * w for *_, t, h, w in items) * plan.patch_values * values.itemsize


def _bounds(grids: NDArray[np.int64], plan: Layout) -> NDArray[np.int32]:
    if plan.segment == "frame":
        lengths = np.repeat(grids[:, 1] * grids[:, 2], grids[:, 0])
    else:
        lengths = grids.prod(1)
    bounds = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=bounds[1:])
    return bounds


def _positions(grids: NDArray[np.int64], merge: int) -> NDArray[np.int64]:
    parts = [np.empty((0, 3), np.int64)]
    for t, h, w in grids.tolist():
        places = np.stack(np.meshgrid(*map(np.arange, (t, h, w)), indexing="ij"), -1)
        grouped = places.reshape(t, h // merge, merge, w // merge, merge, 3)
        parts.append(grouped.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 3))
    return np.concatenate(parts)
