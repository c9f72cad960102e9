"""The native feature kernel: addresses, and strides in bytes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def fragment_features(
    type: int,
    out_type: int,
    x: int,
    batch: int,
    channels: int,
    batch_stride: int,
    channel_stride: int,
    axes: Sequence[tuple[int, int, int, int, NDArray[np.int64]]],
    time_axis: int,
    pad_mode: int,
    pad_value: float,
    columns: Sequence[int],
    lags: Sequence[int],
    out: int,
    threads: int,
) -> None: ...
def window_numbers(
    type: int,
    x: int,
    batch: int,
    channels: int,
    batch_stride: int,
    channel_stride: int,
    axis: tuple[int, int, int, int, NDArray[np.int64]],
    pad_mode: int,
    pad_value: float,
    columns: Sequence[tuple[int, float, int, int]],
    out: int,
    threads: int,
) -> None: ...
