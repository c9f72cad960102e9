"""Finding added tokens in texts; arguments are validated in tokfrag.tokens."""

import numpy as np
from numpy.typing import NDArray

class Finder:
    """``wanted``: a byte a token, not 0 where it is looked for; empty: all are."""
    def __init__(self, contents: list[bytes]) -> None: ...
    def first(self, text: str | bytes, wanted: bytes) -> int: ...
    def all(self, text: bytes, wanted: bytes) -> NDArray[np.int64]: ...
