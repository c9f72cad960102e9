"""Every kind of input file, packed or not, whole or in parts: the ids of the same documents."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag import Tokenizer, TokenShards, WordCounts
from tokfrag.tokens.shards import sources
from tokfrag.tokens.shards.cuts import cut_rule
from tokfrag.tokens.shards.pieces import read_pieces
from tokfrag.tokens.shards.sources import Source, ranges_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
zstandard = pytest.importorskip("zstandard")

TOK = Tokenizer(
    [bytes([byte]) for byte in range(256)] + [b"ab", b" w", b"\n\n"],
    pattern="cl100k",
    special_tokens={"<end>": 300},
)
DOCUMENTS = [f"document {n} of ab, 再见。\n\n" * (n % 7) for n in range(50)]
LINES = "".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS).encode()
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])
TABLE = pa.table({"id": list(range(50)), "text": DOCUMENTS}, SCHEMA)


def arrow_file(path: Path, table: Any = TABLE) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


def arrow_stream(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
        writer.write_table(TABLE, max_chunksize=7)


def feather(path: Path) -> None:
    from pyarrow.feather import write_feather

    write_feather(TABLE, str(path), compression="zstd")


def frames(data: bytes) -> bytes:
    """Two frames of zstd, and an empty one between."""
    return b"".join(map(zstandard.compress, (data[:999], b"", data[999:])))


WRITERS: dict[str, Callable[[Path], Any]] = {
    "a.jsonl": lambda path: path.write_bytes(LINES),
    "a.ndjson": lambda path: path.write_bytes(LINES),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES)),
    "a.jsonl.bz2": lambda path: path.write_bytes(bz2.compress(LINES)),
    "a.jsonl.xz": lambda path: path.write_bytes(lzma.compress(LINES)),
    "a.jsonl.zst": lambda path: path.write_bytes(frames(LINES)),
    "A.JSONL.ZST": lambda path: path.write_bytes(frames(LINES)),
    "a.parquet": lambda path: pq.write_table(TABLE, path, row_group_size=7),
    "b.parquet": lambda path: pq.write_table(TABLE, path, compression="zstd"),
    "a.arrow": arrow_file,
    "b.arrow": arrow_stream,
    "a.feather": feather,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("edges", [{}, {"begin_of_text": "<end>", "end_of_text": 0}])
def test_documents_are_the_same(name: str, edges: dict[str, Any], tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    shards = TokenShards(TOK.encode_files(tmp_path / name, tmp_path / "ids", **edges))
    before, after = ([300], [0]) if edges else ([], [])
    wanted = [before + TOK.encode(text).tolist() + after for text in DOCUMENTS]
    assert len(shards.document_ends) == len(DOCUMENTS)
    assert [shards.document(n).tolist() for n in range(len(DOCUMENTS))] == wanted


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst", "a.parquet", "a.arrow"])
def test_what_fsspec_opens(name: str, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    WRITERS[name](tmp_path / name)
    with fsspec.open(f"memory://corpus/{name}", "wb") as file:
        file.write((tmp_path / name).read_bytes())
    out = TOK.encode_files(f"memory://corpus/{name}", tmp_path / "ids")
    assert TOK.decode(TokenShards(out)[:]) == "".join(DOCUMENTS)
    with pytest.raises(FileNotFoundError):
        TOK.encode_files("memory://corpus/none.txt", tmp_path / "none")


@pytest.mark.parametrize("kind", ["dictionary", "large_string", "string_view", "binary"])
def test_columns_of_every_kind_of_string(kind: str, tmp_path: Path) -> None:
    column = pa.array(DOCUMENTS)
    if kind == "dictionary":
        column = column.dictionary_encode()
    else:
        column = column.cast(getattr(pa, kind)())
    arrow_file(tmp_path / "a.arrow", pa.table({"body": column}))
    out = TOK.encode_files(tmp_path / "a.arrow", tmp_path / "ids", column="body")
    assert TOK.decode(TokenShards(out)[:]) == "".join(DOCUMENTS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"PK\x03\x04", r"a\.zip: no kind of file that is read"),
        ("a.tar.gz", b"", r"a\.tar\.gz: no kind of file"),
        ("a.parquet.gz", b"", r"a\.parquet\.gz: no kind of file"),
        ("a.lz4", b"", "no kind of file"),
        ("a.txt", b"PAR1....", "is Parquet by its first bytes, not text"),
        ("a", frames(b"text"), "is zstd by its first bytes"),
        (
            "a.txt.gz",
            gzip.compress(gzip.compress(b"text", mtime=0), mtime=0),
            "is gzip by its first bytes",
        ),
        ("a.jsonl", b"PK\x03\x04\n", "is zip by its first bytes"),
        ("a.parquet", b"text", "a.parquet: not a whole parquet file"),
        ("a.arrow", b"", "a.arrow: not a whole arrow file"),
        ("a.arrow", b"ARROW1", "a.arrow: not a whole arrow file"),
        ("a.bz2", bz2.compress(b"text")[:-3], "not a whole bzip2 file"),
        ("a.bz2", b"text", "not a whole bzip2 file"),
        ("a.xz", lzma.compress(b"text")[:-3], "not a whole xz file"),
        ("a.zst", frames(b"text")[:-1], "not a whole zstd file"),
        ("a.zst", b"text", "not a whole zstd file"),
        # As ended by what cannot begin another frame, or with nothing at all.
        ("a.bz2", bz2.compress(b"text") + b"x" + bz2.compress(b"more"), "not a whole bzip2 file"),
        ("a.xz", lzma.compress(b"text") + b"x" + lzma.compress(b"more"), "not a whole xz file"),
        ("a.zst", frames(b"text") + b"x" + frames(b"more"), "not a whole zstd file"),
        ("a.gz", b"", "not a whole gzip file"),
        ("a.bz2", b"", "not a whole bzip2 file"),
        ("a.xz", b"", "not a whole xz file"),
        ("a.zst", b"", "not a whole zstd file"),
    ],
)
def test_what_is_not_known_is_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        TOK.encode_files(tmp_path / name, tmp_path / "ids")
    assert not list(tmp_path.glob("ids/*.bin*"))


@pytest.mark.parametrize(
    ("suffix", "pack", "between"),
    [
        (".gz", gzip.compress, b""),
        (".bz2", bz2.compress, b""),
        (".xz", lzma.compress, bytes(8)),  # padding of a stream
        (".zst", zstandard.compress, b"\x50\x2a\x4d\x18\x04\0\0\0skip"),  # a skippable frame
    ],
)
def test_packed_in_several_frames(
    suffix: str, pack: Callable[[bytes], bytes], between: bytes, tmp_path: Path
) -> None:
    text = "one text, in several frames. " * 9 + "a" * (3 << 20)  # each a few bytes, once packed
    data = text.encode()
    packed = [pack(data[:99]), between, pack(b""), pack(data[99:]), between]
    (tmp_path / f"a{suffix}").write_bytes(b"".join(packed))
    pieces = list(read_pieces(tmp_path / f"a{suffix}", field="", rule=None))
    assert b"".join(piece.text for piece in pieces) == data


def test_half_a_character_is_read_as_in_encode(tmp_path: Path) -> None:
    from tokfrag.scale import count_corpus

    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}\n{"text": "\\ud83d\\ude00"}\n')
    texts = [piece.text for piece in read_pieces(tmp_path / "a.jsonl", field="text", rule=None)]
    assert texts == ["a\ufffdb", "\N{GRINNING FACE}"]
    counts = WordCounts("cl100k")
    counts.add(texts)
    assert count_corpus(tmp_path / "a.jsonl", workers=1, progress=False).items() == counts.items()
    out = TOK.encode_files(tmp_path / "a.jsonl", tmp_path / "ids")
    assert TokenShards(out).document(0).tolist() == TOK.encode("a\ud800b").tolist()


def test_nulls_of_a_dictionary_are_found(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int32()), ["x", None])
    arrow_file(tmp_path / "a.arrow", pa.table({"text": column}))
    with pytest.raises(ValueError, match=r"a\.arrow: row 1 of column 'text' is null"):
        TOK.encode_files(tmp_path / "a.arrow", tmp_path / "ids")
    with pytest.warns(UserWarning, match="2 documents or files were skipped"):
        out = TOK.encode_files(tmp_path / "a.arrow", tmp_path / "ids", on_error="skip")
    assert TOK.decode(TokenShards(out)[:]) == "x"


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    column = pa.array(["x"])
    arrow_file(tmp_path / "a.arrow", pa.Table.from_arrays([column, column], ["text", "text"]))
    with pytest.raises(ValueError, match="has 2 columns 'text'"):
        TOK.encode_files(tmp_path / "a.arrow", tmp_path / "ids")


@pytest.mark.parametrize("out", ["s3://bucket/ids", Path("s3://bucket/ids")])
def test_urls_are_not_written_to(out: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokfrag.scale import TokenizerStep, count_corpus, encode_corpus

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    options: dict[str, Any] = {"workers": 1, "progress": False}
    for write in (
        lambda: TOK.encode_files("a.txt", out),
        lambda: encode_corpus(TOK, "a.txt", out, **options),
        lambda: count_corpus("a.txt", out, **options),
        lambda: TokenizerStep(TOK, out),
    ):
        with pytest.raises(ValueError, match=r"out: got 's3:/+bucket/ids', takes a local path"):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_columns_that_hold_no_text_are_refused(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    for column, message in (("id", "column 'id' is int64, takes strings"), ("no", "has no column")):
        with pytest.raises(ValueError, match=message):
            TOK.encode_files(tmp_path / "a.parquet", tmp_path / column, column=column)


@pytest.mark.parametrize("module", ["pyarrow.parquet", "zstandard", "fsspec"])
def test_what_an_extra_brings_is_named(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Any = {
        "pyarrow.parquet": tmp_path / "a.parquet",
        "zstandard": tmp_path / "a.jsonl.zst",
        "fsspec": "memory://corpus/a.txt",
    }[module]
    if isinstance(path, Path):
        WRITERS[path.name](path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=module.partition(".")[0]):
        TOK.encode_files(path, tmp_path / "ids")


# Parts of files.


TROUBLE = [*"ab1 \n\t.,'", "\r\n", "你", "、", "。", "の", "А", "  ", "\u0301", "\u2028", "🙂"]


@given(
    parts=st.lists(st.sampled_from(TROUBLE), max_size=200),
    count=st.integers(1, 9),
    pattern=st.sampled_from(["gpt2", "cl100k", "o200k", "llama3", "qwen2"]),
)
@settings(max_examples=200)
def test_parts_of_a_text_are_the_text(
    parts: list[str], count: int, pattern: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab", b" a", b"  "], pattern=pattern)
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text("".join(parts), encoding="utf-8", newline="")
    whole = Source.of(path)
    cuts = [whole.bytes * n // count for n in range(count + 1)]
    found: list[int] = []
    last: list[bool] = []
    for begin, end in pairwise(cuts):
        source = replace(whole, begin=begin, end=end)
        for piece in read_pieces(source, field="text", rule=cut_rule(tok), piece_bytes=16):
            found += tok.encode(piece.text).tolist()
            last.append(piece.is_last)
    assert found == tok.encode(path.read_bytes()).tolist()
    assert last.count(True) >= 1
    assert last[-1]


@given(
    lines=st.lists(st.text(alphabet="ab 你\n", max_size=30), max_size=20), count=st.integers(1, 9)
)
def test_parts_of_lines_are_the_lines(
    lines: list[str], count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    text = "\n".join(json.dumps({"text": line}) for line in lines)
    path.write_text(text)
    whole = Source.of(path)
    cuts = [whole.bytes * n // count for n in range(count + 1)]
    found = [
        piece.text
        for begin, end in pairwise(cuts)
        for piece in read_pieces(
            replace(whole, begin=begin, end=end), field="text", rule=None, piece_bytes=16
        )
    ]
    assert found == lines


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_a_large_file_is_several_shards(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LEAST_RANGE", 1)
    texts = {"a.txt": lambda path: path.write_text("".join(DOCUMENTS))}
    path = tmp_path / name
    {**WRITERS, **texts}[name](path)
    edges: dict[str, Any] = {"begin_of_text": 300, "end_of_text": 0}
    one = TokenShards(TOK.encode_files(path, tmp_path / "one", **edges))
    size = path.stat().st_size // 5
    many = TOK.encode_files(path, tmp_path / "many", shard_bytes=size, **edges)
    shards = TokenShards(many)
    index = json.loads((many / "index.json").read_text())
    assert (len(index["shards"]), index["version"]) == (6, 2)
    assert np.array_equal(shards[:], one[:])
    assert np.array_equal(shards.document_ends, one.document_ends)
    kept = (many / "00003.bin").stat().st_mtime_ns
    (many / "00001.ends").unlink()
    TOK.encode_files(path, many, shard_bytes=size, **edges)
    assert np.array_equal(TokenShards(many)[:], one[:])
    assert (many / "00003.bin").stat().st_mtime_ns == kept


def test_a_folder_of_undivided_files_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("".join(DOCUMENTS))
    out = TOK.encode_files(tmp_path / "a.txt", tmp_path / "ids", shard_bytes=100)
    monkeypatch.setattr(sources, "LEAST_RANGE", 1)
    before = (out / "index.json").read_bytes()
    TOK.encode_files(tmp_path / "a.txt", tmp_path / "ids", shard_bytes=100)
    assert (out / "index.json").read_bytes() == before


def test_what_is_never_divided() -> None:
    for name in ("a.jsonl.gz", "a.txt.zst", "a.arrow", "a.feather"):
        assert ranges_of(name, 1 << 40, 1 << 20, text=True) == [(0, -1)]
    assert ranges_of("a.txt", 1 << 40, 1 << 20, text=False) == [(0, -1)]
    parts = ranges_of("a.txt", (1 << 22) + 1, 1 << 20, text=True)
    assert len(parts) == 5
    assert [begin for begin, _ in parts[1:]] == [end for _, end in parts[:-1]]


# Layouts of others.


def megatron_documents(prefix: Path) -> list[list[int]]:
    """The documents, read by what Megatron's index says of itself."""
    data = prefix.with_name(f"{prefix.name}.idx").read_bytes()
    magic, version, code, sequences, documents = struct.unpack_from("<9sQBQQ", data)
    assert (magic, version) == (b"MMIDIDX\x00\x00", 1)
    kind = np.dtype({8: np.uint16, 4: np.int32}[code])
    at = 34
    lengths = np.frombuffer(data, np.int32, sequences, at)
    begins = np.frombuffer(data, np.int64, sequences, at + 4 * sequences)
    bounds = np.frombuffer(data, np.int64, documents, at + 12 * sequences)
    assert len(data) == at + 12 * sequences + 8 * documents
    assert bounds.tolist() == list(range(sequences + 1))
    ids = prefix.with_name(f"{prefix.name}.bin").read_bytes()
    rows = zip(lengths.tolist(), begins.tolist(), strict=True)
    return [np.frombuffer(ids, kind, length, begin).tolist() for length, begin in rows]


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_megatron_pairs(dtype: str, tmp_path: Path) -> None:
    WRITERS["a.parquet"](tmp_path / "a.parquet")
    (tmp_path / "b.txt").write_text("one text, in several pieces. " * 9)
    out = TOK.encode_files(
        [tmp_path / "a.parquet", tmp_path / "b.txt"],
        tmp_path / "train",
        layout="megatron",
        end_of_text="<end>",
        dtype=dtype,
    )
    texts = [*DOCUMENTS, (tmp_path / "b.txt").read_text()]
    assert megatron_documents(out) == [[*TOK.encode(text).tolist(), 300] for text in texts]
    assert sorted(path.name for path in tmp_path.glob("train*")) == ["train.bin", "train.idx"]


