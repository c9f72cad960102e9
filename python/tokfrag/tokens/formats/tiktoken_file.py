"""The vocabulary files of tiktoken: a line a token, its bytes in base64, a space, its rank."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import tokens as _native


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
    """A file's content, unpacked if it is gzip (by its first bytes, whatever its name)."""
    content = Path(path).read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: damaged gzip file: {error}") from None


def read_tiktoken(path: str | os.PathLike[str]) -> RankedTokens:
    """Reads a vocabulary strictly: a faulty line raises ``ValueError`` with its number."""
    content = read_file(path)
    if not content.strip():
        raise ValueError(f"{path}: the file is empty")
    try:
        return RankedTokens(Path(path), *_native.load_tiktoken(content))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
