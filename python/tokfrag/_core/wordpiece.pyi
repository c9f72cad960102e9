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
        unknown: int,
        longest_word: int,
    ) -> None: ...
    def encode(self, text: str | bytes) -> NDArray[np.uint32]: ...
    def encode_batch(
        self, texts: list[str | bytes], threads: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
    def encode_spans(self, text: str | bytes) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
