"""Byte-pair training: native against the twin and against Hugging Face's trainer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag._core import training as native
from tokfrag.reference import bpe_training as reference
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.training.byte_pair import extend_vocabulary, train_vocabulary
from tokfrag.tokens.training.word_counts import WordCounts
from tokfrag.tokens.vocabulary import Vocabulary

ALPHABET = reference.byte_alphabet()


def byte_level(token: bytes) -> str:
    return "".join(ALPHABET[byte] for byte in token)


def twin(
    counts: WordCounts,
    vocab_size: int,
    specials: list[str],
    min_frequency: int = 0,
    max_token_length: int | None = None,
) -> tuple[list[bytes], list[reference.Merge], list[int]]:
    tokens, byte_ids, _ = reference.first_tokens(specials)
    words = [([byte_ids[byte] for byte in word], count) for word, count in counts.items()]
    return reference.train(
        words,
        tokens,
        vocab_size,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
    )


def hugging_face(
    texts: list[str], vocab_size: int, *, specials: list[str] | None = None, **options: int
) -> tuple[dict[str, int], list[list[str]]]:
    tokenizers = pytest.importorskip("tokenizers")
    byte_level = tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials or [],
        initial_alphabet=byte_level.alphabet(),
        show_progress=False,
        **options,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], model["merges"]


def as_hugging_face(vocabulary: Vocabulary) -> tuple[dict[str, int], list[list[str]]]:
    ids = {byte_level(token): id for token, id in vocabulary.ids.items()}
    return (
        {**vocabulary.special_tokens, **ids},
        [[byte_level(left), byte_level(right)] for left, right in vocabulary.merge_pairs],
    )


texts = st.lists(st.text("aab bc\n", max_size=60) | st.text(max_size=20), max_size=6)
long_words = st.lists(st.text("ab", min_size=60, max_size=200), min_size=1, max_size=3)
options = st.fixed_dictionaries(
    {
        "min_frequency": st.integers(0, 4),
        "max_token_length": st.none() | st.integers(1, 6),
    }
)


@settings(max_examples=150)
@given(texts | long_words, st.integers(0, 40), options)
def test_twin(texts: list[str], extra: int, options: dict[str, int]) -> None:
    counts = WordCounts("gpt2")
    counts.add(texts)
    vocabulary = train_vocabulary(counts, 258 + extra, special_tokens=["<s>", "</s>"], **options)
    tokens, merges, token_counts = twin(counts, 258 + extra, ["<s>", "</s>"], **options)
    assert [tuple(merge) for merge in vocabulary.merges.tolist()] == merges
    assert vocabulary.tokens[2:] == tokens[2:]
    assert vocabulary.curve is not None
    assert vocabulary.curve.token_counts.tolist() == token_counts
    assert vocabulary.curve.n_bytes == sum(len(text.encode()) for text in texts)


@settings(max_examples=100)
@given(
    texts | long_words,
    st.integers(0, 40),
    options,
    st.lists(st.sampled_from(["<s>", "the", "a", "ab", "Ġb", "é"]), unique=True, max_size=3),
)
def test_hugging_face(
    texts: list[str], extra: int, options: dict[str, int], specials: list[str]
) -> None:
    counts = WordCounts("gpt2")
    counts.add(texts)
    size = 259 + extra
    ours = train_vocabulary(counts, size, special_tokens=specials, **options)
    given = {name: value for name, value in options.items() if value is not None}
    vocab, merges = hugging_face(texts, size, specials=specials, **given)
    assert as_hugging_face(ours) == (vocab, merges)


@pytest.mark.parametrize("vocab_size", [8192, 32768])
@pytest.mark.parametrize("name", ["english", "code", "multilingual"])
def test_corpora_as_hugging_face(data: Path, name: str, vocab_size: int) -> None:
    text = (data / f"{name}.txt").read_text(encoding="utf-8")[:2_000_000]
    documents = [text[at : at + 3000] for at in range(0, len(text), 3000)]
    counts = WordCounts("gpt2")
    counts.add(documents)
    ours = train_vocabulary(counts, vocab_size, special_tokens=["<|endoftext|>"])
    assert as_hugging_face(ours) == hugging_face(documents, vocab_size, specials=["<|endoftext|>"])


def test_files_as_hugging_face(data: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    path = tmp_path / "text.txt"
    path.write_bytes((data / "code.txt").read_bytes()[:1_000_000] + b"\n\n  last line")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=3000,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(path)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    counts = WordCounts("gpt2")
    counts.add_files(path)
    assert as_hugging_face(train_vocabulary(counts, 3000)) == (model["vocab"], model["merges"])


@settings(max_examples=100)
@given(texts | long_words, st.integers(0, 20), st.integers(0, 20), st.data())
def test_extend_goes_on_where_training_stopped(
    texts: list[str], first: int, more: int, draw: st.DataObject
) -> None:
    counts = WordCounts("gpt2")
    counts.add(texts)
    specials = draw.draw(st.sampled_from([[], ["<s>"], ["a", "<s>"], ["ab", "aab"]]))
    size = 258 + first
    small = train_vocabulary(counts, size, special_tokens=specials)
    whole = train_vocabulary(counts, size + more, special_tokens=specials)
    extended = extend_vocabulary(small, counts, size + more)
    assert extended.ids == whole.ids
    assert np.array_equal(extended.merges, whole.merges)
    assert small.curve is not None
    assert extended.curve is not None
    assert extended.curve.token_counts[0] == small.curve.token_counts[-1]


def test_specification_and_back() -> None:
    counts = WordCounts("gpt2")
    counts.add(["low lower lowest slow"])
    vocabulary = train_vocabulary(counts, 262, special_tokens=["<s>"])
    model = BytePair.make(vocabulary.specification("gpt2", whole_pieces=False).model, ())
    again = Vocabulary.of_model(model, vocabulary.special_tokens)
    assert again.ids == vocabulary.ids
    assert np.array_equal(again.merges, vocabulary.merges)
    assert again.tokens == vocabulary.tokens


def test_extend_ranks() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 300}
    counts = WordCounts(None)
    counts.add(["abcabc"] * 3)
    extended = extend_vocabulary(Vocabulary.from_ranks(ranks, {"<end>": 301}), counts, 303)
    assert extended.ids[b"abcabc"] == 302
    assert extended.special_tokens == {"<end>": 301}
    with pytest.raises(ValueError, match="no token for byte 0x00"):
        extend_vocabulary(Vocabulary({b"a": 0}, np.zeros((0, 3), np.uint32)), counts, 300)


merge_lists = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), unique=True, max_size=12)


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.integers(0, 3), max_size=30), min_size=1, max_size=4),
    merge_lists,
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.integers(0, 2**64 - 1),
)
def test_merge_rules(
    words: list[list[int]], pairs: list[tuple[int, int]], dropout: float, seed: int
) -> None:
    merges = [(*pair, 6 + rank) for rank, pair in enumerate(pairs)]
    offsets = np.cumsum([0, *map(len, words)], dtype=np.int64)
    rules = native.MergeRules(np.array(merges, np.uint32).reshape(-1, 3))
    flat = np.array([symbol for word in words for symbol in word], np.uint32)
    ids, ends = rules.apply(flat, offsets, dropout, seed)
    for index, word in enumerate(words):
        expected = reference.apply_merges(
            word, merges, dropout=dropout, random=reference.SplitMix(seed, index)
        )
        assert ids[ends[index] : ends[index + 1]].tolist() == expected


def test_counts_beyond_32_bits() -> None:
    # The pair that Hugging Face's 32-bit counts lose: (a, b) occurs 2.25e9 times.
    counts = WordCounts(None)
    counts.add_counts({b"ab" * 15_000 + b"c": 150_000})
    vocabulary = train_vocabulary(counts, 257)
    assert vocabulary.tokens[256] == b"ab"
    big = WordCounts(None)
    big.add_counts({b"xy": 2**62 - 1, b"yz": 2**61})
    with pytest.raises(OverflowError):
        train_vocabulary(big, 257)
    fits = WordCounts(None)
    fits.add_counts({b"xy": 2**61, b"yz": 2**61 - 1})
    assert train_vocabulary(fits, 257).tokens[256] == b"xy"


@pytest.mark.parametrize(("words", "longest"), [(1500, 12), (250, 200)])
def test_threads_change_nothing(words: int, longest: int) -> None:
    """Merges of many places are shared out, those of long words where a word ends."""
    random = np.random.default_rng(longest)
    counts = WordCounts(None)
    for length in random.integers(2, longest, words):
        word = random.choice(np.frombuffer(b"abcdab", np.uint8), length).tobytes()
        counts.add_counts({word: int(length) % 7 + 1})
    alone = train_vocabulary(counts, 256 + 60, threads=1)
    assert alone.curve is not None
    for threads in (2, 7):
        shared = train_vocabulary(counts, 256 + 60, threads=threads)
        assert shared.curve is not None
        np.testing.assert_array_equal(shared.merges, alone.merges)
        np.testing.assert_array_equal(shared.curve.token_counts, alone.curve.token_counts)
    _, merges, token_counts = twin(counts, 256 + 10, [])
    assert [tuple(merge) for merge in alone.merges[:10].tolist()] == merges
    assert alone.curve.token_counts[:11].tolist() == token_counts


def test_curve() -> None:
    counts = WordCounts("gpt2")
    counts.add(["low lower lowest slow"])
    curve = train_vocabulary(counts, 262).curve
    assert curve is not None
    assert curve.vocab_sizes.tolist() == [256, 257, 258, 259, 260, 261, 262]
    assert curve.bytes_per_token[0] == 1.0
    assert curve.bytes_per_token[-1] == 21 / curve.token_counts[-1]
    assert (np.diff(curve.token_counts) < 0).all()
    assert curve.vocab_size_for(1.0) == 256
    assert curve.vocab_size_for(100.0) is None


def test_arguments() -> None:
    counts = WordCounts("gpt2")
    counts.add(["a"])
    with pytest.raises(ValueError, match=r"vocab_size: got 256, takes at least 257"):
        train_vocabulary(counts, 256, special_tokens=["<s>"])
    with pytest.raises(TypeError, match="vocab_size"):
        train_vocabulary(counts, "300")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_frequency"):
        train_vocabulary(counts, 300, min_frequency=-1)
    with pytest.raises(ValueError, match="max_token_length"):
        train_vocabulary(counts, 300, max_token_length=0)
    with pytest.raises(TypeError, match="special_tokens"):
        train_vocabulary(counts, 300, special_tokens="<s>")
    with pytest.raises(ValueError, match="twice"):
        train_vocabulary(counts, 300, special_tokens=["<s>", "<s>"])
    assert len(train_vocabulary(WordCounts("gpt2"), 300).merges) == 0


def run(code: str, *, timeout: float = 120, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_word_of_ten_million_symbols() -> None:
    run("""
        import numpy as np
        from tokfrag.tokens.training.byte_pair import train_vocabulary
        from tokfrag.tokens.training.word_counts import WordCounts
        letters = np.random.default_rng(0).integers(97, 101, 10**7, dtype=np.uint8).tobytes()
        counts = WordCounts(None)
        counts.add([b"a" * 10**7])
        tokens = train_vocabulary(counts, 300).tokens
        assert tokens[256:275] == [b"a" * 2**k for k in range(1, 20)]
        counts = WordCounts(None)
        counts.add([letters])
        vocabulary = train_vocabulary(counts, 400)
        assert vocabulary.size == 400
        assert vocabulary.curve.token_counts[0] == 10**7 > 2 * vocabulary.curve.token_counts[-1]
    """)


def test_ten_million_words_of_one_character() -> None:
    run("""
        from tokfrag.tokens.training.byte_pair import train_vocabulary
        from tokfrag.tokens.training.word_counts import WordCounts
        counts = WordCounts(None)
        counts.add(["x"] * 10**7)
        assert counts.items() == [(b"x", 10**7)]
        assert len(train_vocabulary(counts, 1000).merges) == 0
    """)


def test_all_counts_equal_is_not_slow() -> None:
    run("""
        from tokfrag.tokens.training.byte_pair import train_vocabulary
        from tokfrag.tokens.training.word_counts import WordCounts
        counts = WordCounts(None)
        counts.add_counts((f"{i:06x}".encode(), 1) for i in range(200_000))
        train_vocabulary(counts, 20_000)
    """)


@pytest.mark.parametrize("isa", ["baseline", "v3", "v4"])
def test_same_result_for_any_path(data: Path, isa: str) -> None:
    code = """
        import hashlib, sys
        from tokfrag.tokens.training.byte_pair import train_vocabulary
        from tokfrag.tokens.training.word_counts import WordCounts
        for threads in (1, 2, 5):
            counts = WordCounts("cl100k")
            counts.add(open(sys.argv[1], "rb").read(2_000_000), threads=threads)
            vocabulary = train_vocabulary(counts, 2000)
            print(hashlib.sha256(vocabulary.merges.tobytes()).hexdigest())
    """
    code = code.replace("sys.argv[1]", repr(str(data / "multilingual.txt")))
    if isa not in native_isas():
        pytest.skip(f"this machine has no {isa}")
    lines = run(code, TOKFRAG_ISA=isa).split() + run(code, TOKFRAG_ISA="baseline").split()
    assert len(set(lines)) == 1


def native_isas() -> list[str]:
    from tokfrag._core import supported_isas

    return supported_isas()


def test_interrupt_within_a_tenth_of_a_second() -> None:
    code = textwrap.dedent("""
        import time
        import numpy as np
        from tokfrag.tokens.training.byte_pair import train_vocabulary
        from tokfrag.tokens.training.word_counts import WordCounts
        counts = WordCounts(None)
        letters = np.random.default_rng(0).integers(97, 123, (500_000, 12), dtype=np.uint8)
        counts.add([row.tobytes() for row in letters])
        before = len(counts)
        print("ready", flush=True)
        try:
            while True:
                train_vocabulary(counts, 500_000)
        except KeyboardInterrupt:
            print(time.time(), before == len(counts), flush=True)
    """)
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            sent = time.time()
            process.send_signal(signal.SIGINT)
            stopped, same = process.stdout.readline().split()
            assert float(stopped) - sent < 1.0  # 0.1 s where nothing else runs
            assert same == "True"
        finally:
            process.kill()
