"""CUDA kernels: device addresses, shapes and strides in; nothing waits, nothing is read back.

There only where tokfrag was built with nvcc. The thread's current device is left as it was;
`stream` is a stream's handle as an integer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class CudaError(RuntimeError): ...

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
    def extract_at(
        self,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        item: int,
        channels_last: bool,
        pad: bytes,
        out: int,
        device: int,
        stream: int,
    ) -> None: ...
    def extract_changed_at(
        self,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: int,
        item: int,
        out_dtype: int,
        channels_last: bool,
        pad: bytes,
        scale: Sequence[float],
        shift: Sequence[float],
        out: int,
        device: int,
        stream: int,
    ) -> None: ...
    def features_at(
        self,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: int,
        item: int,
        time_axis: int,
        pad_value: float,
        columns: Sequence[int],
        lags: Sequence[int],
        out: int,
        device: int,
        stream: int,
    ) -> None: ...

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
    @property
    def tables(self) -> NDArray[np.float64]: ...
    @property
    def pair_tables(self) -> NDArray[np.float64]: ...
    @property
    def pairable(self) -> bool: ...
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
        tables: int,
        pairs: bool,
        device: int,
        stream: int,
    ) -> None: ...
    def extract_at(
        self,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: int,
        item: int,
        channels_last: bool,
        norms: int,
        out: int,
        tables: int,
        device: int,
        stream: int,
    ) -> None: ...

class sparse:  # a submodule
    @staticmethod
    def multiply(
        element: int,
        rows: int,
        columns: int,
        local: int,
        spans: int,
        starts: int,
        origins: int,
        sources: int,
        x: int,
        batch: int,
        values: int,
        bias: int,
        y: int,
        device: int,
        stream: int,
    ) -> None: ...
    @staticmethod
    def sample(
        element: int,
        rows: int,
        columns: int,
        local: int,
        starts: int,
        entry_rows: int,
        fullest: int,
        grad: int,
        batch: int,
        x: int,
        out: int,
        device: int,
        stream: int,
    ) -> None: ...

toolkit_version: int
architectures: str
MOST_CHANGED_CHANNELS: int
MOST_PATCH_CHANNELS: int

def check_device(device: int) -> None: ...
def adds_doubles_slowly(device: int) -> bool: ...
def current_device() -> int: ...
def driver_version() -> int: ...
def patchify(
    type: int,
    out_type: int,
    items: Sequence[tuple[int, ...]],
    sizes: tuple[int, int, int, int, int],
    steps: tuple[int, int, int, int],
    formula: int,
    scale: Sequence[float],
    shift: Sequence[float],
    out: int,
    device: int,
    stream: int,
) -> None: ...
def segment_sums(rows: int, longest: int) -> int: ...
def reduce(
    dtype: int,
    x: int,
    x_batch_stride: int,
    x_row_stride: int,
    offsets: int,
    order: int,
    weight: int,
    y: int,
    weight_sum: int,
    partial: int,
    batch: int,
    rows: int,
    segments: int,
    columns: int,
    mean: bool,
    device: int,
    stream: int,
) -> None: ...
def gather(
    dtype: int,
    y: int,
    y_batch_stride: int,
    y_row_stride: int,
    index: int,
    scale: int,
    x: int,
    batch: int,
    rows: int,
    segments: int,
    columns: int,
    device: int,
    stream: int,
) -> None: ...
