"""What is known of a volume before any block is done: the source, the grid, a first output."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from types import MethodType
from typing import Any, Literal

import numpy as np

from tokfrag import _arrays
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.planning.plan import Candidate, FragmentPlan
from tokfrag.fragments.streams.results import checked_halo, refuse_labels
from tokfrag.fragments.streams.sliding import Call, Feeder
from tokfrag.fragments.streams.stitching import Part, lost_positions
from tokfrag.fragments.windows import ALL_REDUCES, Window
from tokfrag.scale.volume_arrays import Layout, image_of, is_npy, open_volume
from tokfrag.scale.volume_blocks import HeldVolume, Merging
from tokfrag.scale.volume_handing import OutputKind
from tokfrag.scale.volume_images import ImageMetadata


@dataclass(frozen=True)
class Source:
    """A volume that is read.

    Attributes
    ----------
    path, level, shape, dtype, layout
        Of the array.
    image
        What the group says; None for a plain array.
    units
        The chunks and the shards of a zarr array.
    zarr_format
        2 or 3; 3 for what is no zarr.
    identity
        What tells it from others.
    """

    path: str
    level: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    layout: Layout
    image: ImageMetadata | None
    units: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    zarr_format: Literal[2, 3]
    identity: dict[str, Any]


def checked_source(path: str, level: int, grid: FragmentGrid) -> Source:
    """The source; ValueError if the grid is not over its axes."""
    image = image_of(path)
    if image is None and level:
        raise ValueError(f"level: got {level} for an array, takes 0")
    array = open_volume(path, level)
    layout = Layout.of(len(array.shape), len(grid.shape), image)
    shape = tuple(array.shape)
    if layout.split(shape)[2] != grid.shape:
        raise ValueError(f"src: got shape {shape}, takes {grid.shape}, the grid's, at its end")
    if not prod(shape):
        raise ValueError(f"src: got shape {shape}, takes one with positions")
    identity: dict[str, Any] = {"path": path, "level": level, "shape": list(shape)}
    identity["dtype"] = np.dtype(array.dtype).str
    chunks = shards = None
    zarr_format: Literal[2, 3] = 3
    if is_npy(path):
        facts = Path(path).stat()
        identity["stamp"] = [facts.st_size, facts.st_mtime_ns]
    else:
        chunks, shards = tuple(array.chunks), getattr(array, "shards", None)
        zarr_format = array.metadata.zarr_format
    return Source(
        path,
        level,
        shape,
        np.dtype(array.dtype),
        layout,
        image,
        (chunks, None if shards is None else tuple(shards)),
        zarr_format,
        identity,
    )


def grid_of(
    grid: FragmentGrid | FragmentPlan | Candidate, batch_size: int | None, halo: Any
) -> tuple[FragmentGrid, int, Any]:
    """The grid, the batch and the halo, of a plan where they are not given."""
    if isinstance(grid, FragmentPlan):
        grid = grid.best
    if isinstance(grid, Candidate):
        batch_size = grid.batch if batch_size is None else batch_size
        halo = grid.halo if halo is None else halo
        grid = grid.grid
    if not isinstance(grid, FragmentGrid):
        raise TypeError(f"grid: got {type(grid).__name__}, takes a FragmentGrid or a plan")
    if grid.inner is not None:
        raise ValueError(f"grid: got {grid}, takes one without offset and padding")
    batch = 1 if batch_size is None else batch_size
    if batch < 1:
        raise ValueError(f"batch_size: got {batch}, takes 1 or more")
    return grid, batch, checked_halo(0 if halo is None else halo, len(grid.shape))


@dataclass(frozen=True)
class Probe:
    """What the model makes of the first fragment.

    Attributes
    ----------
    merging
        How outputs become the result.
    output
        What the outputs are.
    result_channels, dtype
        Of the result.
    """

    merging: Merging
    output: OutputKind
    result_channels: int
    dtype: np.dtype[Any]

    @property
    def channels(self) -> int:
        """Of an output."""
        return self.output.channels

    @classmethod
    def of(cls, model: Callable[..., Any], source: Source, grid: FragmentGrid, call: Call) -> Probe:
        """Run the model once, in this process."""
        reduce = call.reduce
        if reduce is not None and reduce not in ALL_REDUCES:
            raise ValueError(f"reduce: got {reduce!r}, takes {', '.join(map(repr, ALL_REDUCES))}")
        corner = tuple(slice(0, 1) for _ in grid.shape)
        array = open_volume(source.path, source.level)
        held = HeldVolume(array, source.layout, 0, grid, corner)
        feeder = Feeder(model, held, grid, call._replace(chosen=np.zeros(1, np.int64)))
        with feeder.no_gradients():
            output = feeder.outputs(model, 0, 1)
        shape = tuple(getattr(output, "shape", ()))
        if isinstance(output, (tuple, list, Mapping)) or len(shape) != 2 + len(grid.shape):
            got = f"an output of shape {shape}" if shape else type(output).__name__
            takes = "one output of (count, channels, *size)"
            raise ValueError(f"model: got {got}, takes {takes}")
        size = shape[2:]
        if size != grid.size and set(size) == {1}:
            raise ValueError(f"model: got outputs of size {size}, takes several positions a window")
        if reduce is None:
            refuse_labels(output.dtype, held)
            reduce = "mean"
        merging = Merging.of(grid, size, call.window, reduce, call.halo)
        check_whole(merging)
        # An argument that does not fit is named before any block is done.
        merging.stitcher(Part(merging.outputs, corner, corner), _on_host(output)[:, :1])
        return cls(merging, OutputKind.of(output), *_result_kind(output, call.reduce_slab, reduce))


def check_whole(merging: Merging) -> None:
    """Raise ValueError where a halo leaves positions of the whole without a result."""
    if merging.halo is None:
        return
    lost = lost_positions(merging.outputs, merging.halo)
    if lost:
        raise ValueError(
            f"halo: got {merging.halo}, which leaves {lost} of {prod(merging.outputs.shape)}"
            f" positions without a result for {merging.outputs}"
        )


def _on_host(output: Any) -> Any:
    return output.detach().cpu() if _arrays.is_tensor(output) else output


def _result_kind(output: Any, reduce_slab: Any, reduce: str) -> tuple[int, np.dtype[Any]]:
    """The channels and the type of a result, as ``map_fragments`` has them."""
    name = _arrays.dtype_name(output.dtype)
    if reduce_slab is None:
        exact = reduce == "vote" or ("float" in name and name != "bfloat16")
        return int(output.shape[1]), np.dtype(name if exact else "float32")
    wide = np.float64 if name == "float64" else np.float32
    slab: Any = np.zeros((1, *output.shape[1:]), wide if reduce != "vote" else np.dtype(name))
    if _arrays.is_tensor(output):
        import torch

        slab = torch.from_numpy(slab)
    made = reduce_slab(slab)
    if len(made.shape) != len(slab.shape) or tuple(made.shape[2:]) != tuple(slab.shape[2:]):
        raise ValueError(f"reduce_slab: got shape {tuple(made.shape)} back, takes its positions")
    return int(made.shape[1]), np.dtype(_arrays.dtype_name(made.dtype))


def model_name(model: Any) -> str:
    """What a model or a function is called; of an ``nn.Module``, with a hash of its state."""
    if model is None:
        return ""
    if isinstance(model, partial):
        given = [_value_name(value) for value in model.args]
        given += [f"{key}={_value_name(value)}" for key, value in sorted(model.keywords.items())]
        return f"{model_name(model.func)}({', '.join(given)})"
    if isinstance(model, MethodType):
        return f"{model.__func__.__qualname__} of {model_name(model.__self__)}"
    state = getattr(model, "state_dict", None)
    kind = model if hasattr(model, "__qualname__") else type(model)
    name = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', repr(kind))}"
    if state is None:
        return name
    digest = hashlib.sha256()
    for key, value in state().items():
        digest.update(f"{key} {getattr(value, 'dtype', '')} {getattr(value, 'shape', '')}".encode())
        if _arrays.is_tensor(value):
            digest.update(_tensor_bytes(value))
        else:
            digest.update(repr(value).encode())
    return f"{name} {digest.hexdigest()}"


def _tensor_bytes(tensor: Any) -> bytes:
    import torch

    raw: bytes = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return raw


def _value_name(value: Any) -> str:
    """What is given to a function, as the same of another process is called."""
    if _arrays.is_tensor(value) or isinstance(value, np.ndarray):
        raw = _tensor_bytes(value) if _arrays.is_tensor(value) else value.tobytes()
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(raw).hexdigest()}"
    shown: Any = type(value).__repr__
    if callable(value) or shown is object.__repr__:  # that is of an address
        return model_name(value)
    return repr(value)


def window_name(window: Window) -> str:
    """A window's name, or the hash of its weights."""
    if isinstance(window, str):
        return window
    digest = hashlib.sha256()
    vectors: Sequence[Any] = window if isinstance(window, (list, tuple)) else [window]
    for vector in vectors:
        numbers = np.ascontiguousarray(vector, np.float64)
        digest.update(repr(numbers.shape).encode())
        digest.update(numbers.tobytes())
    return digest.hexdigest()


__all__ = ["Probe", "Source", "checked_source", "grid_of", "model_name", "window_name"]
