"""Ids to text: as the decoders of tokenizers, whole and id by id."""

from __future__ import annotations

import random

import pytest

from tokfrag.tokens.models.piece_decoding import PieceDecoding, join_pieces, token_of_byte
from tokfrag.tokens.models.text_steps import METASPACE

TOKENS = ["▁a", "b", "▁", "▁▁", "<0x0A>", "<0xC3>", "<0xA9>", "<0xE4>", "<0xBD>", "é", " c", "<s>"]


@pytest.mark.parametrize("layout", ["llama", "gemma", "metaspace", "no prefix"])
def test_texts_are_those_of_tokenizers(layout: str) -> None:
    decoders = pytest.importorskip("tokenizers").decoders
    theirs, ours = {
        "llama": (
            decoders.Sequence(
                [
                    decoders.Replace(METASPACE, " "),
                    decoders.ByteFallback(),
                    decoders.Fuse(),
                    decoders.Strip(" ", 1, 0),
                ]
            ),
            PieceDecoding(byte_fallback=True, strip=(" ", 1)),
        ),
        "gemma": (
            decoders.Sequence(
                [decoders.Replace(METASPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
            ),
            PieceDecoding(byte_fallback=True),
        ),
        "metaspace": (
            decoders.Metaspace(METASPACE, "always"),
            PieceDecoding(drop_first=METASPACE),
        ),
        "no prefix": (decoders.Metaspace(METASPACE, "never"), PieceDecoding()),
    }[layout]
    random_ = random.Random(10)
    for _ in range(500):
        tokens = random_.choices(TOKENS, k=random_.randrange(8))
        joiner = ours.joiner()
        assert join_pieces(joiner.push, joiner.finish, tokens) == theirs.decode(tokens)


def test_bytes_by_name() -> None:
    assert [token_of_byte(t) for t in ("<0x0A>", "<0xFF>", "<0xG0>", "a")] == [10, 255, None, None]
