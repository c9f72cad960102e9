"""Files to shards: ids of whole documents, whole files or none, going on after an interruption."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from token_cases import SCANNERS
from tokfrag import Tokenizer
from tokfrag.tokens.shards import encoding, writing as files
from tokfrag.tokens.shards.cuts import cut_rule
from tokfrag.tokens.shards.pieces import read_pieces
from tokfrag.tokens.shards.reading import TokenShards
from tokfrag.tokens.shards.writing import encode_files
from tokfrag.tokens.specification import Profile

TOKENS = [bytes([byte]) for byte in range(256)]
TOKENS += [
    b"\n\n",
    b"  ",
    b" a",
    b"ab",
    b"\n\n\n",
    "、".encode(),
    "你".encode(),
    b". ",
    b"'s",
    b"12",
]


def small(pattern: str | None) -> Tokenizer:
    return Tokenizer(TOKENS, pattern=pattern, special_tokens={"<end>": 300})


@pytest.fixture
def tok() -> Tokenizer:
    return small("cl100k")


def write(folder: Path, **texts: str) -> list[Path]:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
    return [folder / f"{name}.txt" for name in texts]


FAMILIES = SCANNERS
TROUBLE = [*"ab1 \n\n\t.,'/!s", "\r\n", "你", "、", "。", "の", "А", "'s", "  ", "\u0301", "\x1c"]
TROUBLE += ["\u2028", "Dž", "²", "½", "ü", "〇", "«", "🙂", "\x00", "\ufffd"]


@pytest.mark.parametrize("pattern", FAMILIES)
@given(parts=st.lists(st.sampled_from(TROUBLE), max_size=40))
@settings(max_examples=300)
def test_no_cut_changes_an_id(pattern: str, parts: list[str]) -> None:
    """At every single place that the rule allows, for text of what is hard to cut."""
    tok = small(pattern)
    text = "".join(parts).encode()
    whole = tok.encode(text).tolist()
    rule = cut_rule(tok)
    assert rule is not None
    for begin in range(len(text)):
        match = rule.match(text, begin)
        if match:
            cut = match.end()
            assert tok.encode(text[:cut]).tolist() + tok.encode(text[cut:]).tolist() == whole


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_pieces_are_the_document(tmp_path: Path, size: int) -> None:
    [path] = write(tmp_path, a="One line.\nAnother, 你好。再见 \n\n  x\n" * 20)
    for pattern in (*FAMILIES, None):
        rule = cut_rule(small(pattern))
        found = list(read_pieces(path, field="text", rule=rule, piece_bytes=size))
        assert b"".join(bytes(piece.text) for piece in found) == path.read_bytes()
        assert [piece.is_last for piece in found] == [False] * (len(found) - 1) + [True]
        assert (len(found) > 1) == (rule is not None and size < 1000)


def test_the_corpora_have_the_ids_of_whole_documents(data: Path, tmp_path: Path) -> None:
    tok = Tokenizer.from_tiktoken(data / "vocab" / "cl100k_base.tiktoken.gz", pattern="cl100k")
    paths = [data / f"{name}.txt" for name in ("chinese_pure", "code", "emoji")]
    shards = TokenShards(encode_files(tok, paths, tmp_path / "ids"))
    assert shards.dtype == (np.uint16 if tok.vocab_size <= 1 << 16 else np.uint32)
    for number, path in enumerate(paths):
        assert np.array_equal(shards.document(number), tok.encode(path.read_bytes()))


def test_plain_gzip_and_jsonl_agree(tok: Tokenizer, tmp_path: Path) -> None:
    documents = ["first document", "", "second\nwith a line", "third 你好"]
    plain = write(tmp_path, **{f"d{number}": text for number, text in enumerate(documents)})
    lines = "".join(json.dumps({"id": 1, "body": text}) + "\n\n" for text in documents)
    (tmp_path / "all.jsonl").write_text(lines)
    (tmp_path / "all.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(documents[2].encode()))
    wanted = TokenShards(encode_files(tok, plain, tmp_path / "1", end_of_text="<end>"))
    assert wanted[:].tolist()[-1] == 300
    for name in ("all.jsonl", "all.jsonl.gz"):
        shards = TokenShards(
            encode_files(
                tok, tmp_path / name, tmp_path / f"{name}.d", end_of_text=300, field="body"
            )
        )
        assert np.array_equal(shards[:], wanted[:])
        assert np.array_equal(shards.document_ends, wanted.document_ends)
    packed = TokenShards(encode_files(tok, tmp_path / "d.txt.gz", tmp_path / "2"))
    assert np.array_equal(packed[:], tok.encode(documents[2]))


def test_bytes_that_are_not_utf8_are_kept(tok: Tokenizer, tmp_path: Path) -> None:
    junk = b"\xff\xfe abc\r\n\x80\xed\xa0\x80 x\n" * 50
    (tmp_path / "a.txt").write_bytes(junk)
    shards = TokenShards(encode_files(tok, tmp_path / "a.txt", tmp_path / "ids"))
    assert tok.decode_bytes(shards[:]) == junk


def test_bin_is_what_plain_trainers_read(tok: Tokenizer, tmp_path: Path) -> None:
    paths = write(tmp_path, a="hello", b="world")
    out = encode_files(tok, paths, tmp_path / "train.bin", end_of_text="<end>", layout="bin")
    wanted = [*tok.encode("hello").tolist(), 300, *tok.encode("world").tolist(), 300]
    assert np.memmap(out, np.uint16, "r").tolist() == wanted
    assert TokenShards(out)[:].tolist() == wanted


def test_the_type_of_ids(tmp_path: Path) -> None:
    paths = write(tmp_path, a="abc")
    wide = Tokenizer(TOKENS, pattern="gpt2", special_tokens={"<end>": 1 << 16})
    assert TokenShards(encode_files(wide, paths, tmp_path / "1")).dtype == np.uint32
    narrow = small("gpt2")
    assert TokenShards(encode_files(narrow, paths, tmp_path / "2")).dtype == np.uint16
    three = encode_files(narrow, paths, tmp_path / "3", dtype="uint32")
    assert TokenShards(three).dtype == np.uint32
    with pytest.raises(ValueError, match="dtype: 'uint16' has no room for 65537 ids"):
        encode_files(wide, paths, tmp_path / "4", dtype="uint16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end_of_text": "<no>"}, "end_of_text: '<no>' is no token"),
        ({"end_of_text": 299}, "end_of_text: 299 is the id of no token"),
        ({"dtype": "int8"}, "dtype: got 'int8'"),
        ({"layout": "hdf5"}, "layout: got 'hdf5'"),
        ({"shard_bytes": 0}, "shard_bytes: got 0"),
        ({"paths": []}, "paths: got none"),
        ({"paths": "."}, "is a folder, takes files"),
    ],
)
def test_wrong_arguments_write_nothing(
    tok: Tokenizer, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    arguments = {"paths": write(tmp_path, a="abc"), **options}
    with pytest.raises(ValueError, match=message):
        encode_files(tok, out=tmp_path / "ids", **arguments)
    assert not (tmp_path / "ids").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"a\.jsonl: line 2: not JSON"),
        ("[" * 100_000, r"a\.jsonl: line 2: not JSON"),
        ('["text"]', "line 2: has no field 'text'"),
        ('{"txt": ""}', "line 2: has no field 'text'"),
        ('{"text": 3}', "line 2: field 'text' is a int, takes a string"),
    ],
)
def test_a_bad_line_is_named_and_leaves_no_partial_file(
    tok: Tokenizer, tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        encode_files(tok, tmp_path / "a.jsonl", tmp_path / "ids")
    assert [file.name for file in (tmp_path / "ids").iterdir()] == ["index.json"]
    with pytest.raises(ValueError, match="1 of 1 shards are not written"):
        TokenShards(tmp_path / "ids")
    with pytest.raises(ValueError, match=message):
        encode_files(tok, tmp_path / "a.jsonl", tmp_path / "a.bin", layout="bin")
    assert not list(tmp_path.glob("*.bin*"))


def test_half_a_gzip_file_is_refused(tok: Tokenizer, tmp_path: Path) -> None:
    packed = gzip.compress(os.urandom(1000).hex().encode())
    (tmp_path / "a.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ValueError, match=r"a\.gz: not a whole gzip file"):
        encode_files(tok, tmp_path / "a.gz", tmp_path / "ids")


def test_goes_on_where_it_was_stopped(
    tok: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(tmp_path, a="first", b="second", c="third")
    encoded: list[str] = []
    plain = files.write_shard

    def stops_at_b(encode, shard, *rest):  # type: ignore[no-untyped-def]
        encoded.append(shard.name)
        if shard.name == "00001" and len(encoded) == 2:
            raise KeyboardInterrupt
        return plain(encode, shard, *rest)

    monkeypatch.setattr(files, "write_shard", stops_at_b)
    with pytest.raises(KeyboardInterrupt):
        encode_files(tok, paths, tmp_path / "ids", shard_bytes=1)
    encode_files(tok, paths, tmp_path / "ids", shard_bytes=1)
    assert encoded == ["00000", "00001", "00001", "00002"]
    wanted = [id for word in ("first", "second", "third") for id in tok.encode(word).tolist()]
    assert TokenShards(tmp_path / "ids")[:].tolist() == wanted


def test_a_changed_input_is_encoded_again(tok: Tokenizer, tmp_path: Path) -> None:
    paths = write(tmp_path, a="first", b="second")
    encode_files(tok, paths, tmp_path / "ids", shard_bytes=1)
    kept = (tmp_path / "ids" / "00000.bin").stat().st_mtime_ns
    paths[1].write_text("other")
    encode_files(tok, paths, tmp_path / "ids", shard_bytes=1)
    assert (tmp_path / "ids" / "00000.bin").stat().st_mtime_ns == kept
    assert tok.decode(TokenShards(tmp_path / "ids")[:]) == "firstother"


def test_shards_of_something_else_are_not_overwritten(tok: Tokenizer, tmp_path: Path) -> None:
    paths = write(tmp_path, a="first", b="second")
    encode_files(tok, paths, tmp_path / "ids", shard_bytes=1)
    for arguments, message in (
        ({"tokenizer": small("gpt2"), "paths": paths}, "with tokenizer"),
        ({"tokenizer": tok, "paths": paths, "end_of_text": 300}, "with end_of_text None, not 300"),
        ({"tokenizer": tok, "paths": paths[1:]}, "holds a shard 00000 of"),
        ({"tokenizer": tok, "paths": paths[:1]}, "holds 2 shards, more than"),
    ):
        with pytest.raises(ValueError, match=message):
            encode_files(out=tmp_path / "ids", shard_bytes=1, **arguments)
    assert tok.decode(TokenShards(tmp_path / "ids")[:]) == "firstsecond"


def test_an_input_that_changes_meanwhile_is_an_error(
    tok: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = write(tmp_path, a="first")
    plain = encoding.read_blocks

    def grows(*arguments, **options):  # type: ignore[no-untyped-def]
        yield from plain(*arguments, **options)
        path.write_text("first and more")

    monkeypatch.setattr(encoding, "read_blocks", grows)
    with pytest.raises(ValueError, match=r"a\.txt: has changed while it was read"):
        encode_files(tok, path, tmp_path / "ids")


def test_ctrl_c_leaves_no_partial_file(tmp_path: Path) -> None:
    line = b"word after word, 12 of them.\n"
    (tmp_path / "a.txt").write_bytes(line * (60_000_000 // len(line)))
    code = """
        import sys
        from tokfrag import Tokenizer
        from tokfrag.tokens.shards.writing import encode_files
        tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
        print("ready", flush=True)
        encode_files(tok, sys.argv[1] + "/a.txt", sys.argv[1] + "/ids")
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    while not list(tmp_path.glob("ids/*.bin.*.partial")):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    assert [file.name for file in (tmp_path / "ids").iterdir()] == ["index.json"]


