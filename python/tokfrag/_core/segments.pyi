"""Native segment kernels: addresses, sizes, strides in elements; 0 stands for no array."""

def reduce(
    type: int,
    x: int,
    x_batch_stride: int,
    x_row_stride: int,
    index: int,
    weight: int,
    y: int,
    weight_sum: int,
    batch: int,
    rows: int,
    segments: int,
    columns: int,
    mean: bool,
    threads: int,
) -> None: ...
def gather(
    type: int,
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
    threads: int,
) -> None: ...
