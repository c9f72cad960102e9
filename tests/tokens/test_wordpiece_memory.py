"""WordPiece by remembered pieces: the ids are those of the model without a memory."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from tests.support import run_python

from tokfrag import Tokenizer, _core

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat ##s un ##able e ##e , ( ) 中 文 и ##и a ##a b ##b 0"
# Marks that sort and are dropped, letters that fold, controls that vanish, every kind of space.
ALPHABET = (
    "the cats unable éÉÀ ии́й中文カ,().'-  \t\n\r\x00\x1f\x7f\xa0\u3000\u0301\u0327\u200b"
    "\ufffd😀ﬁaAbB0"
)
TEXTS = st.text(st.sampled_from(ALPHABET), max_size=90)


@pytest.fixture(scope="module", params=[True, False])
def tok(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(WORDS.split()), "utf-8")
    return Tokenizer.from_wordpiece(path, lowercase=request.param)


def without_memory(tok: Tokenizer, text: str | bytes) -> list[int]:
    """Spans come from the model itself, which looks nothing up by raw bytes."""
    return tok.text_pipeline.model.encode_spans(text)[0].tolist()


@given(rows=st.lists(TEXTS | st.binary(max_size=40), max_size=12))
def test_rows_new_and_remembered(tok, rows):
    want = [without_memory(tok, row) for row in rows]
    for _ in range(2):
        assert [row.tolist() for row in tok.encode_batch(rows, threads=1)] == want
        assert [tok.encode(row).tolist() for row in rows] == want


@given(words=st.lists(TEXTS, min_size=1, max_size=5), times=st.integers(1, 400))
def test_long_texts_and_every_place_of_a_block(tok, words, times):
    text = " ".join(words * times)[:9000]
    want = without_memory(tok, text)
    assert tok.encode(text).tolist() == want
    rows = [text, "", text[1:], " ", "  " + text]
    assert [len(row) for row in tok.encode_batch(rows, threads=2)] == [
        len(without_memory(tok, row)) for row in rows
    ]


def test_a_piece_of_more_ids_than_bytes_and_one_too_long_to_keep(tok):
    rows = ["\x00", "a" * 15, "a" * 16, "a" * 63, "a" * 64, "ab" * 40, "ﬁ" * 21, "\u0301", "中" * 9]
    for row in [*rows, *rows]:
        assert tok.encode(row).tolist() == without_memory(tok, row)


def test_every_instruction_set_gives_the_same(tok, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS.split()), "utf-8")
    code = f"""
import random
from tokfrag import Tokenizer
draw = random.Random(3)
tok = Tokenizer.from_wordpiece({str(path)!r})
rows = ["".join(draw.choices({ALPHABET!r}, k=draw.randrange(200))) for _ in range(300)]
model = tok.text_pipeline.model
for _ in range(2):
    for row, ids in zip(rows, tok.encode_batch(rows, threads=1)):
        assert ids.tolist() == model.encode_spans(row)[0].tolist(), row
print(tok.encode_batch(rows).ids.tolist())
"""
    found = set()
    for isa in _core.supported_isas():
        done = run_python(code, timeout=120, TOKFRAG_ISA=isa)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
