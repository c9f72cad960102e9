"""Reading ``.model`` files: ids and texts are sentencepiece's own."""

from __future__ import annotations

import itertools
import pickle
import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tokfrag import Tokenizer
from tokfrag.tokens.formats.sentencepiece import describe_sentencepiece
from tokfrag.tokens.formats.sentencepiece_model import (
    PieceType,
    parse_sentencepiece,
    read_sentencepiece,
)
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeModel, SentencePieceBpeValues
from tokfrag.tokens.models.unigram import UnigramModel
from tokfrag.tokens.shards.fingerprint import fingerprint

CORPUS = """
the cat sat on the mat, the cat saw the rat. 'Tis I've don't we'll THEY'RE 12345 67 890
def foo(x): return x+1 # comment
你好世界 今天天气很好 日本語のテキスト カタカナ 한국어 텍스트
naïve café résumé Ångström Zürich İstanbul straße
🙂🚀👩‍👩‍👧 Hello, World!! <html> </s> मानक हिन्दी पाठ العربية עברית ไทย
"""
OPTIONS = {
    "plain": {},
    "bytes": {"byte_fallback": True, "character_coverage": 0.98},
    "as it is": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "folded": {"normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False},
    "symbols": {"user_defined_symbols": ["the", "▁▁", "  ", "<x>", " b", "天", "你好"]},
    "across blanks": {"split_by_whitespace": False},
}


@cache
def trained(kind: str, options: str) -> bytes:
    spm = pytest.importorskip("sentencepiece")
    import io

    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines() * 4),
        model_writer=model,
        vocab_size=500,
        model_type=kind,
        hard_vocab_limit=False,
        minloglevel=3,
        num_threads=1,
        **OPTIONS[options],
    )
    return model.getvalue()


def texts() -> list[str]:
    random_ = random.Random(7)
    signs = [*"abcdefgh the  cat\n\t▁\u3000", "你好", "天气", "naïve", "ﬁ①½ß", "\r\n", "<x>", " b"]

    def one() -> str:
        if random_.random() < 0.2:
            point = random_.randrange(0x110000 - 0x800)
            return chr(point if point < 0xD800 else point + 0x800)
        return random_.choice([*signs, random_.choice(CORPUS.splitlines())])

    return [
        "",
        " ",
        "a  b   c",
        *("".join(one() for _ in range(random_.randrange(25))) for _ in range(300)),
    ]


def make(data: bytes) -> UnigramModel | SentencePieceBpeModel:
    values = describe_sentencepiece(parse_sentencepiece(data))
    if isinstance(values, SentencePieceBpeValues):
        return SentencePieceBpeModel.make(values, ())
    return UnigramModel.make(values, ())


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_ids_and_texts_are_sentencepieces(kind: str, options: str) -> None:
    spm = pytest.importorskip("sentencepiece")
    data = trained(kind, options)
    theirs = spm.SentencePieceProcessor(model_proto=data)
    ours = make(data)
    random_ = random.Random(8)
    batch = texts()
    long = " ".join(batch) * 3
    for text in [*batch, long]:
        want = theirs.encode(text)
        assert ours.encode(text).tolist() == want
        assert ours.encode_spans(text.encode())[0].tolist() == want
        assert ours.decode(np.array(want, np.int64)).decode() == theirs.decode(want)
    ids, offsets = ours.encode_batch([*batch], None, 2)
    rows = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert rows == theirs.encode(batch)
    assert ours.count_batch([*batch], 1).tolist() == [len(row) for row in rows]
    for _ in range(100):
        chosen = [random_.randrange(theirs.get_piece_size()) for _ in range(12)]
        assert ours.decode(np.array(chosen)).decode() == theirs.decode(chosen)
        joiner = ours.joiner()
        joined = b"".join(joiner.push(id) for id in chosen) + joiner.finish()
        assert joined.decode() == theirs.decode(chosen)


def test_fields_are_read() -> None:
    file = parse_sentencepiece(trained("bpe", "bytes"))
    assert (file.kind, file.byte_fallback, file.unknown) == ("bpe", True, 0)
    assert file.pieces[0].type is PieceType.UNKNOWN
    assert sum(piece.type is PieceType.BYTE for piece in file.pieces) == 256


def test_cut_or_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    data = trained("unigram", "as it is")
    random_ = random.Random(9)
    for size in random_.sample(range(len(data)), 60):
        path = tmp_path / "cut.model"
        path.write_bytes(data[:size])
        if size > len(data) - 100:
            continue  # what stands last may be left out
        with pytest.raises(ValueError, match=r"cut\.model: "):
            read_sentencepiece(path)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        try:
            make(bytes(damaged)).encode("the cat 你好")
        except ValueError:
            continue


@pytest.mark.parametrize("data", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"<html>"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="takes"):
        parse_sentencepiece(data)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("options", list(OPTIONS))
def test_a_tokenizer_from_a_model(kind: str, options: str, tmp_path: Path) -> None:
    spm = pytest.importorskip("sentencepiece")
    path = tmp_path / "x.model"
    path.write_bytes(trained(kind, options))
    theirs = spm.SentencePieceProcessor(model_proto=trained(kind, options))
    ours = Tokenizer.from_sentencepiece(path)
    assert len(ours) == theirs.get_piece_size()
    assert ours.special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2}
    some = texts()[:80]
    batch = pickle.loads(pickle.dumps(ours)).encode_batch(some)
    for row, text in zip(batch, some, strict=True):
        ids = theirs.encode(text)
        assert ours.encode(text).tolist() == row.tolist() == ids
        assert ours.decode(ids) == theirs.decode(ids)
        stream = ours.stream_decoder()
        assert "".join(map(stream.push, ids)) + stream.finish() == theirs.decode(ids)
        assert ours.count(text) == len(ids)
        assert len(ours.encode(ours.truncate(text, 2))) <= 2
    assert ours.encode("<s>the</s>", allowed_special="all")[[0, -1]].tolist() == [1, 2]
    same = Tokenizer.from_file(path)
    assert fingerprint(same.text_pipeline) == fingerprint(ours.text_pipeline)
    with pytest.raises(ValueError, match=r"cannot describe a \w+ that was not read from"):
        ours.save(tmp_path / "x.json")


def test_a_bad_model_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    path.write_bytes(b"\n\x40<unk>")
    with pytest.raises(ValueError, match=r"x\.model: pieces: got a file cut short"):
        Tokenizer.from_file(path)
