"""The Hugging Face call and ``as_huggingface``: the same ids, masks, offsets and padding."""

from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors

from huggingface_cases import SAMPLE, byte_level, load
from support import run_python
from tokfrag import Tokenizer
from tokfrag.compat.huggingface import HuggingFaceTokenizer

TEXTS = ["The cat's on the mat", "", "你好，世界 e\u0301", "<end> <a> cats   ", " 🙂🏽 \n x"]
texts = st.lists(
    st.sampled_from([*"abe t1\n", "  ", "<end>", "<a>", "你", "🙂", "é", " cat", "\u2003"]),
    max_size=12,
).map("".join)


@cache
def framed(trim: bool) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    hf = byte_level()
    hf.add_special_tokens(["<pad>", "<sep>"])
    if trim:
        hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        hf.add_tokens([AddedToken("<a>", lstrip=True)])
        hf.post_processor = processors.RobertaProcessing(
            ("<sep>", hf.token_to_id("<sep>")), ("<end>", 0), trim_offsets=True
        )
    else:
        hf.post_processor = processors.TemplateProcessing(
            single="<end> $A <sep>",
            pair="<end> $A <sep> $B:1 <sep>:1",
            special_tokens=[("<end>", 0), ("<sep>", hf.token_to_id("<sep>"))],
        )
    return hf, load(hf)


@pytest.mark.parametrize("trim", [False, True])
@given(
    first=st.lists(texts, min_size=1, max_size=4),
    second=st.none() | texts,
    length=st.none() | st.integers(4, 12),
    padding=st.sampled_from([None, "longest", "max_length"]),
    sides=st.tuples(*[st.sampled_from(["left", "right"])] * 2),
    multiple=st.none() | st.integers(1, 5),
)
@settings(max_examples=300)
def test_calls_give_what_the_library_gives(
    trim: bool,
    first: list[str],
    second: str | None,
    length: int | None,
    padding: str | None,
    sides: tuple[str, str],
    multiple: int | None,
) -> None:
    hf, ours = framed(trim)
    hf = tokenizers.Tokenizer.from_str(hf.to_str())
    pad_id = hf.token_to_id("<pad>")
    if length is not None:
        hf.enable_truncation(length, direction=sides[0])
    if padding == "max_length" and length is None:
        padding = "longest"
    if padding is not None:
        hf.enable_padding(
            pad_id=pad_id,
            length=length if padding == "max_length" else None,
            direction=sides[1],
            pad_to_multiple_of=multiple,
        )
    pairs = None if second is None else [second] * len(first)
    wanted = hf.encode_batch(first if pairs is None else list(zip(first, pairs, strict=True)))
    found = ours(
        first,
        pairs,
        padding=padding or False,
        truncation=length is not None,
        max_length=length,
        pad_to_multiple_of=multiple,
        truncation_side=sides[0],
        padding_side=sides[1],
        return_token_type_ids=True,
        return_offsets_mapping=True,
    )
    assert found.input_ids == [encoding.ids for encoding in wanted]
    assert found.attention_mask == [encoding.attention_mask for encoding in wanted]
    assert found.token_type_ids == [encoding.type_ids for encoding in wanted]
    assert found.offset_mapping == [encoding.offsets for encoding in wanted]


@pytest.mark.parametrize("strategy", ["only_first", "only_second"])
def test_one_text_of_a_pair_is_cut(strategy: str) -> None:
    hf, ours = framed(False)
    hf = tokenizers.Tokenizer.from_str(hf.to_str())
    hf.enable_truncation(12, strategy=strategy)
    wanted = hf.encode("the cat and the mat", "then a cat").ids
    found = ours("the cat and the mat", "then a cat", truncation=strategy, max_length=12)
    assert found.input_ids == wanted
    with pytest.raises(ValueError, match=f"'{strategy}' leaves nothing of that text in row 0"):
        ours("x" * 30, "x" * 30, truncation=strategy, max_length=5)


def test_offsets_of_a_text_that_normalisation_changes_are_in_the_text() -> None:
    hf = byte_level()
    hf.normalizer = normalizers.NFC()
    ours = load(hf)
    assert ours("é a", return_offsets_mapping=True).offset_mapping == hf.encode("é a").offsets
    for text in ("e\u0301", "ae\u0301\u0323x \u1100\u1161", "o\u0302\u0301 \u4f60"):
        found = ours(text, return_offsets_mapping=True)
        assert found.input_ids == hf.encode(text).ids
        assert found.offset_mapping == hf.encode(text).offsets


