"""``tokenizer.json`` of WordPiece: BERT's ids, calls and files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st

from tokfrag import Tokenizer
from tokfrag.tokens.formats.huggingface import parse_huggingface
from tokfrag.tokens.shards.reading import TokenShards

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "un", "##able", "a"]
WORDS += ["##b", "!", "'", "cafe", "你", "1", "##2", "##的"]
TEXT = "The CATS unable!  café 你好 12 [MASK] ab\tzz\u0301"


def bert(**options: Any) -> tokenizers.Tokenizer:
    """What ``BertTokenizerFast`` holds."""
    vocab = {word: id for id, word in enumerate(WORDS)}
    return tokenizers.BertWordPieceTokenizer(vocab, **options)._tokenizer


def load(hf: tokenizers.Tokenizer) -> Tokenizer:
    return Tokenizer.from_specification(parse_huggingface(hf.to_str().encode()))


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False, None])
def test_ids_are_those_of_the_library(lowercase: bool, strip_accents: bool | None) -> None:
    hf = bert(lowercase=lowercase, strip_accents=strip_accents)
    ours = load(hf)

    @given(text=st.text(max_size=20) | st.text("catseun!' [MASK]é你1\u0301", max_size=20))
    @settings(max_examples=100)
    def agrees(text: str) -> None:
        assert ours(text).input_ids == hf.encode(text).ids
        plain = ours.encode(text, allowed_special="all").tolist()
        assert plain == hf.encode(text, add_special_tokens=False).ids

    agrees()


def test_calls_masks_and_offsets() -> None:
    hf = bert()
    ours = Tokenizer.adopt(hf)
    hf.enable_padding(pad_id=0)
    texts = [TEXT, "", "a cat"]
    wanted = hf.encode_batch(list(zip(texts, texts, strict=True)))
    found = ours.as_huggingface()(texts, texts, padding=True, return_offsets_mapping=True)
    assert found.input_ids == [encoding.ids for encoding in wanted]
    assert found.token_type_ids == [encoding.type_ids for encoding in wanted]
    assert found.attention_mask == [encoding.attention_mask for encoding in wanted]
    assert found.offset_mapping == [encoding.offsets for encoding in wanted]


@settings(max_examples=60)
@given(
    texts=st.lists(st.text("the cats un!able é你 12", max_size=12), min_size=1, max_size=4),
    strategy=st.sampled_from([None, "longest_first", "only_first", "only_second"]),
    length=st.integers(4, 12),
    side=st.sampled_from(["left", "right"]),
    data=st.data(),
)
def test_pairs_as_the_library(
    texts: list[str], strategy: str | None, length: int, side: str, data: st.DataObject
) -> None:
    """Sentence pairs: ids, types, masks and offsets, cut by every strategy, padded on each side."""
    seconds = data.draw(
        st.lists(st.text("a the cat's", max_size=12), min_size=len(texts), max_size=len(texts))
    )
    hf = bert()
    hf.enable_padding(direction=side, pad_id=0, pad_type_id=0)
    if strategy is not None:
        hf.enable_truncation(length, strategy=strategy, direction="right")
    options: dict[str, Any] = {"max_length": length} if strategy is not None else {}
    ours = Tokenizer.adopt(bert())
    try:
        wanted = hf.encode_batch(list(zip(texts, seconds, strict=True)))
    except Exception:  # of no kind of its own: nothing is left of a text
        with pytest.raises(ValueError, match="leaves nothing"):
            ours(texts, seconds, padding=True, truncation=strategy, **options)
        return
    found = ours(
        texts,
        seconds,
        padding=True,
        padding_side=side,
        truncation=strategy or False,
        return_token_type_ids=True,
        return_offsets_mapping=True,
        **options,
    )
    assert found.input_ids == [encoding.ids for encoding in wanted]
    assert found.token_type_ids == [encoding.type_ids for encoding in wanted]
    assert found.attention_mask == [encoding.attention_mask for encoding in wanted]
    assert found.offset_mapping == [encoding.offsets for encoding in wanted]
    one = ours(
        texts[0], seconds[0], return_token_type_ids=True, truncation=strategy or False, **options
    )
    row = [id for id, seen in zip(wanted[0].ids, wanted[0].attention_mask, strict=True) if seen]
    assert one.input_ids == row


def test_decoding_pickling_and_writing(tmp_path: Path) -> None:
    hf = bert()
    ours = load(hf)
    ids = hf.encode(TEXT).ids
    assert ours.decode(ids) == hf.decode(ids, skip_special_tokens=False)
    assert pickle.loads(pickle.dumps(ours))(TEXT).input_ids == ids
    ours.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(TEXT).ids == ids
    assert Tokenizer.from_file(tmp_path / "tokenizer.json")(TEXT).input_ids == ids
    assert (ours.token_to_id("cat"), ours.id_to_token(6)) == (6, b"cat")


def test_files_to_shards(tmp_path: Path) -> None:
    ours = load(bert())
    (tmp_path / "a.txt").write_text((TEXT + "\n") * 100_000)
    ours.encode_files(tmp_path / "a.txt", tmp_path / "ids", end_of_text="[SEP]")
    shards = TokenShards(tmp_path / "ids")
    assert np.array_equal(shards[:-1], ours.encode((TEXT + "\n") * 100_000))
    assert shards[-1] == 3


def test_bert_base_uncased_on_the_corpora(data: Path, tmp_path: Path) -> None:
    vocab = str(data / "vocab" / "bert-base-uncased-vocab.txt")
    tokenizers.BertWordPieceTokenizer(vocab).save(str(tmp_path / "bert.json"))
    ours = Tokenizer.from_file(tmp_path / "bert.json")
    hf = tokenizers.Tokenizer.from_file(str(tmp_path / "bert.json"))
    for name in ("english", "code", "chinese", "multilingual", "emoji"):
        rows = (data / f"{name}.txt").read_text(encoding="utf-8")[:100_000].split("\n")
        wanted = [encoding.ids for encoding in hf.encode_batch(rows)]
        assert ours(rows).input_ids == wanted


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("normalizer", {"type": "X"}, "normalizer: got 'X', takes"),
        ("pre_tokenizer", {"type": "X"}, "pre_tokenizer: got 'X', takes"),
        ("decoder", {"type": "X"}, "decoder: got {'type': 'X'}, takes"),
        ("post_processor", {"type": "TemplateProcessing"}, "post_processor: has no"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(key: str, value: object, message: str) -> None:
    content = json.loads(bert().to_str())
    content[key] = value
    with pytest.raises(ValueError, match=message):
        parse_huggingface(json.dumps(content).encode())


@given(text=st.text("newNEW\u00ca aA[]\u4f60", max_size=20))
def test_tokens_may_be_added_that_are_looked_for_normalised(text: str) -> None:
    hf = bert()
    hf.add_tokens(["new", "N\u00caE", "w a"])
    ours = Tokenizer.adopt(hf)
    wanted = hf.encode(text, add_special_tokens=False)
    ids, offsets = ours.encode_with_offsets(text)
    assert ids.tolist() == ours.encode(text).tolist() == wanted.ids
    assert list(map(tuple, offsets.tolist())) == wanted.offsets


@given(text=st.text("aA[Dn]é ", max_size=20))
def test_any_token_may_be_added_that_is_looked_for_as_it_is(text: str) -> None:
    hf = bert()
    hf.add_tokens([tokenizers.AddedToken("[D]", normalized=False)])
    hf.add_special_tokens([tokenizers.AddedToken("[an]", lstrip=True, normalized=False)])
    ours = Tokenizer.adopt(hf)
    assert ours(text).input_ids == hf.encode(text).ids
    found = ours.encode("a [SEP] [an]", allowed_special={"[an]"}).tolist()
    assert (found.count(3), found.count(hf.token_to_id("[an]"))) == (0, 1)


def test_the_methods_of_a_fast_tokenizer() -> None:
    hf = bert()
    ours = Tokenizer.adopt(hf).as_huggingface()
    encoding = hf.encode(TEXT)
    assert ours.tokenize(TEXT) == encoding.tokens[1:-1]
    assert ours.convert_tokens_to_ids(encoding.tokens) == encoding.ids
    assert ours.decode(encoding.ids, skip_special_tokens=True) == hf.decode(encoding.ids)
    assert ours.get_vocab() == hf.get_vocab()
    assert (ours.pad_token_id, ours.cls_token_id, ours.sep_token_id, ours.mask_token_id) == (
        *(0, 2, 3, 4),
    )


def test_offsets_and_truncation() -> None:
    ours = load(bert())
    ids, spans = ours.encode_with_offsets("The CATS")
    assert (ids.tolist(), spans.tolist()) == ([5, 6, 7], [[0, 3], [4, 7], [7, 8]])
    assert [ours.truncate("The CATS!", most) for most in range(5)] == (
        ["", "The", "The CAT", "The CATS", "The CATS!"]
    )


def test_a_special_token_that_is_not_allowed_is_a_word_like_others() -> None:
    hf = bert()
    hf.add_special_tokens(["zebra"])
    ours = Tokenizer.adopt(hf)
    unknown = ours.token_to_id("[UNK]")
    assert ours.encode("zebra").tolist() == [unknown]
    assert ours.encode("zebra", allowed_special="all").tolist() == [ours.token_to_id("zebra")]
    assert ours.decode([ours.token_to_id("zebra")]) == "zebra"
