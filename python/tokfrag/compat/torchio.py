"""Stand-ins for TorchIO's dense inference, on tokfrag's grids; TorchIO itself is not needed.

>>> import torch
>>> from tokfrag.compat.torchio import GridAggregator, GridSampler
>>> sampler = GridSampler(torch.ones(1, 6, 6, 6), patch_size=4, patch_overlap=2)
>>> aggregator = GridAggregator(sampler, overlap_mode="average")
>>> for batch in torch.utils.data.DataLoader(sampler, batch_size=3):
...     aggregator.add_batch(2 * batch["image"]["data"], batch["location"])
>>> aggregator.get_output_tensor().unique().tolist()
[2.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokfrag._locks import fork_safe_lock
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.selection import window_numbers
from tokfrag.fragments.streams.merger import FragmentMerger

OverlapMode: TypeAlias = Literal["crop", "average", "hann"]

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


class GridSampler(torch.utils.data.Dataset[dict[str, Any]]):
    """``torchio.GridSampler``: the patches of a subject that cover it, with where they lie.

    A patch is a dictionary of the subject's images, ``{name: {"data": (channels, *patch)}}``, what
    else the subject holds, and ``"location"``: six integers, first positions and ends.

    Parameters
    ----------
    subject : tensor, or mapping of names to images
        Images are ``(channels, width, height, depth)`` tensors or arrays, or objects whose `data`
        is one, as TorchIO's are; all of the same space. A tensor alone is named ``"image"``.
    patch_size, patch_overlap : int or three
        Overlaps are even and smaller than the patch; the last patch of an axis is moved back.
    padding_mode : optional
        Pad by half the overlap, as ``numpy.pad`` names it: ``"constant"``, ``"reflect"``,
        ``"edge"``, ``"wrap"``; or a number to pad with. The aggregator crops it.

    Raises
    ------
    ValueError, TypeError
        An argument that does not fit; the message names it.
    """

    def __init__(
        self,
        subject: Any,
        patch_size: int | Sequence[int],
        patch_overlap: int | Sequence[int] = 0,
        padding_mode: str | float | None = None,
    ) -> None:
        held = dict(subject) if isinstance(subject, Mapping) else {"image": subject}
        self._images = {
            name: image
            for name, value in held.items()
            if (image := _image(value, not isinstance(subject, Mapping))) is not None
        }
        self._others = {name: held[name] for name in held if name not in self._images}
        if not self._images:
            raise ValueError("subject: got no image, takes at least one of four axes")
        shapes = {tuple(image.shape[1:]) for image in self._images.values()}
        if len(shapes) > 1:
            raise ValueError(f"subject: got images of {sorted(shapes)}, takes one shape")
        self.patch_size, self.patch_overlap = _three(patch_size), _three(patch_overlap)
        for size, overlap in zip(self.patch_size, self.patch_overlap, strict=True):
            if not 0 <= overlap < size or overlap % 2:
                raise ValueError(
                    f"patch_overlap: got {self.patch_overlap}, takes even numbers below the patch "
                    f"size, {self.patch_size}"
                )
        self.padding_mode = padding_mode
        border = tuple(overlap // 2 for overlap in self.patch_overlap)
        if padding_mode is not None:
            self._images = {
                name: _padded(image, border, padding_mode) for name, image in self._images.items()
            }
        shape = tuple(next(iter(self._images.values())).shape[1:])
        strides = [w - o for w, o in zip(self.patch_size, self.patch_overlap, strict=True)]
        #: Where the patches lie, in the padded space.
        self.grid = FragmentGrid(shape, self.patch_size, strides, edge="shift")
        ends = self.grid.origins + np.array(self.patch_size)
        self.locations: NDArray[np.int64] = np.concatenate([self.grid.origins, ends], 1)

    def __len__(self) -> int:
        return self.grid.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The patch of a window, with its location."""
        location = self.locations[index]
        place = (slice(None), *map(slice, location[:3].tolist(), location[3:].tolist()))
        patch: dict[str, Any] = {
            name: {"data": image[place].clone()} for name, image in self._images.items()
        }
        return {**self._others, **patch, "location": torch.from_numpy(location.copy())}


