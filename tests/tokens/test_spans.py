"""Where ids lie in their text: the native tables and the twin, one text and many, every path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from tests.support import run_python

from tokfrag import Tokenizer, _core
from tokfrag._core import spans as native
from tokfrag.reference.spans import spans_in_characters, token_spans
from tokfrag.tokens.offsets import encode_batch_with_offsets
from tokfrag.tokens.spans import trim_spans

# Tokens that begin and end inside characters, or hold nothing but the rest of one.
SPLIT = [
    b"\x80\x99",
    b"\xe2\x80",
    b"\xa9b",
    b"a\xc3",
    b"\x9f\x98",
    b" \xf0",
    b"\xad\xe4",
    "é".encode(),
]
TOK = Tokenizer(
    [bytes([byte]) for byte in range(256)] + SPLIT + [b"ab", b" a", b"  ", b"ing"],
    pattern=r"[\s\S]{1,9}",
    special_tokens={"<|é|>": 400},
)
PLAIN = Tokenizer(
    [bytes([byte]) for byte in range(256)] + SPLIT, pattern="cl100k", special_tokens={"<|é|>": 400}
)
TEXTS = st.text(st.sampled_from("ab é’😀中\n\ud800\udc00<|>"), max_size=80) | st.binary(max_size=80)


def spelled(tok: Tokenizer, ids: np.ndarray) -> list[bytes]:
    return [tok.id_to_token(id) for id in ids.tolist()]


@pytest.mark.parametrize("tok", [TOK, PLAIN])
@given(text=TEXTS)
def test_one_text_has_the_twins_spans(tok, text):
    for unit in ("char", "byte"):
        ids, spans = tok.encode_with_offsets(text, unit=unit)
        assert spans.dtype == np.int64
        assert spans.shape == (len(ids), 2)
        want = token_spans(spelled(tok, ids), characters=unit == "char")
        assert list(map(tuple, spans.tolist())) == want


@given(texts=st.lists(TEXTS, max_size=6), threads=st.sampled_from([1, 2]))
def test_many_texts_have_the_spans_of_each(texts, threads):
    for tok in (TOK, PLAIN):
        way = tok.text_pipeline
        for unit in ("char", "byte"):
            batch, spans = encode_batch_with_offsets(way, texts, way.sought("all"), unit, threads)
            assert len(batch) == len(texts)
            for row, text in enumerate(texts):
                ids, want = tok.encode_with_offsets(text, unit=unit, allowed_special="all")
                assert batch[row].tolist() == ids.tolist()
                got = spans[batch.offsets[row] : batch.offsets[row + 1]]
                assert got.tolist() == want.tolist()


@given(text=st.text(max_size=300) | st.binary(max_size=300), data=st.data())
def test_spans_in_bytes_become_spans_in_characters(text, data):
    utf8 = text.encode("utf-8", "replace") if isinstance(text, str) else text
    places = st.integers(0, len(utf8))
    spans = data.draw(st.lists(st.tuples(places, places), max_size=20))
    got = native.in_characters(utf8, np.array(spans, np.int64).reshape(-1, 2))
    assert list(map(tuple, got.tolist())) == spans_in_characters(utf8, spans)


def test_a_text_of_many_parts_on_several_threads():
    text = "a é中’ing " * 40_000
    ids, alone = PLAIN.encode_with_offsets(text)
    extents = native.TokenExtents(PLAIN.text_pipeline.model.native)
    for threads in (1, 2, 5):
        spans = extents.spans(ids, None, True, threads)
        assert np.array_equal(spans, alone)
    assert alone[-1, 1] == len(text)
    # End to end but inside characters.
    assert (alone[1:, 0] <= alone[:-1, 1]).all()
    rows = np.array([0, 7, 7, len(ids)])
    parted = extents.spans(ids, rows, False, 2)
    plain = extents.spans(ids, None, False, 1)
    assert np.array_equal(parted[:7], plain[:7])
    assert np.array_equal(parted[7:], plain[7:] - plain[6, 1])


def test_what_is_no_id_or_no_row_is_refused():
    extents = native.TokenExtents(PLAIN.text_pipeline.model.native)
    ids = np.array([97, 98, 99], np.uint32)
    unknown = np.array([97, 300, 98], np.uint32)
    beyond = np.array([97, 2**32 - 1], np.uint32)
    for bad in (unknown, beyond):
        with pytest.raises(ValueError, match="unknown"):
            extents.spans(bad, None, True, 1)
    for rows in ([0, 4], [0, 2], [1, 3], [0, 2, 1, 3], [-1, 3], [0, 2**62, 3]):
        with pytest.raises(ValueError, match="rows"):
            extents.spans(ids, np.array(rows), True, 1)
    with pytest.raises(ValueError, match="rows"):
        extents.spans(ids, np.empty(0, np.int64), True, 1)
    for span in ([0, 4], [-1, 2], [4, 4]):
        with pytest.raises(ValueError, match="take places"):
            native.in_characters("aé", np.array([span]))


def test_texts_that_are_none_are_refused_in_each_way():
    with pytest.raises(TypeError, match="str or bytes"):
        TOK.encode_with_offsets(7)
    way = PLAIN.text_pipeline
    with pytest.raises(TypeError, match="item 1"):
        encode_batch_with_offsets(way, ["a", None], way.sought(()), "char")


def test_trimming_takes_spaces_that_belong_to_tokens():
    tok = PLAIN.add_tokens(["<mask>"])
    texts = ["  a <mask> b", "", " é"]
    way = tok.text_pipeline
    batch, spans = encode_batch_with_offsets(way, texts, way.sought("all"), "char")
    before = spans.copy()
    trim_spans(way.model, texts, batch.ids, spans, batch.offsets, way.values)
    tokens = [tok.id_to_token(id) for id in batch.ids.tolist()]
    for token, old, new in zip(tokens, before.tolist(), spans.tolist(), strict=True):
        if token.strip(b" "):
            stripped = len(token) - len(token.lstrip(b" "))
            assert new[0] == old[0] + stripped
        else:
            assert new[0] == new[1]


def test_every_instruction_set_gives_the_same_characters():
    code = """
import random
import numpy as np
from tokfrag._core import spans
from tokfrag.reference.spans import spans_in_characters
draw = random.Random(5)
for size in [*range(0, 70), 127, 128, 129, 191, 192, 300]:
    text = "".join(draw.choices("aé中😀", k=size)).encode()[:size]
    places = [(draw.randint(0, size), draw.randint(0, size)) for _ in range(8)]
    got = spans.in_characters(text, np.array(places, np.int64))
    assert list(map(tuple, got.tolist())) == spans_in_characters(text, places), (text, places)
"""
    for isa in _core.supported_isas():
        done = run_python(code, timeout=120, TOKFRAG_ISA=isa)
        assert done.returncode == 0, done.stderr
