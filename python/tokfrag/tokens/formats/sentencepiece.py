"""From sentencepiece's ``.model`` files to descriptions of models."""

from __future__ import annotations

import numpy as np

from tokfrag.tokens.formats.sentencepiece_model import PieceType, SentencePieceFile
from tokfrag.tokens.models.model_text import ModelText
from tokfrag.tokens.models.piece_decoding import ModelDecoding, token_of_byte
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeValues
from tokfrag.tokens.models.unigram import UNKNOWN_PENALTY, UnigramValues
from tokfrag.tokens.specification import AddedToken, Pipeline, Specification


def specification_of_sentencepiece(file: SentencePieceFile) -> Specification:
    """Return the tokenizer that a ``.model`` is; its control pieces are special tokens.

    Sentencepiece finds none of these in a text; here they are found where they are allowed.
    """
    special = {PieceType.CONTROL, PieceType.UNKNOWN}
    added = tuple(
        AddedToken(piece.text, id) for id, piece in enumerate(file.pieces) if piece.type in special
    )
    return Specification(describe_sentencepiece(file), Pipeline(added))


def describe_sentencepiece(file: SentencePieceFile) -> UnigramValues | SentencePieceBpeValues:
    """Return the values that give sentencepiece's own ids.

    Raises
    ------
    ValueError
        A byte-pair model has unused pieces, whose parts depend on the text around them.
    """
    pieces = file.pieces
    tokens: tuple[tuple[str | bytes, int], ...] = tuple(
        (piece.text, id) for id, piece in enumerate(pieces)
    )
    user_defined = tuple(
        (piece.text, id) for id, piece in enumerate(pieces) if piece.type is PieceType.USER_DEFINED
    )
    text = ModelText(
        file.precompiled_charsmap,
        tuple(token for token, _ in user_defined),
        file.add_dummy_prefix,
        file.remove_extra_whitespaces,
    )
    decoding = _decoding(file)
    if file.kind == "unigram":
        scores, unknown_score = _unigram_scores(file)
        return UnigramValues(
            tokens,
            scores,
            file.unknown,
            unknown_score,
            file.byte_fallback,
            single_precision=True,
            text=text,
            split=False,
            decoding=decoding,
        )
    for id, piece in enumerate(pieces):
        if piece.type is PieceType.UNUSED:
            raise ValueError(f"pieces[{id}].type: got unused in a bpe model, takes the other types")
    return SentencePieceBpeValues(
        tokens,
        scores=tuple(
            piece.score if piece.type is PieceType.NORMAL else -np.inf for piece in pieces
        ),
        unknown=file.unknown,
        byte_fallback=file.byte_fallback,
        fuse_unknown=True,
        symbols=user_defined,
        text=text,
        decoding=decoding,
    )


def _unigram_scores(file: SentencePieceFile) -> tuple[tuple[float, ...], float]:
    """Scores as the library sums them, and what a cut at an unknown character costs."""
    normal = [piece.score for piece in file.pieces if piece.type is PieceType.NORMAL]
    least = np.float32(min(normal, default=0.0))
    most = max(np.finfo(np.float32).tiny, np.float32(max(normal, default=0.0)))

    def score(text: str, own: float, type: PieceType) -> float:
        if type is PieceType.NORMAL:
            return own
        if type is PieceType.USER_DEFINED:
            # More than other ways to cut, whose scores are logarithms, can reach.
            return float(np.float32(len(text.encode()) * float(most) - 0.1))
        return -np.inf

    scores = tuple(score(piece.text, piece.score, piece.type) for piece in file.pieces)
    return scores, float(least - np.float32(UNKNOWN_PENALTY))


def _decoding(file: SentencePieceFile) -> ModelDecoding:
    found = enumerate(file.pieces)
    return ModelDecoding(
        frozenset(id for id, piece in found if piece.type is PieceType.CONTROL),
        file.unknown,
        file.unk_surface,
        tuple(
            (id, byte)
            for id, piece in enumerate(file.pieces)
            if piece.type is PieceType.BYTE and (byte := token_of_byte(piece.text)) is not None
        ),
        file.add_dummy_prefix,
        file.remove_extra_whitespaces,
    )
