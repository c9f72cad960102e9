"""Native packing: a plan of rows, and the rows filled."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_ROW: int

class Packing:
    def __init__(self, offsets: NDArray[np.int64], length: int, method: int, seed: int) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def document(self) -> NDArray[np.int64]: ...
    @property
    def begin(self) -> NDArray[np.int64]: ...
    @property
    def length(self) -> NDArray[np.int64]: ...
    @property
    def row_begin(self) -> NDArray[np.int64]: ...
    def fill(self, values: NDArray[Any], pad: int, out: NDArray[Any], threads: int) -> None: ...
    def places(
        self,
        positions: NDArray[np.int64],
        documents: NDArray[np.int32],
        kept: NDArray[np.bool_],
        threads: int,
    ) -> None: ...

def patchify(
    type: int,
    out_type: int,
    items: list[tuple[int, ...]],
    sizes: tuple[int, int, int, int, int],
    steps: tuple[int, int, int, int],
    formula: int,
    table: int,
    scale: int,
    shift: int,
    out: int,
    threads: int,
) -> None:
    """Patches of images: addresses and strides in bytes; see csrc/stream/patches.hpp.

    `items`: data, strides of frame, row, column and channel, frames, t, h, w. `sizes`: frames of a
    patch, its rows, columns and channels, and the groups' side. `steps`: values from a frame, row,
    column and channel of a patch to the next.
    """
