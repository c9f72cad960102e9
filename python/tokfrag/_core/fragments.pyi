"""Native fragment kernels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def empty_bytes(count: int) -> NDArray[np.uint8]: ...
def release_workspace() -> int: ...

class GridPlan:
    def __init__(
        self,
        shape: Sequence[int],
        size: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        edge: int,
        pad_mode: int,
    ) -> None: ...
    def extract(
        self,
        x: NDArray[Any],
        channels_last: bool,
        pad: bytes,
        out: NDArray[Any] | None,
        threads: int,
        /,
    ) -> NDArray[Any] | None: ...
    def extract_at(
        self,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        item: int,
        channels_last: bool,
        pad: bytes,
        out: int,
        threads: int,
        /,
    ) -> None: ...

def extract_converted(
    plan: GridPlan,
    address: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    type: int,
    item: int,
    out_type: int,
    out_item: int,
    channels_last: bool,
    pad: bytes,
    scale: list[float],
    shift: list[float],
    out: int,
    threads: int,
) -> None:
    """Cuts and converts the array at an address; strides in bytes, multiples of the item."""

class WindowPlan:
    def __init__(
        self,
        plan: GridPlan,
        reduce: int,
        vectors: list[NDArray[np.float64] | None],
        whole: NDArray[np.float64] | None,
        per_fragment: bool,
    ) -> None: ...
    def part(
        self, first: tuple[int, ...], counts: tuple[int, ...], begin: tuple[int, ...]
    ) -> WindowPlan: ...
    def merge(
        self,
        fragments: NDArray[Any],
        dtype: int,
        channels_last: bool,
        fill: bytes,
        out: NDArray[Any] | None,
        threads: int,
        /,
    ) -> NDArray[Any] | None: ...
    def merge_at(
        self,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: int,
        item: int,
        channels_last: bool,
        fill: bytes,
        out: int,
        threads: int,
        /,
    ) -> None: ...
    def extract(
        self,
        x: NDArray[Any],
        dtype: int,
        channels_last: bool,
        threads: int,
    ) -> NDArray[Any]: ...
    def extract_at(
        self,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: int,
        item: int,
        channels_last: bool,
        out: int,
        threads: int,
    ) -> None: ...
