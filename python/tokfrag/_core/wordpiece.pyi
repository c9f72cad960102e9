"""Native WordPiece."""

import numpy as np
from numpy.typing import NDArray

class WordPiece:
    def __init__(
        self,
        tokens: list[bytes],
        prefix: bytes,
        units: NDArray[np.uint32],
        lists: NDArray[np.uint32],
        specials: list[tuple[bytes, int]],
        unknown: int,
        longest_word: int,
    ) -> None: ...
    def encode_batch(
        self,
        texts: list[str | bytes],
        with_specials: bool,
        before: NDArray[np.uint32],
        after: NDArray[np.uint32],
        threads: int,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
    def encode_spans(
        self, text: str | bytes, with_specials: bool
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
