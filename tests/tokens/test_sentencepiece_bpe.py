"""Byte-pair models over characters: native against the twin, and against Hugging Face's."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given, strategies as st

from tokfrag.reference import sentencepiece_bpe as twin
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeModel, SentencePieceBpeValues
from tokfrag.tokens.models.text_steps import METASPACE, Prepend, Replace

ALPHABET = f"ab{METASPACE}\u00e9\u4f60\u597d\U0001f642\n"
TEXTS = st.text(ALPHABET + " xy\r", max_size=60)
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


@st.composite
def merge_lists(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    tokens = sorted(draw(st.sets(st.sampled_from(ALPHABET), min_size=1)))
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, 15))):
        pair = (draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens)))
        if pair not in merges and len("".join(pair)) < 9:
            merges.append(pair)
            if "".join(pair) not in tokens:
                tokens.append("".join(pair))
    return tokens, merges


@given(merge_lists(), st.lists(TEXTS, max_size=3), st.booleans(), st.booleans())
def test_listed_merges_are_the_twins(
    lists: tuple[list[str], list[tuple[str, str]]],
    texts: list[str],
    fuse: bool,
    byte_fallback: bool,
) -> None:
    tokens, merges = lists
    if byte_fallback and METASPACE not in tokens:
        tokens = [*tokens, METASPACE]
    names = ["<unk>", *(BYTES if byte_fallback else ()), *tokens]
    values = SentencePieceBpeValues(
        tuple((token, id) for id, token in enumerate(names)),
        merges=tuple(merges),
        unknown=0,
        byte_fallback=byte_fallback,
        fuse_unknown=fuse,
    )
    model = SentencePieceBpeModel.make(values, ())
    order = {pair: rank for rank, pair in enumerate(merges)}
    ids = {token: id for id, token in enumerate(names)}

    def expected(text: str) -> list[int]:
        return twin.encode(
            text.replace(" ", METASPACE),
            ids,
            lambda left, right: order.get((left, right)),
            unknown=0,
            byte_fallback=byte_fallback,
            fuse_unknown=fuse,
        )

    want = [expected(text) for text in texts]
    assert [model.encode(text).tolist() for text in texts] == want
    found, offsets = model.encode_batch([*texts], None, 2)
    assert [found[a:b].tolist() for a, b in itertools.pairwise(offsets)] == want
    for text, row in zip(texts, want, strict=True):
        data = text.encode()
        spanned, spans = model.encode_spans(data)
        assert spanned.tolist() == row
        if not byte_fallback:  # the tokens of a character's bytes have all of it each
            assert b"".join(data[a:b] for a, b in spans) == data


@given(st.lists(st.text(ALPHABET, min_size=2, max_size=5), unique=True, max_size=20), TEXTS)
def test_scores_merge_what_they_join(tokens: list[str], text: str) -> None:
    names = ["<unk>", "a", METASPACE, *tokens]
    scores = {token: -float(i) for i, token in enumerate(tokens)}
    values = SentencePieceBpeValues(
        tuple((token, id) for id, token in enumerate(names)),
        scores=(-float("inf"), -50.0, -51.0, *scores.values()),
        unknown=0,
        fuse_unknown=True,
    )

    def rank(left: str, right: str) -> float | None:
        return None if left + right not in scores else -scores[left + right]

    want = twin.encode(
        text.replace(" ", METASPACE),
        {token: id for id, token in enumerate(names) if id},
        rank,
        unknown=0,
        fuse_unknown=True,
    )
    assert SentencePieceBpeModel.make(values, ()).encode(text).tolist() == want


def test_a_long_text_is_cut_safely() -> None:
    random_ = random.Random(3)
    tokens = ("<unk>", *BYTES, "a", "b", METASPACE, "ab", f"{METASPACE}a", "你", "好", "你好")
    merges = (("a", "b"), (METASPACE, "a"), ("你", "好"))
    values = SentencePieceBpeValues(
        tuple((token, id) for id, token in enumerate(tokens)),
        merges=merges,
        unknown=0,
        byte_fallback=True,
    )
    model = SentencePieceBpeModel.make(values, ())
    parts = ["a", "b", " ", "你", "好", "你好", "ab", "\n", "🙂"]
    pieces = ["".join(random_.choices(parts, k=40)) for _ in range(6000)]
    text = " b".join(pieces)
    ids = model.encode(text)
    assert len(text.encode()) > 1 << 19
    want = [model.encode(piece if i == 0 else " b" + piece) for i, piece in enumerate(pieces)]
    assert ids.tolist() == [id for row in want for id in row.tolist()]
    assert model.encode_batch([text], None, 1)[0].tolist() == ids.tolist()


def test_equal_scores_are_refused() -> None:
    values = SentencePieceBpeValues(
        (("<unk>", 0), ("ab", 1), ("ba", 2)), scores=(-float("inf"), -1.0, -1.0), unknown=0
    )
    with pytest.raises(ValueError, match="scores: got the same for 'ab' and 'ba'"):
        SentencePieceBpeModel.make(values, ())


def test_a_character_must_become_something() -> None:
    with pytest.raises(ValueError, match="no unknown token"):
        SentencePieceBpeModel.make(SentencePieceBpeValues((("a", 0),), merges=()), ())


def test_merges_of_no_token_are_refused() -> None:
    values = SentencePieceBpeValues((("<unk>", 0), ("a", 1)), merges=(("a", "a"),), unknown=0)
    with pytest.raises(ValueError, match=r"merges\[0\]: got 'aa', takes tokens"):
        SentencePieceBpeModel.make(values, ())


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_ids_and_offsets_are_those_of_tokenizers(byte_fallback: bool) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    hf = tokenizers
    theirs = hf.Tokenizer(hf.models.BPE(unk_token="<unk>"))
    theirs.normalizer = hf.normalizers.Sequence(
        [hf.normalizers.Prepend(METASPACE), hf.normalizers.Replace(" ", METASPACE)]
    )
    corpus = ["the cat sat on the mat, the cat saw the rat", "你好世界 今天天气很好", "naïve café"]
    names = ["<unk>", *BYTES] if byte_fallback else ["<unk>"]
    trainer = hf.trainers.BpeTrainer(vocab_size=420, special_tokens=names, show_progress=False)
    theirs.train_from_iterator(corpus * 5, trainer)
    description = json.loads(theirs.to_str())
    description["added_tokens"] = []
    description["model"] |= {"byte_fallback": byte_fallback, "fuse_unk": True}
    theirs = hf.Tokenizer.from_str(json.dumps(description))
    model = description["model"]
    ours = SentencePieceBpeModel.make(
        SentencePieceBpeValues(
            tuple(model["vocab"].items()),
            merges=tuple((left, right) for left, right in model["merges"]),
            unknown=model["vocab"]["<unk>"],
            byte_fallback=byte_fallback,
            fuse_unknown=True,
            text=(Prepend(METASPACE), Replace(" ", METASPACE)),
        ),
        (),
    )
    random_ = random.Random(4)
    pieces = [*"abcdefgh the  cat", "你好", "今天", "🙂\u200d", METASPACE, "<unk>", "xyz", "\n\n"]
    for _ in range(300):
        text = "".join(random_.choice(pieces) for _ in range(random_.randrange(20)))
        want = theirs.encode(text)
        data = text.encode()
        ids, spans = ours.encode_spans(data)
        assert ours.encode(text).tolist() == ids.tolist() == want.ids
        found = [
            (len(data[:a].decode(errors="ignore")), len(data[:b].decode(errors="ignore")))
            for a, b in spans
        ]
        # Of a character's bytes the first has the whole of it there.
        assert found == want.offsets or byte_fallback
