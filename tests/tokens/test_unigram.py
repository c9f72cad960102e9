"""The unigram model: native against its twin, and against Hugging Face's tokenizers."""

from __future__ import annotations

import itertools
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag._core import unigram as native
from tokfrag.reference import unigram as twin
from tokfrag.tokens.models.text_steps import METASPACE, Metaspace, TextStep
from tokfrag.tokens.models.unigram import UnigramModel, UnigramValues

ALPHABET = f"ab{METASPACE}\u00e9\u4f60\u597d\U0001f642"
TEXTS = st.text(ALPHABET + " x\n", max_size=40)
# Few different scores: ties are what the rules are about.
SCORES = st.one_of(
    st.sampled_from([-1.0, -1.5, -2.0, -3.0, -0.1]), st.floats(-20, 0, width=32, allow_nan=False)
)


@st.composite
def vocabularies(draw: st.DrawFn, *, whole_bytes: bool = False) -> dict[str, float]:
    tokens = draw(st.lists(st.text(ALPHABET, min_size=1, max_size=4), unique=True, max_size=20))
    vocab = {"<unk>": 0.0}
    if whole_bytes:
        vocab |= {f"<0x{byte:02X}>": 0.0 for byte in range(256)} | {METASPACE: -2.0}
    return vocab | {token: draw(SCORES) for token in tokens}


def make(
    vocab: dict[str, float],
    *,
    split: bool = False,
    single: bool = False,
    byte_fallback: bool = False,
    text: tuple[TextStep, ...] = (),
) -> UnigramModel:
    values = UnigramValues(
        tuple((token, id) for id, token in enumerate(vocab)),
        tuple(vocab.values()),
        0,
        byte_fallback=byte_fallback,
        single_precision=single,
        text=text,
        split=split,
    )
    return UnigramModel.make(values, ())


def expected(
    text: str, vocab: dict[str, float], *, single: bool = False, byte_fallback: bool = False
) -> list[int]:
    text = text.replace(" ", METASPACE)
    ids = {token: id for id, token in enumerate(vocab)}
    unknown_score = float(min(vocab.values())) - 10
    if single:
        unknown_score = float(np.float32(min(vocab.values())) - np.float32(10))
    return twin.encode(
        text,
        ids,
        vocab,
        unknown=0,
        unknown_score=unknown_score,
        single=single,
        byte_fallback=byte_fallback,
    )


@given(vocabularies(), st.lists(TEXTS, max_size=4), st.booleans())
def test_native_is_twin_on_whole_texts(
    vocab: dict[str, float], texts: list[str], single: bool
) -> None:
    model = make(vocab, single=single)
    want = [expected(text, vocab, single=single) for text in texts]
    assert [model.encode(text).tolist() for text in texts] == want
    ids, offsets = model.encode_batch([*texts], None, 2)
    assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)] == want
    assert model.count_batch([*texts], 1).tolist() == [len(row) for row in want]


@given(vocabularies(whole_bytes=True), TEXTS)
def test_bytes_stand_for_unknown_characters(vocab: dict[str, float], text: str) -> None:
    model = make(vocab, byte_fallback=True)
    assert model.encode(text).tolist() == expected(text, vocab, byte_fallback=True)


@given(vocabularies(), TEXTS)
def test_words_are_cut_by_themselves(vocab: dict[str, float], text: str) -> None:
    model = make(vocab, split=True)
    want: list[int] = []
    words = [f"{METASPACE}{word}" for word in text.replace(METASPACE, " ").split(" ")]
    words[0] = words[0][1:]
    for word in words:
        want += expected(word, vocab)
    assert model.encode(text).tolist() == want
    assert model.encode_spans(text.encode())[0].tolist() == want


@given(
    vocabularies(),
    st.lists(st.sampled_from(["你好" * 9, "你", "aab", "好你" * 30, "x"]), max_size=30),
)
def test_long_pieces_are_cut_where_no_token_reaches(
    vocab: dict[str, float], parts: list[str]
) -> None:
    # Parts of these are remembered and put together; ties must be decided as in the whole.
    text = "".join(parts)
    model = make(vocab)
    for _ in range(2):
        assert model.encode(text).tolist() == expected(text, vocab)


