"""Native sparse kernels. Arrays are passed as addresses; Python has validated them."""

TILE: int
DESCENT_BLOCK: int

def descend_block(
    wide: bool,
    weights: int,
    stride: int,
    residual: int,
    gram: int,
    mask: int,
    mask_stride: int,
    alpha: float,
    rows: int,
    width: int,
    passes: int,
    progress: int,
    threads: int,
) -> None: ...
def checksum(data: int, size: int) -> int: ...
def sample_bytes(values: int, size: int, count: int) -> bytes: ...
def encode_runs(mask: int, rows: int, columns: int, runs: int) -> int: ...
def encode_columns(mask: int, rows: int, columns: int, runs: int, local: int) -> None: ...
def lookup(
    element: int,
    offsets: int,
    local: int,
    values: int,
    columns: int,
    ids: int,
    count: int,
    out: int,
    threads: int,
) -> None: ...
def lookup_gradient(
    element: int,
    offsets: int,
    local: int,
    rows: int,
    columns: int,
    ids: int,
    count: int,
    grad: int,
    out: int,
    threads: int,
) -> None: ...

class Pattern:
    def __init__(self, local: int, runs: int, rows: int, columns: int, nnz: int) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def nnz(self) -> int: ...
    @property
    def in_blocks(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    def positions(self, local: int, runs: int, positions: int) -> None: ...
    def describe(
        self, local: int, runs: int, transposed: bool, spans: int, starts: int, origins: int
    ) -> None: ...
    def describe_transposed(self, local: int, runs: int, turned: int, sources: int) -> None: ...
    def describe_rows(self, local: int, runs: int, rows: int) -> None: ...
    def expand(self, local: int, runs: int, values: int, size: int, dense: int) -> None: ...
    def multiply(
        self,
        element: int,
        local: int,
        runs: int,
        x: int,
        batch: int,
        values: int,
        bias: int,
        y: int,
        threads: int,
    ) -> None: ...
    def multiply_transposed(
        self,
        element: int,
        local: int,
        runs: int,
        x: int,
        batch: int,
        values: int,
        y: int,
        threads: int,
    ) -> None: ...
    def sample(
        self,
        element: int,
        local: int,
        runs: int,
        grad: int,
        batch: int,
        x: int,
        values: int,
        threads: int,
    ) -> None: ...

WORD_COLUMNS: int
FEW_INPUTS: int

def encode_bitmap(mask: int, rows: int, columns: int, bitmap: int) -> int: ...

class Bitmap:
    def __init__(self, bitmap: int, rows: int, columns: int) -> None: ...
    @property
    def nnz(self) -> int: ...
    def multiply(
        self,
        element: int,
        bitmap: int,
        x: int,
        batch: int,
        values: int,
        bias: int,
        y: int,
        threads: int,
    ) -> None: ...
    def multiply_codes(
        self,
        bitmap: int,
        x: int,
        batch: int,
        codes: int,
        scales: int,
        group_words: int,
        bias: int,
        y: int,
        threads: int,
    ) -> None: ...
