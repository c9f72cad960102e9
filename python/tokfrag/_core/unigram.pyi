"""Native models of SentencePiece; arguments are validated in tokfrag.tokens.models."""

import numpy as np
from numpy.typing import NDArray

from .tokens import Model
from .writing import Step

def unigram_model(
    tokens: list[bytes],
    scores: NDArray[np.float64],
    ids: NDArray[np.uint32],
    unknown: int,
    unknown_score: float,
    single_precision: bool,
    byte_ids: NDArray[np.uint32],
    pattern: str,
) -> Model: ...
def character_model(
    symbols: list[bytes],
    merges: NDArray[np.uint32] | None,
    ids: NDArray[np.uint32],
    byte_ids: NDArray[np.uint32],
    unknown: int,
    fuse_unknown: bool,
    pattern: str,
    special: list[tuple[bytes, int]],
) -> Model: ...
def encode_spans(
    model: Model, text: str | bytes
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]: ...

class ModelNormalizer(Step):
    def __init__(
        self,
        charsmap: bytes,
        user_defined: list[bytes],
        add_dummy_prefix: bool,
        remove_extra_whitespaces: bool,
    ) -> None: ...
    def normalize_aligned(self, text: str | bytes) -> tuple[bytes, NDArray[np.int64]]: ...
