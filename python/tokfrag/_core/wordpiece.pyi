"""Native WordPiece."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

class WordTable:
    """Words by a native pattern, white space lost; ``encode_word`` is asked for new ones."""
    def __init__(self, pattern: str) -> None: ...
    def encode(
        self, text: str | bytes, encode_word: Callable[[bytes], NDArray[np.uint32]]
    ) -> NDArray[np.uint32]: ...
    def encode_batch(
        self, texts: Sequence[str | bytes], encode_word: Callable[[bytes], NDArray[np.uint32]]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...

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
        self, texts: Sequence[str | bytes], threads: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
    def encode_spans(self, text: str | bytes) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