class GridAggregator:
    """``torchio.GridAggregator``: patches of predictions, in any order, put together.

    A patch that never came is an error that names it, and so is one that came twice.

    Parameters
    ----------
    sampler : GridSampler
    overlap_mode : {"crop", "average", "hann"}
        ``"crop"`` leaves out half the overlap at each border of a patch but not at the volume's;
        where the last patches still overlap, the one that lies further back holds. ``"average"``
        and ``"hann"`` are (weighted) means; integers, which may be labels, they do not take.

    Raises
    ------
    ValueError, TypeError
        An argument, a location or a patch that does not fit; the message names it.

    Examples
    --------
    >>> sampler = GridSampler(torch.arange(8.0).reshape(1, 8, 1, 1), (4, 1, 1), (2, 0, 0))
    >>> aggregator = GridAggregator(sampler)
    >>> for patch in sampler:
    ...     aggregator.add_batch(patch["image"]["data"][None], patch["location"][None])
    >>> aggregator.get_output_tensor().flatten().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """

    def __init__(self, sampler: GridSampler, overlap_mode: OverlapMode = "crop") -> None:
        if overlap_mode not in ("crop", "average", "hann"):
            raise ValueError(
                f"overlap_mode: got {overlap_mode!r}, takes 'crop', 'average' or 'hann'"
            )
        self._sampler, self._mode = sampler, overlap_mode
        self._merger: FragmentMerger | _Crops | None = None

    def add_batch(self, batch_tensor: Tensor, locations: Tensor) -> None:
        """Take in some patches.

        Parameters
        ----------
        batch_tensor : (count, channels, *patch) tensor
            Of the sampler's patch size.
        locations : (count, 6) tensor of integers
            First positions and ends, as the sampler gives them.

        Raises
        ------
        ValueError
            A shape that does not fit; a location that is not the sampler's, or that came before.
        TypeError
            Integers under ``"average"`` or ``"hann"``.
        """
        if batch_tensor.ndim != 5 or tuple(batch_tensor.shape[2:]) != self._sampler.patch_size:
            raise ValueError(
                f"batch_tensor: got shape {tuple(batch_tensor.shape)}, takes (count, channels) + "
                f"{self._sampler.patch_size}"
            )
        if self._merger is None:
            self._merger = self._made(batch_tensor)
        which = self._windows(torch.as_tensor(locations).cpu().numpy())
        self._merger.add(batch_tensor.detach().cpu(), which)

    def get_output_tensor(self) -> Tensor:
        """The whole, put together; padding of the sampler is cropped.

        Returns
        -------
        (channels, width, height, depth) tensor
            On the CPU.

        Raises
        ------
        ValueError
            Patches are missing.
        """
        if self._merger is None:
            raise ValueError(f"locations: none of {self._sampler.grid.n} patches was added")
        output: Tensor = self._merger.result()[0]
        if self._sampler.padding_mode is not None:
            border = [overlap // 2 for overlap in self._sampler.patch_overlap]
            crop = (slice(b, n - b) for b, n in zip(border, output.shape[1:], strict=True))
            inside = (slice(None), *crop)
            output = output[inside]
        return output

    def _made(self, batch: Tensor) -> FragmentMerger | _Crops:
        if self._mode == "crop":
            return _Crops(self._sampler, batch)
        if not batch.is_floating_point():
            raise TypeError(
                f"batch_tensor: got {batch.dtype}, which may be labels; takes floats, or "
                "overlap_mode='crop'"
            )
        return FragmentMerger(
            self._sampler.grid,
            channels=batch.shape[1],
            dtype=batch.dtype,
            window="hann" if self._mode == "hann" else "uniform",
        )

    def _windows(self, locations: NDArray[Any]) -> NDArray[np.int64]:
        """The numbers of the windows at these locations."""
        grid = self._sampler.grid
        if locations.ndim != 2 or locations.shape[1] != 6:
            raise ValueError(f"locations: got shape {locations.shape}, takes (count, 6)")
        at = []
        for axis, starts in enumerate(grid.starts):
            found = np.searchsorted(starts, locations[:, axis]).clip(max=len(starts) - 1)
            wrong = starts[found] != locations[:, axis]
            if wrong.any():
                place = locations[wrong][0].tolist()
                raise ValueError(f"locations: got {place}, takes locations of the sampler")
            at.append(found)
        return np.ravel_multi_index(tuple(at), grid.counts).astype(np.int64)


class _Crops:
    """Patches put side by side: each position is one window's own, whatever the order."""

    def __init__(self, sampler: GridSampler, like: Tensor) -> None:
        self._grid = sampler.grid
        halves = [overlap // 2 for overlap in sampler.patch_overlap]
        #: The part of an axis that each of its windows writes: first positions and ends.
        self._parts = []
        for starts, half, length in zip(self._grid.starts, halves, self._grid.shape, strict=True):
            begins = np.where(np.arange(len(starts)) > 0, starts + half, 0)
            self._parts.append((begins, np.append(begins[1:], length)))
        self._output = like.new_zeros((1, like.shape[1], *self._grid.shape), device="cpu")
        self._added = np.zeros(self._grid.n, np.bool_)
        self._lock = fork_safe_lock()

    def add(self, patches: Tensor, which: NDArray[np.int64]) -> None:
        """Write the windows' own parts."""
        with self._lock:
            numbers = window_numbers(which, self._grid.n, "locations")
            if self._added[numbers].any():
                again = numbers[self._added[numbers]][0]
                raise ValueError(f"locations: window {again} was added before, takes each once")
            for patch, window in zip(patches, numbers, strict=True):
                at = np.unravel_index(window, self._grid.counts)
                target: list[Any] = [0, slice(None)]
                source = [slice(None)]
                for axis, i in enumerate(at):
                    begins, ends = self._parts[axis]
                    start = int(self._grid.starts[axis][i])
                    own = slice(int(begins[i]), int(ends[i]))
                    target.append(own)
                    source.append(slice(own.start - start, own.stop - start))
                self._output[tuple(target)] = patch[tuple(source)]
            self._added[numbers] = True

    def result(self) -> Tensor:
        """The whole, ``(1, channels, *space)``; raises ValueError if a window is missing."""
        with self._lock:
            lost = np.flatnonzero(~self._added)
            if len(lost):
                raise ValueError(
                    f"result: {len(lost)} of {self._grid.n} windows were never added: "
                    + ", ".join(map(str, lost[:8]))
                )
            return self._output.clone()


def _image(value: Any, alone: bool) -> Tensor | None:
    """The tensor of an image; None for what is none."""
    data = getattr(value, "data", None)
    if isinstance(value, (Tensor, np.ndarray)):
        data = value
    if isinstance(data, np.ndarray):
        data = torch.from_numpy(data)
    if isinstance(data, Tensor) and data.ndim == 4:
        return data
    if alone:
        raise TypeError(f"subject: got {type(value).__name__}, takes (channels, w, h, d) or images")
    return None


def _three(value: int | Sequence[int]) -> tuple[int, int, int]:
    numbers = tuple(value) if isinstance(value, Sequence) else (value,) * 3
    if len(numbers) != 3:
        raise ValueError(f"patch_size, patch_overlap: got {value}, takes one integer or three")
    first, second, third = map(int, numbers)
    return first, second, third


def _padded(image: Tensor, border: tuple[int, ...], mode: str | float) -> Tensor:
    name = mode if isinstance(mode, str) else "constant"
    if name not in _MODES:
        raise ValueError(f"padding_mode: got {mode!r}, takes a number or one of {list(_MODES)}")
    lengths = tuple(image.shape[1:])
    grid = FragmentGrid(
        lengths,
        tuple(n + 2 * b for n, b in zip(lengths, border, strict=True)),
        padding=tuple((b, b) for b in border),
        pad_mode=_MODES[name],  # type: ignore[arg-type]
        pad_value=0 if isinstance(mode, str) else mode,
    )
    return extract(image[None], grid)[0, 0]
