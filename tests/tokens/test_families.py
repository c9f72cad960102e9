"""Every family: ids, offsets, decoding and files beside Hugging Face's own library."""

from __future__ import annotations

import json
import pickle
from functools import cache
from pathlib import Path

import pytest
import tokenizers

from family_cases import FAMILIES, KIMI, TEXTS, by_bytes, byte_level, random_texts, split
from tokfrag import Tokenizer

names = pytest.mark.parametrize("name", list(FAMILIES))


@cache
def both(name: str) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    theirs = tokenizers.Tokenizer.from_str(FAMILIES[name]().to_str())
    return theirs, Tokenizer.adopt(theirs)


@names
def test_ids_offsets_and_text_are_theirs(name: str) -> None:
    theirs, ours = both(name)
    texts = [*TEXTS, *random_texts(60)]
    rows = ours(texts, return_offsets_mapping=True)
    special = ours.special_tokens
    for i, text in enumerate(texts):
        wanted = theirs.encode(text)
        assert rows.input_ids[i] == wanted.ids, text
        assert rows.offset_mapping[i] == wanted.offsets, text
        assert (
            ours.encode(text, allowed_special=set(special)).tolist()
            == theirs.encode(text, add_special_tokens=False).ids
        )
        decoded = theirs.decode(wanted.ids, skip_special_tokens=False)
        assert ours.decode(wanted.ids) == decoded
        stream = ours.stream_decoder()
        assert "".join(map(stream.push, wanted.ids)) + stream.finish() == decoded


@names
def test_batches_bytes_and_counts_are_those_of_one_text(name: str) -> None:
    _, ours = both(name)
    texts = [*TEXTS, *random_texts(20)]
    batch = ours.encode_batch([*texts, *(text.encode() for text in texts)], threads=2)
    counts = ours.count(texts)
    for i, text in enumerate(texts):
        ids = ours.encode(text).tolist()
        assert batch[i].tolist() == batch[len(texts) + i].tolist() == ids
        assert counts[i] == len(ids)
        with_offsets, _ = ours.encode_with_offsets(text)
        assert with_offsets.tolist() == ids
        kept = ours.truncate(text, 3)
        assert text.startswith(kept)
        assert kept == text or len(ids) > 3
        assert len(ours.encode(kept)) <= 3


@names
def test_pickles_and_files_keep_it(name: str, tmp_path: Path) -> None:
    theirs, ours = both(name)
    ours.save(tmp_path / "again.json")
    again = Tokenizer.from_file(tmp_path / "again.json")
    for kept in (pickle.loads(pickle.dumps(ours)), again):
        for text in TEXTS:
            assert kept(text).input_ids == ours(text).input_ids
            assert kept.decode(kept.encode(text)) == ours.decode(ours.encode(text))
    hf = tokenizers.Tokenizer.from_file(str(tmp_path / "again.json"))
    for text in TEXTS:
        assert hf.encode(text).ids == theirs.encode(text).ids


def test_a_file_without_the_models_type(tmp_path: Path) -> None:
    for name in ("BERT", "T5", "Llama-2", "GPT-2"):
        theirs, ours = both(name)
        content = json.loads(theirs.to_str())
        del content["model"]["type"]
        (tmp_path / "old.json").write_text(json.dumps(content))
        old = Tokenizer.from_file(tmp_path / "old.json")
        assert old("the cat, naïve").input_ids == ours("the cat, naïve").input_ids


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize(
    "behavior",
    ["removed", "isolated", "contiguous", "merged_with_previous", "merged_with_next"],
)
def test_every_behavior_of_a_split(behavior: str, invert: bool) -> None:
    theirs = byte_level(split("[aeiou]|\\d+$", behavior, invert), by_bytes(False))
    ours = Tokenizer.adopt(theirs)
    for text in (*TEXTS, "aeiou", "xaab", "12\n34", "bcd", "a1\n"):
        wanted = theirs.encode(text)
        ids, offsets = ours.encode_with_offsets(text)
        assert ids.tolist() == wanted.ids
        assert list(map(tuple, offsets.tolist())) == wanted.offsets


def test_what_no_byte_pair_tokenizer_does_is_refused() -> None:
    _, ours = both("T5")
    with pytest.raises(ValueError, match=r"extend: .* is no byte-pair tokenizer"):
        ours.extend(["a"], 300)
    with pytest.raises(ValueError, match="curve is known only"):
        ours.compression_curve()
    with pytest.raises(ValueError, match=r"dropout: got 0\.5, takes"):
        ours.encode("a", dropout=0.5)


def test_sets_that_intersect_are_tiktokens_too() -> None:
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {
        token: 256 + i for i, token in enumerate((b"th", b"the", b"at", "\u4f60".encode()[:2]))
    }
    theirs = tiktoken.Encoding("k", pat_str=KIMI, mergeable_ranks=ranks, special_tokens={})
    ours = Tokenizer(ranks, pattern=KIMI)
    for text in TEXTS:
        assert ours.encode(text).tolist() == theirs.encode(text)
