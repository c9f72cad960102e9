"""How models want their patches: one small table a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Layout:
    """The order and the scale of a model's patches.

    Patches of an item come by time; inside a time in groups of ``merge`` x ``merge`` neighbours,
    groups and patches of a group row by row. Values inside a patch come in the order of ``axes``.

    Parameters
    ----------
    patch : int
        Rows and columns of a patch, pixels.
    frames : int
        Frames of a patch; images, and a video's last frame, are doubled to fill it.
    merge : int
        Side of a group of patches.
    axes : str
        A permutation of ``"ctyx"`` (channel, frame, row, column): the last one is contiguous.
    mean, std : tuple of floats
        Of the values as shares of 255, a channel each.
    formula : "stepwise" or "fused"
        How values are normalised where no scale and shift are given, as floats of 32 bits:
        ``(v / 255 - mean) / std``, as image processors on NumPy do it, or
        ``(v - 255 mean) / (255 std)``, as those on torchvision do. They differ in the last place.
    segment : "frame" or "item"
        ``cu_seqlens`` bounds the patches of one time, or of one image or video.

    Examples
    --------
    A layout of one's own, with patches of 8 x 8 and channels last:

    >>> Layout(patch=8, axes="tyxc").patch_values
    192
    """

    patch: int
    frames: int = 1
    merge: int = 1
    axes: str = "ctyx"
    mean: tuple[float, ...] = _HALF[0]
    std: tuple[float, ...] = _HALF[1]
    formula: Literal["stepwise", "fused"] = "stepwise"
    segment: Literal["frame", "item"] = "frame"

    def __post_init__(self) -> None:
        for name in ("patch", "frames", "merge"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, takes 1 or more")
        if sorted(self.axes) != sorted("ctyx"):
            raise ValueError(f"axes: got {self.axes!r}, takes a permutation of 'ctyx'")
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean, std: got {self.mean} and {self.std}, takes one a channel")
        if self.formula not in ("stepwise", "fused"):
            raise ValueError(f"formula: got {self.formula!r}, takes 'stepwise' or 'fused'")
        if self.segment not in ("frame", "item"):
            raise ValueError(f"segment: got {self.segment!r}, takes 'frame' or 'item'")

    @property
    def channels(self) -> int:
        """How many channels a pixel has."""
        return len(self.mean)

    @property
    def unit(self) -> int:
        """Pixels that the height and the width of an image must be multiples of."""
        return self.patch * self.merge

    @property
    def patch_values(self) -> int:
        """How many values a patch has."""
        return self.channels * self.frames * self.patch**2

    @property
    def steps(self) -> tuple[int, int, int, int]:
        """Values from one frame, row, column and channel of a patch to the next."""
        extent = {"c": self.channels, "t": self.frames, "y": self.patch, "x": self.patch}
        step, steps = 1, {}
        for axis in reversed(self.axes):
            steps[axis] = step
            step *= extent[axis]
        return steps["t"], steps["y"], steps["x"], steps["c"]


def _layout(patch: int, scale: tuple[tuple[float, ...], ...], **options: object) -> Layout:
    return Layout(patch, mean=scale[0], std=scale[1], **options)  # type: ignore[arg-type]


#: Sources: the image and video processors of transformers 5 and, for the order inside a patch, the
#: weight of the convolution that embeds it. InternVL and Llama-4 cut an image into tiles, which
#: are patches as large as a tile: ``values.reshape(-1, 3, patch, patch)`` is their pixel_values.
LAYOUTS: dict[str, Layout] = {
    "clip": _layout(14, _CLIP),
    "internvl": _layout(448, _IMAGENET),
    "llama4": _layout(336, _HALF),
    "navit": _layout(16, _HALF),
    "pixtral": _layout(16, _CLIP),
    "qwen2_5_vl": _layout(14, _CLIP, frames=2, merge=2),
    "qwen2_vl": _layout(14, _CLIP, frames=2, merge=2),
    "qwen3_vl": _layout(16, _HALF, frames=2, merge=2),
    "siglip2": _layout(16, _HALF, axes="tyxc"),
    "videomae": _layout(16, _IMAGENET, frames=2, segment="item"),
    "vit": _layout(16, _HALF),
}


#: Whisper's frames of sound: 25 ms every 10 ms at 16 kHz (see :mod:`tokfrag.stream.audio`).
WHISPER = Layout(1, frames=400, mean=(0.0,), std=(1.0,), segment="item")
WHISPER_HOP = 160


def layout_of(layout: str | Layout) -> Layout:
    """Find a layout by its name; a :class:`Layout` is its own.

    Raises
    ------
    ValueError
        No layout has that name; lists those there are.
    """
    if isinstance(layout, Layout):
        return layout
    if layout == "whisper":
        return WHISPER
    if layout not in LAYOUTS:
        names = ", ".join(map(repr, [*LAYOUTS, "whisper"]))
        raise ValueError(f"layout: got {layout!r}, takes {names} or a Layout")
    return LAYOUTS[layout]
