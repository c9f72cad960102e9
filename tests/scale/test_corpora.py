"""Corpora in parts: the ids of whole files, done once, whoever is killed; nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scale_cases import (
    FIRE,
    OPTIONS,
    UnderFire,
    attempts,
    corpus,
    driver,
    killed_driver,
    sums,
    tokenizer,
)

from tokfrag import TokenShards, WordCounts
from tokfrag.scale import (
    LocalEngine,
    WorkerLostError,
    count_corpus,
    counting,
    encode_corpus,
    join_corpus,
    parts,
)
from tokfrag.scale.plan import CorpusPlan
from tokfrag.tokens.shards import index
from tokfrag.tokens.shards.sealing import sealed


def test_parts_hold_the_ids_of_whole_files(paths: list[Path], serial: Path, tmp_path: Path) -> None:
    tok = tokenizer()
    whole = tok.encode_files(paths, tmp_path / "whole", begin_of_text=0, end_of_text="<end>")
    ours, theirs = TokenShards(serial), TokenShards(whole)
    assert len(list(serial.glob("*.bin"))) > 6
    assert np.array_equal(ours[:], theirs[:])
    assert np.array_equal(ours.document_ends, theirs.document_ends)
    assert ours.skipped == (0, [])
    ours.verify()


def test_a_worker_killed_twice(paths: list[Path], serial: Path, tmp_path: Path) -> None:
    engine = UnderFire(LocalEngine(2), tmp_path / "log", kills=(1, 3, 3))
    began = time.monotonic()
    out = encode_corpus(tokenizer(), paths, tmp_path / "out", engine=engine, **OPTIONS)
    assert time.monotonic() - began < FIRE
    assert sums(out) == sums(serial)
    assert len(engine.attempts()) == len(list(out.glob("*.bin"))) + 3


def test_a_part_that_kills_every_worker(paths: list[Path], tmp_path: Path) -> None:
    engine = UnderFire(LocalEngine(2, retries=1), tmp_path / "log", kills=(0, 0))
    with pytest.raises(WorkerLostError, match=r"2 workers died with the part CorpusPart\(000000"):
        encode_corpus(tokenizer(), paths, tmp_path / "out", engine=engine, **OPTIONS)
    out = encode_corpus(tokenizer(), paths, tmp_path / "out", workers=1, **OPTIONS)
    assert not list(out.glob("*.partial"))


class Unreadable:
    """Can be pickled, and not read again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


@dataclass(frozen=True)
class Gives:
    """Work that gives what it was made of."""

    value: Any

    def __call__(self, part: Any) -> Any:
        return lambda: part if self.value is None else self.value


@pytest.mark.parametrize(
    ("work", "part"), [(Unreadable(), 1), (abs, Unreadable()), (Gives(None), 1)]
)
def test_what_cannot_be_pickled_is_no_lost_worker(work: Any, part: Any) -> None:
    with pytest.raises((ValueError, AttributeError), match=r"no number|pickle"):
        list(LocalEngine(2).run(work, [part]))