def test_what_a_killed_writer_left_is_removed(tok: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "00000.bin.1-2.partial").write_bytes(b"half")
    encode_files(tok, write(tmp_path, a="first"), tmp_path / "ids", progress=True)
    assert not list((tmp_path / "ids").glob("*.partial"))


@pytest.mark.parametrize("begin", [None, False, True, "<end>", 300, 97])
@pytest.mark.parametrize("end", [None, True, "ab"])
def test_documents_are_framed(
    begin: bool | str | int | None,
    end: bool | str | int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roles = (("bos", "<end>"), ("eos", "a"))
    given_roles = small("cl100k").specification
    pipeline = replace(given_roles.pipeline, profile=Profile(roles=roles))
    tok = Tokenizer.from_specification(replace(given_roles, pipeline=pipeline))
    texts = ["a ab. a", "", "b", "", "x ab " * 9]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "x.jsonl").write_text(lines)
    (tmp_path / "y.txt").write_text("ab")
    first = [] if not begin else [97] if begin == 97 else [300]
    last = {None: [], True: [97], "ab": [259]}[end]
    rows = [[*first, *tok.encode(text).tolist(), *last] for text in [*texts, "ab"]]
    for batch in (1, 16 << 20):  # a batch a document, and all at once
        monkeypatch.setattr(encoding, "MOST_BATCH_BYTES", batch)
        out = encode_files(
            tok,
            [tmp_path / "x.jsonl", tmp_path / "y.txt"],
            tmp_path / str(batch),
            begin_of_text=begin,
            end_of_text=end,
        )
        shards = TokenShards(out)
        assert [shards.document(row).tolist() for row in range(len(rows))] == rows
    bare = encode_files(
        tok,
        tmp_path / "x.jsonl",
        tmp_path / "x.bin",
        begin_of_text=begin,
        end_of_text=end,
        layout="bin",
    )
    assert np.fromfile(bare, np.uint16).tolist() == [id for row in rows[:-1] for id in row]


def test_what_frames_no_document(tok: Tokenizer, tmp_path: Path) -> None:
    paths = write(tmp_path, a="ab")
    for begin, message in (
        (True, "begin_of_text: the tokenizer names no bos token"),
        ("<no>", "begin_of_text: '<no>' is no token"),
        (299, "begin_of_text: 299 is the id of no token"),
    ):
        with pytest.raises(ValueError, match=message):
            encode_files(tok, paths, tmp_path / "out", begin_of_text=begin)
    encode_files(tok, paths, tmp_path / "out", begin_of_text=300)
    with pytest.raises(ValueError, match="holds shards with begin_of_text 300, not None"):
        encode_files(tok, paths, tmp_path / "out")