def test_shapes_and_kinds() -> None:
    torch = pytest.importorskip("torch")
    _, ours = framed(False)
    one = ours("the cat")
    assert isinstance(one["input_ids"][0], int)
    assert list(one) == ["input_ids", "attention_mask"]
    arrays = ours(TEXTS, padding=True, return_tensors="np")
    tensors = ours(TEXTS, padding=True, return_tensors="pt")
    lists = ours(TEXTS, padding=True)
    for name in ("input_ids", "attention_mask"):
        assert arrays[name].dtype == np.int64
        assert tensors[name].dtype == torch.int64
        assert arrays[name].tolist() == tensors[name].tolist() == lists[name]
    assert ours("the cat", return_tensors="pt").input_ids.shape[0] == 1
    assert ours([], padding=True, return_tensors="np").input_ids.shape == (0, 0)
    assert tensors.to("cpu").input_ids.device.type == "cpu"
    with pytest.raises(AttributeError, match="labels"):
        _ = tensors.labels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "sometimes"}, "padding: got 'sometimes'"),
        ({"padding": "max_length"}, "padding: 'max_length' takes a max_length"),
        ({"truncation": True}, "truncation: takes a max_length"),
        ({"truncation": "some"}, "truncation: got 'some'"),
        ({"truncation": True, "max_length": 1}, "max_length: 1 has no room"),
        ({"truncation": True, "max_length": -1}, "max_length: got -1"),
        ({"return_tensors": "tf"}, "return_tensors: got 'tf'"),
        ({"return_tensors": "np"}, "rows of input_ids differ in length"),
        ({"padding_side": "top"}, "padding_side: got 'top'"),
        ({"text_pairs": ["a"]}, "text_pairs: takes as many texts"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    _, ours = framed(False)
    with pytest.raises(ValueError, match=message):
        ours(["a", "bc"], **options)
    with pytest.raises(TypeError, match="texts: item 1 is a int, takes str"):
        ours(["a", 3])  # type: ignore[list-item]


# The stand-in.


@cache
def stand_in() -> Any:
    return framed(False)[1].as_huggingface(model_max_length=16)


def test_the_methods_of_a_fast_tokenizer() -> None:
    hf, _ = framed(False)
    ours = stand_in()
    ids = hf.encode(SAMPLE, add_special_tokens=False).ids
    assert ours.encode(SAMPLE, add_special_tokens=False) == ids
    assert ours.tokenize(SAMPLE) == hf.encode(SAMPLE, add_special_tokens=False).tokens
    assert ours.convert_ids_to_tokens(ids) == [hf.id_to_token(id) for id in ids]
    assert ours.convert_tokens_to_ids([hf.id_to_token(id) for id in ids]) == ids
    assert ours.convert_tokens_to_string(ours.tokenize("café <a>")) == "café <a>"
    assert ours.decode([0, *ids], skip_special_tokens=True) == hf.decode([0, *ids])
    assert ours.batch_decode([[0, *ids], ids]) == [
        hf.decode(row, skip_special_tokens=False) for row in ([0, *ids], ids)
    ]
    assert ours.get_vocab() == hf.get_vocab()
    assert (len(ours), ours.vocab_size) == (hf.get_vocab_size(), hf.get_vocab_size() - 3)
    assert (ours.pad_token, ours.pad_token_id) == ("<pad>", hf.token_to_id("<pad>"))
    assert ours.eos_token_id is None
    assert sorted(ours.all_special_tokens) == ["<end>", "<pad>", "<sep>"]


def test_lengths_come_from_the_model() -> None:
    ours = stand_in()
    cut = ours(TEXTS, padding="max_length", truncation=True, return_tensors="np")
    assert cut.input_ids.shape == (len(TEXTS), 16)
    free = framed(False)[1].as_huggingface()
    assert len(free("the cat " * 99, truncation=True).input_ids) > 99
    mask = ours("the <end>", return_special_tokens_mask=True)
    assert mask.special_tokens_mask == [1, 0, 0, 0, 1]  # of the template alone, as there


def test_padding_without_a_padding_token_is_refused() -> None:
    plain = Tokenizer([bytes([byte]) for byte in range(256)], pattern="gpt2")
    with pytest.raises(ValueError, match="there is no padding token; set pad_token"):
        plain.as_huggingface()(["a", "bc"], padding=True)
    with pytest.raises(ValueError, match="pad_token: '<no>' is no token"):
        plain.as_huggingface(pad_token="<no>")
    assert plain.as_huggingface(pad_token="!")(["a", "bc"], padding=True).input_ids[0] == [97, 33]
    assert plain(["a", "bc"], padding=True).input_ids[0] == [97, 0]


def test_rows_are_padded_as_collators_ask() -> None:
    ours = stand_in()
    rows = [ours(text) for text in TEXTS]
    padded = ours.pad(rows, return_tensors="np")
    assert np.array_equal(
        padded.input_ids, ours(TEXTS, padding=True, return_tensors="np").input_ids
    )
    assert ours.pad({"input_ids": [[1, 2], [3]]}).attention_mask == [[1, 1], [1, 0]]
    assert ours.pad(rows, pad_to_multiple_of=8, return_tensors="pt").input_ids.shape[1] % 8 == 0


def test_it_pickles_and_threads_share_it() -> None:
    ours = stand_in()
    wanted = ours(TEXTS * 20, padding=True).input_ids
    again = pickle.loads(pickle.dumps(ours))
    with ThreadPoolExecutor(16) as pool:
        for found in pool.map(lambda _: again(TEXTS * 20, padding=True).input_ids, range(64)):
            assert found == wanted


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_loader_with_workers_tokenises(method: str) -> None:
    """In a process of its own: fork after the pool was used must not hang."""
    content = json.dumps(framed(False)[0].to_str())
    code = f"""
        import sys, torch
        from pathlib import Path
        from tokfrag import Tokenizer
        from tokfrag.tokens.formats.huggingface import parse_huggingface
        if __name__ == "__main__":
            data = {content}.encode()
            tok = Tokenizer.from_specification(parse_huggingface(data))
            hf = tok.as_huggingface()
            texts = ["the cat " * n for n in range(64)] * 8
            whole = hf(texts, padding=True, return_tensors="pt").input_ids
            import functools
            collate = functools.partial(hf, padding="max_length", max_length=whole.shape[1],
                                        return_tensors="pt")
            loader = torch.utils.data.DataLoader(texts, batch_size=32, num_workers=2,
                collate_fn=collate, multiprocessing_context={method!r})
            rows = torch.cat([batch["input_ids"] for batch in loader])
            print(torch.equal(rows, whole))
    """
    done = run_python(code, timeout=120)
    assert (done.stdout.strip(), done.stderr) == ("True", "")


# As transformers has it: roles, sides, types, padding.


def bert() -> tokenizers.Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "un", "##able", "##s"]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: id for id, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    made.add_special_tokens(words[:5])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


