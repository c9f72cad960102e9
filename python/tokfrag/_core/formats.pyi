"""Native half of tokfrag.tokens.formats; arguments are validated there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def merge_places(tokens: list[str], merges: list[Any]) -> tuple[NDArray[np.int64], int]: ...
