"""Word counts: the same for any threads, order and sharding; saved whole; never half added."""

from __future__ import annotations

import gzip
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import regex
from hypothesis import given, strategies as st

from tokfrag import Tokenizer
from tokfrag.tokens.training.byte_pair import train_vocabulary
from tokfrag.tokens.training.word_counts import WordCounts, count_words

GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Unassigned characters are left out: the regex package sees letters in some of them.
characters = st.characters(exclude_categories=["Cs", "Cn", "Co"])
texts = st.lists(st.text(characters, max_size=40) | st.text("ab '1\n", max_size=40), max_size=6)


def counted(texts: list[str], pattern: str = GPT2) -> list[tuple[bytes, int]]:
    found = Counter(piece.encode() for text in texts for piece in regex.findall(pattern, text))
    return sorted(found.items())


@given(texts)
def test_pieces_of_the_pattern(texts: list[str]) -> None:
    for pattern in ("gpt2", GPT2):
        counts = WordCounts(pattern)
        counts.add(texts)
        assert counts.items() == counted(texts)
        assert len(counts) == len(counted(texts))
        assert counts.total == sum(count for _, count in counted(texts))
        assert counts.n_bytes == sum(len(text.encode()) for text in texts)


@given(texts, st.integers(1, 4), st.randoms())
def test_any_sharding(texts: list[str], shards: int, random: object) -> None:
    whole = WordCounts("cl100k")
    whole.add(texts)
    parts = [WordCounts("cl100k") for _ in range(shards)]
    for index, text in enumerate(texts):
        parts[index % shards].add(text)
    merged = WordCounts("cl100k")
    for part in reversed(parts):
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert merged.items() == whole.items()


@given(st.dictionaries(st.binary(max_size=40), st.integers(1, 2**40), max_size=50))
def test_any_words(words: dict[bytes, int]) -> None:
    counts = WordCounts(None)
    counts.add_counts(words)
    counts.add_counts(words)
    assert counts.items() == [(word, 2 * count) for word, count in sorted(words.items())]
    assert pickle.loads(pickle.dumps(counts)).items() == counts.items()


def test_merge_with_itself() -> None:
    counts = WordCounts()
    counts.add("a b")
    counts.merge(counts)
    assert counts.items() == [(b" b", 2), (b"a", 2)]


def test_threads_cut_nothing(data: Path) -> None:
    text = (data / "english.txt").read_bytes()[:3_000_000]
    for pattern in ("gpt2", "cl100k", "o200k", "llama3", "qwen2"):
        one, two = WordCounts(pattern), WordCounts(pattern)
        one.add([text[:1]] * 0 + [text], threads=1)
        two.add(text, threads=2)
        assert one.items() == two.items()


def test_long_texts_are_cut_only_between_pieces(data: Path) -> None:
    # A text of many parts against the same text read by the regex.
    text = (data / "english.txt").read_text(encoding="utf-8")[:1_200_000]
    counts = WordCounts("gpt2")
    counts.add(text)
    assert counts.items() == counted([text])


def test_files_are_lines(tmp_path: Path) -> None:
    lines = ["one two\n", "\n", "  three\r\n", "\n", "four"]
    plain, packed = tmp_path / "a.txt", tmp_path / "b.txt.gz"
    plain.write_bytes("".join(lines).encode())
    packed.write_bytes(gzip.compress("".join(lines).encode()))
    for pattern in ("cl100k", GPT2):
        by_lines = WordCounts(pattern)
        by_lines.add(lines * 2)
        by_files = WordCounts(pattern)
        by_files.add_files([plain, str(packed)], threads=2)
        assert by_files.items() == by_lines.items()


def test_blocks_of_a_file_end_at_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"".join(b"line %d of many\n" % i for i in range(5000)) + b"x" * 3000)
    whole = WordCounts()
    whole.add_files(path)
    monkeypatch.setattr("tokfrag.tokens.training.text_blocks._BLOCK_BYTES", 997)
    blocks = WordCounts()
    blocks.add_files(path)
    assert blocks.items() == whole.items()


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("some text\n")
    expected = [(b"\n", 1), (b" text", 1), (b"some", 1)]
    for source in (path, str(path), [path], (str(path),)):
        assert count_words(source).items() == expected
    assert count_words(iter(["some text\n"])).items() == expected
    assert count_words([str(path), "x"]).total > 3  # not all are files: these are texts
    with pytest.raises(FileNotFoundError):
        count_words(str(tmp_path / "none"))
    with pytest.raises(TypeError, match="source"):
        count_words(b"some text")  # type: ignore[arg-type]


def test_save_and_load(tmp_path: Path) -> None:
    counts = WordCounts("o200k")
    counts.add(["to be or not to be", "x" * 100])
    path = tmp_path / "a.counts"
    counts.save(path)
    loaded = WordCounts.load(path)
    assert loaded.items() == counts.items()
    assert loaded.pattern == "o200k"
    assert os.listdir(tmp_path) == ["a.counts"]
    data = path.read_bytes()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            WordCounts.load(path)
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            WordCounts.load(path)
    with pytest.raises(FileNotFoundError):
        counts.save(tmp_path / "none" / "a.counts")