@given(ids=st.lists(st.integers(0, 9), max_size=12))
def test_a_stream_of_wordpiece_is_what_decoding_gives(ids: list[int]) -> None:
    ours = Tokenizer.adopt(bert())
    stream = ours.stream_decoder()
    for _ in range(2):
        assert "".join(map(stream.push, ids)) + stream.finish() == ours.decode(ids)
    assert ours.decode(ids) == bert().decode(ids, skip_special_tokens=False)


def test_padding_is_special_in_the_mask() -> None:
    ours = Tokenizer.adopt(bert()).as_huggingface()
    rows = [ours(text, return_special_tokens_mask=True) for text in ("the cat unable", "cat")]
    padded = ours.pad(rows)
    assert padded.special_tokens_mask == [[1, 0, 0, 0, 0, 1], [1, 0, 1, 1, 1, 1]]
    assert padded.attention_mask == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert padded.token_type_ids == [[0] * 6, [0] * 6]


def test_labels_and_single_examples_go_through_padding() -> None:
    ours = Tokenizer.adopt(bert()).as_huggingface()
    rows = [
        {**ours("the cat"), "label": 1, "weight": 0.5},
        {**ours("cat"), "label": 0, "weight": 1},
    ]
    padded = ours.pad(rows, return_tensors="np")
    assert (padded.label.tolist(), padded.weight.tolist()) == ([1, 0], [0.5, 1.0])
    assert padded.input_ids.tolist() == [[2, 5, 6, 3], [2, 6, 3, 0]]
    one = ours.pad(dict(ours("cat")), padding="max_length", max_length=5)
    assert one.input_ids == [2, 6, 3, 0, 0]
    assert ours.pad(rows, padding_side="left").input_ids[1] == [0, 2, 6, 3]
    assert ours.pad(rows, padding=False).input_ids == [[2, 5, 6, 3], [2, 6, 3]]
    for options, message in (
        ({"padding": "some"}, "padding: got 'some'"),
        ({"padding_side": "top"}, "padding_side: got 'top'"),
    ):
        with pytest.raises(ValueError, match=message):
            ours.pad(rows, **options)
    with pytest.raises(ValueError, match=r"has \['labels'\], takes input_ids"):
        ours.pad([{"labels": [1]}])
    with pytest.raises(ValueError, match="label has 1 rows, input_ids 2"):
        ours.pad({"input_ids": [[1], [2]], "label": [0]})


def test_an_id_that_nobody_has_is_nothing() -> None:
    hf, ours = framed(False)
    ids = hf.encode("the cat").ids
    gap = [ids[0], 10**5, *ids[1:]]
    assert ours.as_huggingface().decode(gap) == hf.decode(gap, skip_special_tokens=False)


