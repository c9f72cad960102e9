"""Native batches of fragments, cut and merged as they come. 0 stands for no array."""

import numpy as np
from numpy.typing import NDArray

from tokfrag._core.fragments import GridPlan

def window_places(plan: GridPlan, numbers: NDArray[np.int64]) -> NDArray[np.int64]: ...
def cut_at(
    data: int,
    item: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    size: tuple[int, ...],
    dilation: tuple[int, ...],
    places: NDArray[np.int64],
    out: int,
    threads: int,
) -> None: ...

class Slab:
    def __init__(self, sums: int, wide: bool, channels: int, lengths: tuple[int, ...]) -> None: ...
    def add(
        self,
        dtype: int,
        fragments: int,
        item: int,
        strides: tuple[int, ...],
        size: tuple[int, ...],
        dilation: tuple[int, ...],
        origins: NDArray[np.int64],
        vectors: tuple[int, ...],
        variants: NDArray[np.int64],
        whole: int,
        keep_max: bool,
        threads: int,
    ) -> None: ...
    def emit(
        self,
        dtype: int,
        out: int,
        item: int,
        strides: tuple[int, ...],
        first: int,
        lengths: tuple[int, ...],
        factors: tuple[int, ...],
        divisors: int,
        divisor_rows: tuple[int, ...],
        keep_max: bool,
        threads: int,
    ) -> None: ...