def test_no_index_of_other_ids_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Megatron's index is gone before the ids that it was of are replaced."""
    (tmp_path / "a.txt").write_text("one")
    out = TOK.encode_files(tmp_path / "a.txt", tmp_path / "train", layout="megatron")
    monkeypatch.setattr("tokfrag.tokens.shards.layouts.Megatron.index", lambda writer: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        TOK.encode_files(tmp_path / "a.txt", out, layout="megatron")
    assert [path.name for path in tmp_path.glob("train*")] == ["train.bin"]


def test_documents_that_come_in_pieces(tmp_path: Path) -> None:
    """Of Megatron and of sample writers: where documents end may be told batches later."""
    from tokfrag.tokens.shards.layouts import Megatron, Samples

    batches = [([1, 2, 3], [2]), ([4], []), ([5, 6, 7], [1, 1, 2]), ([], [0])]
    rows: list[list[int]] = []
    samples = Samples(lambda ids: rows.append(ids.tolist()))
    with (tmp_path / "x.bin").open("wb") as file:
        writer = Megatron(file, np.dtype(np.uint16))
        for ids, ends in batches:
            for sink in (samples, writer):
                sink.write(np.array(ids, np.uint32), np.array(ends, np.int64))
    (tmp_path / "x.idx").write_bytes(writer.index())
    assert rows == [[1, 2], [3, 4, 5], [], [6], [7]]
    assert megatron_documents(tmp_path / "x") == rows


def test_mds_has_no_index_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MosaicML's writer ends as if all were well, unless its event is set."""

    class MDSWriter:
        def __init__(self, *, out: str, columns: dict[str, str]) -> None:
            self.event, self.out = Event(), Path(out)
            self.out.mkdir()

        def __enter__(self) -> MDSWriter:
            return self

        def __exit__(self, *_: object) -> None:
            if not self.event.is_set():
                (self.out / "index.json").touch()

        def write(self, sample: dict[str, Any]) -> None:
            (self.out / "shard.mds").touch()

    monkeypatch.setitem(sys.modules, "streaming", SimpleNamespace(MDSWriter=MDSWriter))
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n')
    (tmp_path / "b.jsonl").write_text("bad\n")
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    with pytest.raises(ValueError, match="not JSON"):
        TOK.encode_files(files, tmp_path / "bad", layout="mds")
    assert [path.name for path in (tmp_path / "bad").iterdir()] == ["shard.mds"]
    TOK.encode_files(files[:1], tmp_path / "good", layout="mds")
    assert (tmp_path / "good" / "index.json").exists()


def test_litdata_and_mds_where_they_are_installed(tmp_path: Path) -> None:
    WRITERS["a.parquet"](tmp_path / "a.parquet")
    wanted = [TOK.encode(text).tolist() for text in DOCUMENTS]
    for layout, module in (("litdata", "litdata"), ("mds", "streaming")):
        out = tmp_path / layout
        try:
            library = __import__(module)
        except ImportError:
            with pytest.raises(ModuleNotFoundError):
                TOK.encode_files(tmp_path / "a.parquet", out, layout=layout)
            assert not out.exists()
            continue
        TOK.encode_files(tmp_path / "a.parquet", out, layout=layout)
        if layout == "mds":
            rows = library.StreamingDataset(local=str(out), batch_size=1)
            assert [row["tokens"].tolist() for row in rows] == wanted
        else:
            dataset = library.StreamingDataset(str(out), shuffle=False)
            assert [np.asarray(dataset[n]).tolist() for n in range(len(dataset))] == wanted
        with pytest.raises(FileExistsError):
            TOK.encode_files(tmp_path / "a.parquet", out, layout=layout)