def test_types_are_given_where_the_template_tells_texts_apart() -> None:
    assert "token_type_ids" in Tokenizer.adopt(bert()).as_huggingface()("cat")
    assert "token_type_ids" not in framed(True)[1].as_huggingface()("cat")


def test_adopted_from_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bert(),
        pad_token="[MASK]",
        eos_token="cat",
        padding_side="left",
        truncation_side="left",
        model_max_length=7,
        model_input_names=["input_ids", "attention_mask"],
    )
    theirs("the cat the cat", truncation=True, max_length=3, padding="max_length")
    adopted = Tokenizer.adopt(theirs)
    text = "the cat unable the cats"
    assert adopted(text).input_ids == theirs(text).input_ids
    ours = adopted.as_huggingface()
    for name in (
        *("pad_token", "eos_token", "bos_token", "unk_token", "cls_token", "pad_token_id"),
        *("padding_side", "truncation_side", "model_max_length"),
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    for options in ({}, {"truncation": True}, {"padding": "max_length"}):
        assert dict(ours(text, **options)) == dict(theirs(text, **options))
        assert dict(ours([text, "cat"], padding=True)) == dict(theirs([text, "cat"], padding=True))
    rows = [{**theirs("the cat"), "label": 1}, {**theirs("cat"), "label": 0}]
    assert dict(ours.pad(rows)) == dict(theirs.pad(rows))
    collate = transformers.DataCollatorWithPadding
    assert {key: value.tolist() for key, value in collate(theirs)(rows).items()} == {
        key: value.tolist() for key, value in collate(ours)(rows).items()
    }
    again = pickle.loads(pickle.dumps(adopted)).as_huggingface()
    assert again.eos_token == "cat"


# What servers and trainers ask of a tokenizer.


def test_what_servers_and_trainers_call(tmp_path: Path) -> None:
    """vLLM's protocol, and torchtitan's base class."""
    hf, ours = framed(False)
    ours.save_pretrained(tmp_path)
    tok = HuggingFaceTokenizer.from_pretrained(tmp_path)
    assert tok.is_fast
    assert (tok.num_special_tokens_to_add(), tok.num_special_tokens_to_add(pair=True)) == (2, 3)
    assert tok.num_special_tokens_to_add() == hf.num_special_tokens_to_add(False)
    assert tok.max_token_id + 1 == tok.get_vocab_size() == len(tok)
    assert tok.max_chars_per_token == max(map(len, hf.get_vocab()))
    assert tok.truncation_side == "right"
    assert tok.get_added_vocab() == {"<end>": 0, **dict(list(ours.special_tokens.items())[1:])}
    assert (tok.bos_id, tok.eos_id) == (tok.bos_token_id, tok.eos_token_id)
    assert tok.encode("the", add_special_tokens=False) == ours.encode("the").tolist()
    assert hash(tok) == hash(tok)
    with pytest.raises(ValueError, match="the tokenizer has none"):
        tok.get_chat_template()
    told = ours.as_huggingface(eos_token="<end>", padding_side="left", model_max_length=7)
    told.save_pretrained(tmp_path / "told")
    again = HuggingFaceTokenizer.from_pretrained(tmp_path / "told")
    assert (again.eos_id, again.padding_side, again.model_max_length) == (0, "left", 7)


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    extras=st.sets(st.sampled_from(["attention_mask", "token_type_ids", "special_tokens_mask"])),
    padding=st.sampled_from([True, False, "longest", "max_length"]),
    length=st.none() | st.integers(5, 9),
    multiple=st.none() | st.sampled_from([1, 4]),
    side=st.sampled_from([None, "left", "right"]),
    one=st.booleans(),
    mask=st.booleans(),
)
def test_padding_is_that_of_transformers(
    lengths: list[int],
    extras: set[str],
    padding: bool | str,
    length: int | None,
    multiple: int | None,
    side: str | None,
    one: bool,
    mask: bool,
) -> None:
    theirs, ours = padders()
    names = ["input_ids", *sorted(extras)]
    rows: Any = [{name: list(range(1, count + 1)) for name in names} for count in lengths]
    options = {
        "padding": padding,
        "max_length": length,
        "pad_to_multiple_of": multiple,
        "padding_side": side,
        "return_attention_mask": mask,
    }
    given_rows = rows[0] if one else [{**row, "label": 1} for row in rows]
    wanted = theirs.pad(copy.deepcopy(given_rows), verbose=False, **options)
    assert dict(ours.pad(copy.deepcopy(given_rows), **options)) == dict(wanted)


@cache
def padders() -> tuple[Any, Any]:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bert(), pad_token="[PAD]", padding_side="left", model_max_length=6
    )
    return theirs, Tokenizer.adopt(theirs).as_huggingface()
