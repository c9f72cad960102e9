"""Native half of tokfrag.tokens; arguments are validated there."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

class VocabularyError(ValueError):
    """Args: what is wrong, and the index of the faulty token (-1: the whole)."""

class ArchiveError(ValueError):
    """Bytes that are no whole archive."""

class Model:
    def __init__(
        self,
        bytes: bytes,
        offsets: NDArray[np.int64],
        ids: NDArray[np.uint32],
        merges: NDArray[np.uint32] | None,
        whole_pieces: bool,
        pattern: str,
        special: list[tuple[bytes, int]],
    ) -> None: ...
    @staticmethod
    def from_archive(
        archive: Buffer,
        whole_pieces: bool,
        pattern: str,
        special: list[tuple[bytes, int]],
    ) -> Model: ...
    def archive(self) -> bytes: ...
    @property
    def id_count(self) -> int: ...
    def encode(
        self, text: str | bytes, allowed: bytes | None = None, limit: int = ...
    ) -> NDArray[np.uint32]: ...
    @property
    def encode_function(self) -> Callable[..., NDArray[np.uint32]]: ...
    def encode_pieces(self, text: str | bytes, ends: NDArray[np.int64]) -> NDArray[np.uint32]: ...
    def encode_batch(
        self, texts: Sequence[str | bytes], allowed: bytes | None, threads: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
    def encode_batch_with_dropout(
        self,
        texts: Sequence[str | bytes],
        allowed: bytes | None,
        streams: NDArray[np.uint64],
        dropout: float,
        seed: int,
        threads: int,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...
    def encode_pieces_with_dropout(
        self,
        text: str | bytes,
        ends: NDArray[np.int64],
        stream: int,
        dropout: float,
        seed: int,
    ) -> NDArray[np.uint32]: ...
    def count(self, text: str | bytes) -> int: ...
    def count_batch(self, texts: Sequence[str | bytes], threads: int) -> NDArray[np.int64]: ...
    def decode(self, ids: NDArray[Any]) -> bytes: ...
    def token_bytes(self, id: int) -> bytes | None: ...
    def token_id(self, token: bytes) -> int | None: ...
    def vocabulary(self) -> tuple[bytes, NDArray[np.int64], NDArray[np.uint32]]: ...

ARCHIVE_VERSION: int

def checksum(bytes: Buffer) -> int: ...
def load_tiktoken(
    file: bytes,
) -> tuple[bytes, NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64]]: ...
def pad_i64(
    ids: NDArray[np.uint32], offsets: NDArray[np.int64], length: int, pad_id: int, left: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]: ...
def pad_i32(
    ids: NDArray[np.uint32], offsets: NDArray[np.int64], length: int, pad_id: int, left: bool
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]: ...
def scan(pattern: str, text: str | bytes) -> NDArray[np.int64]: ...
def scan_at(pattern: str, address: int, size: int) -> NDArray[np.int64]: ...
