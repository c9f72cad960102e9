"""The native module: threads, instruction set, memory; a submodule a subject."""

import numpy as np
from numpy.typing import NDArray

from . import (
    added_tokens as added_tokens,
    arrow as arrow,
    features as features,
    formats as formats,
    fragments as fragments,
    live as live,
    segments as segments,
    spans as spans,
    sparse as sparse,
    stitching as stitching,
    stream as stream,
    tokens as tokens,
    training as training,
    unigram as unigram,
    wordpiece as wordpiece,
    writing as writing,
)

__version__: str

def default_threads() -> int: ...
def active_isa() -> str: ...
def supported_isas() -> list[str]: ...
def empty_bytes(count: int) -> NDArray[np.uint8]: ...
def advise_huge_pages(address: int, bytes: int) -> None: ...
def busy_work(count: int, grain: int = 1, threads: int = 0) -> int: ...