def test_the_driver_killed_and_called_again(
    paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    killed_driver(paths, out, log)
    engine = UnderFire(LocalEngine(3), log)
    assert encode_corpus(tokenizer(), paths, out, engine=engine, **OPTIONS) == out
    assert sums(out) == sums(serial)
    assert len(attempts(log)) <= len(list(out.glob("*.bin"))) + 2


def test_two_drivers_on_one_folder(paths: list[Path], serial: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [driver(paths, out, tmp_path / f"log{n}", 0.02) for n in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=FIRE)
        assert process.returncode == 0, errors.decode()
    assert sums(out) == sums(serial)


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    """A disk that is full: no file may grow past a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up(paths: list[Path], serial: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with longest_file(1 << 18), pytest.raises(OSError, match=r"out/000000\.bin"):
        encode_corpus(tokenizer(), paths, out, workers=1, **OPTIONS)
    assert sorted(path.name for path in out.iterdir()) == ["plan.files", "plan.json"]
    encode_corpus(tokenizer(), paths, out, workers=1, **OPTIONS)
    assert sums(out) == sums(serial)


def test_a_folder_that_cannot_be_written_to(paths: list[Path]) -> None:
    with pytest.raises(OSError, match="/proc/tokfrag"):
        encode_corpus(tokenizer(), paths, "/proc/tokfrag", workers=1, **OPTIONS)


def broken(folder: Path) -> dict[str, Path]:
    """Files with a fault each, and one without."""
    zstandard = pytest.importorskip("zstandard")
    lines = "".join(json.dumps({"text": f"good {n}"}) + "\n" for n in range(200)).encode()
    (folder / "good.jsonl").write_bytes(lines)
    (folder / "line.jsonl").write_bytes(b'{"text": "kept"}\n{"text": \n{"text": 3}\n')
    table = pa.table({"text": ["kept", None, "kept too"]})
    pq.write_table(table, folder / "null.parquet")
    whole = (folder / "null.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    packed = bytearray(compressor.compress(os.urandom(1 << 16).hex().encode()))
    (folder / "short.txt.zst").write_bytes(packed[:-100])
    packed[len(packed) // 2] ^= 0xFF
    (folder / "damaged.txt.zst").write_bytes(packed)
    return {path.name.partition(".")[0]: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("line", r"line\.jsonl: line 2: not JSON"),
        ("null", r"null\.parquet: row 1 of column 'text' is null"),
        ("cut", r"cut\.parquet: not a whole parquet file"),
        ("short", r"short\.txt\.zst: not a whole zstd file"),
        ("damaged", r"damaged\.txt\.zst: not a whole zstd file"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_faults_are_named(tmp_path: Path, name: str, message: str, workers: int) -> None:
    files = broken(tmp_path)
    out = tmp_path / "out"
    options = {**OPTIONS, "part_bytes": 1}
    with pytest.raises(ValueError, match=message):
        encode_corpus(tokenizer(), [files["good"], files[name]], out, workers=workers, **options)
    assert not list(out.glob("*.partial"))
    assert not (out / "000001.bin").exists()


def test_faults_are_passed_over_by_choice(tmp_path: Path) -> None:
    files = broken(tmp_path)
    names = ("line", "cut", "null", "short", "good", "damaged")
    faulty = [files[name] for name in names]
    options = {**OPTIONS, "on_error": "skip"}
    with pytest.warns(UserWarning, match=r"6 documents or files were skipped"):
        out = encode_corpus(tokenizer(), faulty, tmp_path / "out", workers=1, **options)
    with pytest.warns(UserWarning, match=r"6 documents or files were skipped"):
        files_out = tokenizer().encode_files(
            faulty, tmp_path / "files", on_error="skip", begin_of_text=0, end_of_text="<end>"
        )
    for folder in (out, files_out):
        shards = TokenShards(folder)
        kept = ["kept", "kept", "kept too", *(f"good {n}" for n in range(200))]
        texts = [shards.document(n)[1:-1] for n in range(len(shards.document_ends))]
        assert [tokenizer().decode(ids) for ids in texts] == kept
        count, places = shards.skipped
        assert count == len(places) == 6
        assert "row 1 of column 'text' is null" in "\n".join(places)
    with pytest.warns(UserWarning, match="skipped"):
        counts = count_corpus(faulty, pattern="cl100k", on_error="skip", workers=1, progress=False)
    wanted = WordCounts("cl100k")
    wanted.add(kept)
    assert counts.items() == wanted.items()


def test_a_changed_part_is_found_and_done_again(paths: list[Path], tmp_path: Path) -> None:
    out = encode_corpus(tokenizer(), paths, tmp_path / "out", workers=1, **OPTIONS)
    whole = sums(out)
    data = bytearray((out / "000002.bin").read_bytes())
    data[7] ^= 1
    (out / "000002.bin").write_bytes(data)
    with pytest.raises(ValueError, match="part 000002 is not what was written"):
        join_corpus(out)
    (out / "000002.json").unlink()
    encode_corpus(tokenizer(), paths, out, workers=1, **OPTIONS)
    assert sums(out) == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end_of_text": None}, "holds a corpus with end_of_text 300, not None"),
        ({"part_bytes": 1 << 21}, "holds a corpus with part_bytes 1048576, not 2097152"),
        ({"on_error": "skip"}, "holds a corpus with on_error 'raise', not 'skip'"),
        ({"engine": "slurm"}, "engine: got 'slurm'"),
        ({"workers": 0}, "workers: got 0"),
        ({"part_bytes": 0}, "part_bytes: got 0"),
        ({"paths": []}, "paths: got none"),
        ({"paths": ["/"]}, "/ is a folder"),
        ({"on_error": "warn"}, "on_error: got 'warn'"),
    ],
)
def test_what_does_not_fit_is_refused(
    paths: list[Path], serial: Path, options: dict[str, Any], message: str
) -> None:
    before = sums(serial)
    arguments = {"paths": paths, **OPTIONS, **options}
    with pytest.raises(ValueError, match=message):
        encode_corpus(tokenizer(), out=serial, **arguments)
    assert sums(serial) == before


def test_other_things_in_the_folder_are_refused(
    paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileExistsError, match="resume=True goes on with it"):
        encode_corpus(tokenizer(), paths, serial, workers=1, resume=False, **OPTIONS)
    with pytest.raises(ValueError, match="holds a corpus that encode_corpus writes"):
        tokenizer().encode_files(paths, serial)
    out = tokenizer().encode_files(paths[-2:], tmp_path / "files")
    with pytest.raises(FileExistsError, match="shards that encode_files wrote"):
        encode_corpus(tokenizer(), paths, out, workers=1, **OPTIONS)


def test_no_record_leads_out_of_the_folder(paths: list[Path], tmp_path: Path) -> None:
    out = encode_corpus(tokenizer(), paths[-2:], tmp_path / "out", workers=1, **OPTIONS)
    record = json.loads((out / "000000.json").read_text())
    del record["seal"]
    for name in ("../000000", "/etc/passwd"):
        (out / "000000.json").write_bytes(sealed({**record, "name": name}))
        with pytest.raises(ValueError, match="is not the record of part 000000"):
            join_corpus(out)


def test_words_are_those_of_the_texts(paths: list[Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"pattern": "cl100k", "progress": False, "part_bytes": 1 << 20}
    counts = count_corpus(paths, tmp_path / "counts", workers=2, **options)
    wanted = WordCounts("cl100k")
    wanted.add([path.read_bytes() for path in (paths[0], *paths[3:])])
    wanted.add([json.loads(line)["text"] for line in paths[1].read_text().splitlines()])
    wanted.add(pq.read_table(paths[2])["text"])
    assert counts.items() == wanted.items()
    again = count_corpus(paths, tmp_path / "counts", workers=1, **options)
    assert again.items() == wanted.items()


def test_counts_are_merged_as_a_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_BRANCHES", 2)
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"to be {number}")
    paths = [tmp_path / f"{number}.txt" for number in range(5)]
    counts = count_corpus(
        paths, tmp_path / "counts", workers=1, part_bytes=1, pattern="gpt2", progress=False
    )
    assert dict(counts.items())[b" be"] == 5
    assert len(list((tmp_path / "counts").glob("*-*.counts"))) == 3 + 2 + 1


def test_a_plan_is_told_by_its_files_and_settings(tmp_path: Path) -> None:
    paths = corpus(tmp_path)
    plan = CorpusPlan(paths, 1 << 20, {"a": 1}, text=True)
    again = CorpusPlan([str(path) for path in paths], 1 << 20, {"a": 1}, text=True)
    assert plan.hash == again.hash
    assert plan.hash != CorpusPlan(paths, 1 << 20, {"a": 2}, text=True).hash
    assert plan.hash != CorpusPlan(paths[::-1], 1 << 20, {"a": 1}, text=True).hash
    planned = [plan.part(number) for number in range(len(plan))]
    sources = [source for part in planned for source in part.sources]
    assert sum(source.size for source in sources) == plan.total_bytes
    assert all(part.size <= 1 << 20 or len(part.sources) == 1 for part in planned)
    os.utime(paths[0], ns=(0, 0))
    assert plan.hash != CorpusPlan(paths, 1 << 20, {"a": 1}, text=True).hash


def test_a_faster_writer_that_removes_what_is_half_written(
    paths: list[Path], serial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another call finishes between the files of a part and its record, and between sum and index.

    What was half written then is gone, and the part is none the less done.
    """
    out = tmp_path / "out"
    for name in (parts, index):
        plain = name.whole_file

        @contextmanager
        def overtaken(path: Path, plain: Any = plain) -> Iterator[Any]:
            with plain(path) as file:
                yield file
                if path.suffix == ".json" and not path.exists():
                    path.write_bytes((serial / path.name).read_bytes())
                    for partial in out.glob("*.partial"):
                        partial.unlink()

        monkeypatch.setattr(name, "whole_file", overtaken)
    encode_corpus(tokenizer(), paths, out, workers=1, **OPTIONS)
    assert sums(out) == sums(serial)
