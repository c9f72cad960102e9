"""What an OME-Zarr group says of its image: axes, levels, scales; versions 0.4 and 0.5."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ImageMetadata:
    """The attributes of a group with `multiscales`.

    Attributes
    ----------
    attributes
        Of the group, as they are.
    """

    attributes: Mapping[str, Any]

    @classmethod
    def read(cls, attributes: Mapping[str, Any], path: str, name: str) -> ImageMetadata:
        """The metadata of a group; ValueError names what is wrong with it."""
        image = cls(attributes)
        try:
            first = image.multiscale
            paths = [dataset["path"] for dataset in first["datasets"]]
            axes = image.axis_types
        except (KeyError, IndexError, TypeError):
            raise ValueError(
                f"{name}: {path}: a group without `multiscales` of OME-Zarr 0.4 or 0.5; takes an"
                " array or such a group"
            ) from None
        for inner in paths:
            if not isinstance(inner, str) or inner.startswith("/") or ".." in inner.split("/"):
                raise ValueError(f"{name}: {path}: got the dataset path {inner!r}, takes one in it")
        if not paths or not axes:
            raise ValueError(f"{name}: {path}: got {len(paths)} datasets and {len(axes)} axes")
        return image

    @property
    def multiscale(self) -> Mapping[str, Any]:
        """The first of its pyramids."""
        own: Mapping[str, Any] = self.attributes.get("ome", self.attributes)
        first: Mapping[str, Any] = own["multiscales"][0]
        return first

    @property
    def axis_types(self) -> tuple[str, ...]:
        """``"time"``, ``"channel"`` or ``"space"`` for each axis; names where there are none."""
        return tuple(str(axis.get("type", axis["name"])) for axis in self.multiscale["axes"])

    @property
    def levels(self) -> int:
        """How many arrays there are, the finest first."""
        return len(self.multiscale["datasets"])

    def level_path(self, level: int, name: str) -> str:
        """Where the array of a level is in the group."""
        if not 0 <= level < self.levels:
            raise ValueError(f"level: got {level}, takes 0 to {self.levels - 1} of {name}")
        path: str = self.multiscale["datasets"][level]["path"]
        return path

    def written(
        self, level: int, scale: tuple[float, ...], *, before: bool, after: bool
    ) -> dict[str, Any]:
        """The attributes of an image made from a level of this one.

        `scale`: how much coarser it is in space and time. `before`, `after`: whether this and that
        have a channel axis. Levels are those from `level` on; all that is said of channels goes
        where these are others.
        """
        attributes: dict[str, Any] = copy.deepcopy(dict(self.attributes))
        own = attributes.get("ome", attributes)
        own.pop("omero", None)
        made = own["multiscales"][0]
        own["multiscales"] = [made]
        made["datasets"] = made["datasets"][level:]
        rank, at = len(scale), len(made["axes"]) - len(scale)
        for dataset in made["datasets"]:
            for transform in dataset.get("coordinateTransformations", []):
                values = transform.get(transform["type"])
                if transform["type"] == "scale" and isinstance(values, list):
                    values[at:] = [a * b for a, b in zip(values[-rank:], scale, strict=True)]
        if before != after:
            if after:
                made["axes"].insert(at, {"name": "c", "type": "channel"})
            else:
                del made["axes"][at - 1]
            for transform in _transforms(made):
                values = transform.get(transform["type"])
                if isinstance(values, list) and after:
                    values.insert(at, 1.0 if transform["type"] == "scale" else 0.0)
                elif isinstance(values, list):
                    del values[at - 1]
        return attributes


def _transforms(multiscale: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All of its transforms."""
    holders = [multiscale, *multiscale["datasets"]]
    return [each for holder in holders for each in holder.get("coordinateTransformations", [])]


__all__ = ["ImageMetadata"]