def test_all_or_nothing() -> None:
    counts = WordCounts()
    counts.add("kept")

    def fails() -> Iterator[str]:
        yield from ["lost"] * 100_000
        raise RuntimeError("the iterator's own")

    with pytest.raises(RuntimeError, match="the iterator's own"):
        counts.add(fails())
    with pytest.raises(TypeError, match=r"item 1 is a int, expected str or bytes"):
        counts.add(["a", 5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"item 2 holds a lone surrogate"):
        counts.add(["a", "é", "\ud800"])
    slow = WordCounts("[a-z]+")
    with pytest.raises(ValueError, match=r"item 2 holds a lone surrogate"):
        slow.add(["a", "é", "\ud800"])
    with pytest.raises(TypeError, match=r"item 1 is a int, expected str or bytes"):
        slow.add(["a", 5])  # type: ignore[list-item]
    assert counts.items() == [(b"kept", 1)]
    assert len(slow) == 0


def test_gaps_of_a_pattern_are_pieces() -> None:
    counts = WordCounts("[a-z]+|")
    counts.add(["12ab34", b"\xffab"])
    # The empty match cuts the gap before it, as it does in Hugging Face's Split.
    assert counts.items() == [(b"1", 1), (b"2", 1), (b"3", 1), (b"4", 1), (b"ab", 2), (b"\xff", 1)]


def test_counts_are_checked() -> None:
    counts = WordCounts(None)
    counts.add_counts({b"a": 2**63 - 1})
    with pytest.raises(OverflowError):
        counts.add("a")
    assert counts.items() == [(b"a", 2**63 - 1)]
    with pytest.raises(ValueError, match="counts"):
        counts.add_counts({b"a": -1})
    with pytest.raises(ValueError, match="counts"):
        counts.add_counts({b"a": 2**63})
    with pytest.raises(TypeError, match="counts"):
        counts.add_counts({"a": 1})  # type: ignore[dict-item]


def test_arguments() -> None:
    with pytest.raises(ValueError, match="pattern"):
        WordCounts("(")
    with pytest.raises(TypeError, match="pattern"):
        WordCounts(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pattern"):
        WordCounts("gpt2").merge(WordCounts("cl100k"))
    with pytest.raises(TypeError, match="other"):
        WordCounts("gpt2").merge({})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threads"):
        WordCounts("gpt2").add("a", threads=0)


def test_fork_after_use() -> None:
    code = """
        import os
        from tokfrag.tokens.training.word_counts import WordCounts
        text = "some words to count " * 100_000
        counts = WordCounts()
        counts.add([text], threads=2)
        child = os.fork()
        counts.add([text], threads=2)
        assert counts.total == 2 * 400_001, counts.total
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


@pytest.mark.parametrize("pattern", ["cl100k", r"\w+|\s"])
def test_spilling_changes_nothing(tmp_path: Path, pattern: str) -> None:
    """With a limit far below what the words need, added bit by bit, from texts and files."""
    letters = str.maketrans("0123456789", "abcdefghij")
    spelled = [f"w{i * 7919 % 40_000} x{i}".translate(letters) for i in range(120_000)]
    texts = [" ".join(spelled[at : at + 4000]) for at in range(0, len(spelled), 4000)]
    (tmp_path / "a.txt").write_text("\n".join(texts))
    plain, tight = WordCounts(pattern), WordCounts(pattern, max_memory=1 << 20)
    for counts in (plain, tight):
        for text in texts[::2]:
            counts.add(text)
        counts.add(texts[1::2])
        counts.add_files(tmp_path / "a.txt")
    assert len(tight._held.runs) > 3
    assert tight._held.table.memory <= 1 << 20
    found, wanted = (train_vocabulary(counts, 400) for counts in (tight, plain))
    assert found.ids == wanted.ids
    assert found.curve is not None
    assert wanted.curve is not None
    assert found.curve.n_bytes == wanted.curve.n_bytes
    tight.save(tmp_path / "tight")
    plain.save(tmp_path / "plain")
    assert (tmp_path / "tight").read_bytes() == (tmp_path / "plain").read_bytes()
    merged = WordCounts(pattern)
    merged.merge(tight)
    assert tight._held.runs, "none of these bring the runs together"
    assert merged.items() == plain.items() == tight.items()
    assert not tight._held.runs
    assert (len(tight), tight.total, tight.n_bytes) == (len(plain), plain.total, plain.n_bytes)
    with pytest.raises(ValueError, match="max_memory: got 5, takes 1048576"):
        WordCounts(max_memory=5)


def test_training_from_runs_is_the_same() -> None:
    texts = [
        " ".join(str(i * 7919) for i in range(at, at + 20_000)) for at in range(0, 100_000, 20_000)
    ]
    wanted = Tokenizer.train(texts, 500)
    found = Tokenizer.train(iter(texts), 500, max_memory=1 << 20)
    assert found.encode(texts[0]).tolist() == wanted.encode(texts[0]).tolist()
    assert found.compression_curve().token_counts.tolist() == (
        wanted.compression_curve().token_counts.tolist()
    )
