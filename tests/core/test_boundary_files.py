"""Counts and shards through errors: all or nothing, few descriptors, nothing left lying about."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from support import run_python
from tokfrag import Tokenizer, TokenShards, WordCounts
from tokfrag.tokens.shards.writing import encode_files
from tokfrag.tokens.training import spills

MOST = 2**63 - 1
WORDS = [bytes([letter]) * length for letter in b"abcdefg" for length in (1, 15, 16, 40)]
counted = st.dictionaries(st.sampled_from(WORDS), st.sampled_from([1, 2, MOST - 2, MOST]))


@given(before=counted, more=counted)
def test_counts_are_added_all_or_not_at_all(before: dict[bytes, int], more: dict[bytes, int]):
    counts = WordCounts(None)
    counts.add_counts(before)
    wanted = {word: before.get(word, 0) + more.get(word, 0) for word in before | more}
    if max(wanted.values(), default=0) > MOST:
        with pytest.raises(OverflowError):
            counts.add_counts(more)
        assert dict(counts.items()) == before
    else:
        counts.add_counts(more)
        assert dict(counts.items()) == wanted


def test_texts_are_added_all_or_not_at_all() -> None:
    counts = WordCounts(None)
    counts.add_counts([(b"a", MOST)])
    with pytest.raises(OverflowError):
        counts.add(["b", "c", "d", "a", "e"])
    assert counts.items() == [(b"a", MOST)]
    counts.add("b")
    assert counts.items() == [(b"a", MOST), (b"b", 1)]


def test_counts_after_ctrl_c_are_those_before_or_those_after() -> None:
    """Whenever it comes: each turn a little later."""
    more = WordCounts(None)
    more.add_counts([(b"%d" % i, 1) for i in range(60_000)])
    counts = WordCounts(None)
    counts.add_counts([(b"%d" % (2 * i), 1) for i in range(60_000)])
    total, added, interrupted = counts.total, 0, 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for turn in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005 * (turn + 1))
                counts.merge(more)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            grown = counts.total - total
            assert grown in (0, more.total)
            total += grown
            added += grown != 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 0
    assert counts.total == 60_000 + added * more.total


def spilling(texts: int = 5) -> Iterator[str]:
    """Words enough for some spills under the least limit."""
    for text in range(texts):
        yield " ".join(f"w{i}" for i in range(text * 8000, (text + 1) * 8000))


def test_a_full_disk_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = WordCounts(r"\w+| ", max_memory=1 << 20)
    plain = WordCounts(r"\w+| ")
    for each in (counts, plain):
        each.add(spilling(2))

    def full(blocks: Iterator[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(spills, "_mapped", full)
        with pytest.raises(OSError, match="No space left"):
            counts.add(spilling())
    for each in (counts, plain):
        each.add(spilling())
    assert counts._held.runs
    assert counts.items() == plain.items()


def test_spills_keep_few_descriptors() -> None:
    done = run_python(
        """
        import os, resource
        from tokfrag import WordCounts
        from tokfrag.tokens.training import spills
        spills.MOST_RUNS = 6
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        letters = str.maketrans("0123456789", "abcdefghij")
        texts = [
            " ".join(f"w{i}" for i in range(at, at + 6000)).translate(letters)
            for at in range(0, 30 * 6000, 6000)
        ]
        counts = WordCounts(max_memory=1 << 20)
        for text in texts:
            counts.add(text)
        counts.add(texts)
        assert len(counts._held.runs) <= 6, len(counts._held.runs)
        assert len(os.listdir("/proc/self/fd")) < 20
        plain = WordCounts()
        plain.add(texts)
        plain.add(texts)
        assert counts.items() == plain.items()
        print("ok")
        """
    )
    assert (done.stdout.strip(), done.returncode) == ("ok", 0), done.stderr


def test_saving_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = WordCounts()
    counts.add("some words")
    counts.save(tmp_path / "counts")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        counts.save(tmp_path / "counts")
    assert os.listdir(tmp_path) == ["counts"]
    assert WordCounts.load(tmp_path / "counts").items() == counts.items()


# Shards.


def shards_of(folder: Path) -> Path:
    tok = Tokenizer.train(["ab ab"], vocab_size=257)
    paths = []
    for name in ("a", "b", "c"):
        paths.append(folder / f"{name}.txt")
        paths[-1].write_text("ab " * 5)
    return encode_files(tok, paths, folder / "out", end_of_text=10)


@pytest.mark.parametrize("ends", [[0, -1, 2], [0, 40, 18], [5, 12, 99], [1, 2, 3]])
def test_ends_of_documents_are_checked(tmp_path: Path, ends: list[int]) -> None:
    out = shards_of(tmp_path)
    file = out / "00000.ends"
    assert TokenShards(out).document_ends.tolist() == np.fromfile(file, np.int64).tolist()
    np.array(ends, np.int64).tofile(file)
    with pytest.raises(ValueError, match=r"00000\.ends: is damaged"):
        TokenShards(out)


def test_two_writers_of_one_folder(tmp_path: Path) -> None:
    """The second is refused, and takes nothing from the first."""
    tok = Tokenizer.train(["ab ab"], vocab_size=257)
    pipe, text = tmp_path / "pipe.txt", tmp_path / "a.txt"
    text.write_text("ab " * 5)
    os.mkfifo(pipe)
    failed: list[BaseException] = []

    def first() -> None:
        try:
            encode_files(tok, [text, pipe], tmp_path / "out")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    end = os.open(pipe, os.O_WRONLY)  # returns when the first writer has come to the pipe
    second = subprocess.run(
        [sys.executable, "-c", SECOND, str(text), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.stdout.strip() == (
        f"out: {tmp_path / 'out'} is being written to by another call, takes one at a time"
    ), second.stderr
    assert list((tmp_path / "out").glob("*.partial")), "the first one's file is still there"
    os.write(end, b"ab")
    os.close(end)
    thread.join()
    # A pipe has another size once it is read: the first ends with an error of its own.
    assert [type(error) for error in failed] in ([ValueError], [OSError])
    assert encode_files(tok, [text], tmp_path / "free").exists()


SECOND = """
import sys
from tokfrag import Tokenizer
from tokfrag.tokens.shards.writing import encode_files
tok = Tokenizer.train(["ab ab"], vocab_size=257)
try:
    encode_files(tok, sys.argv[1], sys.argv[2])
except BlockingIOError as error:
    print(error)
"""