def test_settled_stretches_of_a_long_text() -> None:
    random_ = random.Random(1)
    vocab = {"<unk>": 0.0, "a": -1.3, "ab": -2.1, "b": -1.7, METASPACE: -2.0, "ba": -2.5}
    text = "".join(random_.choice("abx ") for _ in range(30_000))
    for single in (False, True):
        assert make(vocab, single=single).encode(text).tolist() == expected(
            text, vocab, single=single
        )


@given(vocabularies(), TEXTS)
def test_spans_cover_the_text(vocab: dict[str, float], text: str) -> None:
    data = text.encode()
    ids, spans = make(vocab).encode_spans(data)
    assert ids.tolist() == make(vocab).encode(text).tolist()
    assert b"".join(data[a:b] for a, b in spans) == data


def test_lone_surrogates_and_bad_bytes_read_as_one_mark() -> None:
    vocab = {"<unk>": 0.0, "a": -1.0, "\ufffd": -1.0}
    model = make(vocab)
    assert model.encode("a\ud800a").tolist() == [1, 2, 1]
    assert model.encode(b"a\xffa").tolist() == [1, 2, 1]


@pytest.mark.parametrize("score", [math.inf, math.nan, 25.0])
def test_scores_that_are_no_logarithms_are_refused(score: float) -> None:
    with pytest.raises(ValueError, match="scores: got"):
        make({"<unk>": score, "a": score})


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="pattern: unknown name"):
        native.unigram_model(
            [b"a"],
            np.zeros(1),
            np.zeros(1, np.uint32),
            0,
            -10.0,
            False,
            np.empty(0, np.uint32),
            "no such",
        )


def test_ids_and_offsets_are_those_of_tokenizers() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer(tokenizers.models.Unigram())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(METASPACE, "always")
    corpus = [
        "the cat sat on the mat, the cat saw the rat " * 3,
        "你好世界 今天天气很好",
        "naïve café",
    ]
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=120, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    theirs.train_from_iterator(corpus * 5, trainer)
    description = json.loads(theirs.to_str()) | {"added_tokens": []}
    theirs = tokenizers.Tokenizer.from_str(json.dumps(description))
    vocab = description["model"]["vocab"]
    ours = make(dict(vocab), split=True, text=(Metaspace("always"),))
    random_ = random.Random(2)
    pieces = [*"abcdefgh the  cat", "你好", "今天", "🙂\u200d", "\u2581", "<unk>", "xyz", "\n"]
    for _ in range(300):
        text = "".join(random_.choice(pieces) for _ in range(random_.randrange(20)))
        want = theirs.encode(text)
        ids, spans = ours.encode_spans(text.encode())
        assert ours.encode(text).tolist() == ids.tolist() == want.ids
        data = text.encode()
        assert [(len(data[:a].decode()), len(data[:b].decode())) for a, b in spans] == want.offsets


def test_tables_of_other_sizes_are_refused() -> None:
    """Natively: what they are made of is looked up by token and by byte, unchecked."""
    good = {
        "scores": np.full(2, -1.0),
        "ids": np.arange(2, dtype=np.uint32),
        "byte_ids": np.empty(0, np.uint32),
    }
    for name, values in good.items():
        wrong = {**good, name: np.ones(7, values.dtype)}
        with pytest.raises(ValueError, match=f"{name}: got 7, takes"):
            native.unigram_model(
                [b"a", b"b"],
                wrong["scores"],
                wrong["ids"],
                0,
                -10.0,
                False,
                wrong["byte_ids"],
                "",
            )
    byte_ids = np.full(256, 2**32 - 1, np.uint32)
    with pytest.raises(ValueError, match="ids: got 1, takes 2"):
        native.character_model([b"a", b"b"], None, good["ids"][:1], byte_ids, 0, False, "", [])
    with pytest.raises(ValueError, match="merges: takes two symbols a row"):
        native.character_model(
            [b"a", b"b"], np.zeros((1, 1), np.uint32), good["ids"], byte_ids, 0, False, "", []
        )
