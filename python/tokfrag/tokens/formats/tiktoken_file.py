"""The vocabulary files of tiktoken: a line a token, its bytes in base64, a space, its rank."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import tokens as _native
from tokfrag._files import gunzip, read_bytes


class RankedTokens:
    """The tokens of a file in the order of their ranks, and the line of each."""

    __slots__ = ("bytes", "lines", "offsets", "path", "ranks")

    def __init__(
        self,
        path: Path,
        blob: bytes,
        offsets: NDArray[np.int64],
        ranks: NDArray[np.uint32],
        lines: NDArray[np.int64],
    ) -> None:
        self.path = path
        self.bytes = blob
        self.offsets = offsets
        self.ranks = ranks
        self.lines = lines


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A file's content, unpacked if it is gzip."""
    return unpack(path, read_bytes(path))


def unpack(path: str | os.PathLike[str], content: bytes) -> bytes:
    """The content of a file, unpacked if it is gzip by its first bytes, whatever its name."""
    return gunzip(path, content) if content[:2] == b"\x1f\x8b" else content


def parse_tiktoken(path: str | os.PathLike[str], content: bytes) -> RankedTokens:
    """Reads the content of a file strictly: a faulty line raises ``ValueError`` with its number."""
    content = unpack(path, content)
    if not content.strip():
        raise ValueError(f"{path}: the file is empty")
    try:
        return RankedTokens(Path(path), *_native.load_tiktoken(content))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
