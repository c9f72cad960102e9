"""Where ids lie in their text; arguments are validated in tokfrag.tokens.offsets."""

import numpy as np
from numpy.typing import NDArray

from tokfrag._core.tokens import Model

class TokenExtents:
    """What each id covers; twin: `tokfrag.reference.spans.token_spans`."""
    def __init__(self, model: Model) -> None: ...
    def spans(
        self,
        ids: NDArray[np.uint32],
        rows: NDArray[np.int64] | None,
        characters: bool,
        threads: int,
    ) -> NDArray[np.int64]: ...

def in_characters(text: str | bytes, spans: NDArray[np.int64]) -> NDArray[np.int64]: ...
