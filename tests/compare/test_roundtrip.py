"""No lossy tokenizer is ever best: what is thrown away is found, named and charged."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

from tokfrag.compare import Samples, TokenizerCut, compare  # noqa: E402
from tokfrag.compare.roundtrip import round_trip  # noqa: E402
from tokfrag.tokens import Tokenizer  # noqa: E402

TEXT = ["the quick brown fox, 12 of them, jumps over the lazy dog; " * 3] * 30


class FourBytes:
    """One id for every four bytes; decodes to what it remembers."""

    vocab_size = 2

    def __init__(self) -> None:
        self.memory: dict[int, str] = {}

    def encode(self, text: str) -> list[int]:
        self.memory[len(text)] = text
        return [0] * (len(text) // 4)

    def decode(self, ids: list[int]) -> str:
        return next((t for n, t in self.memory.items() if n // 4 == len(ids)), "")


class Lower:
    """Letters only, in lower case."""

    vocab_size = 128

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text.lower() if c.isalpha() and ord(c) < 128]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


class Unknown:
    """Knows two words; all else is one id."""

    n_vocab = 3

    def encode(self, text: str) -> list[int]:
        return [("the", "fox").index(w) if w in ("the", "fox") else 2 for w in text.split()]

    def decode(self, ids: list[int]) -> str:
        return " ".join(("the", "fox", "?")[i] for i in ids)


class Silent(Lower):
    """Keeps everything, and cannot show it."""

    decode = None  # type: ignore[assignment]

    def encode(self, text: str) -> list[int]:
        return [ord(c) for c in text]


@pytest.mark.parametrize("tokenizer", [FourBytes(), Lower(), Unknown(), Silent()])
def test_a_lossy_tokenizer_is_named_charged_and_never_best(tokenizer: object) -> None:
    texts = [f"{i} {text}" for i, text in enumerate(TEXT)]
    report = compare(texts, ["bytes", tokenizer], budget="3 steps", seeds=1)
    row = report.rows[1]
    assert row.honesty.lossy
    assert row.honesty.lost_bytes > 0
    assert not row.ranked
    assert row not in report.ties()
    assert not report.on_front(row)
    assert f"{row.name}: LOSSY" in report.table()


def test_losses_are_charged_at_the_price_of_byte_frequencies() -> None:
    class Nothing:
        vocab_size = 1

        def encode(self, text: str) -> list[int]:
            return [0]

        def decode(self, ids: list[int]) -> str:
            return ""

    texts = [f"{i} {text}" for i, text in enumerate(TEXT)]
    report = compare(texts, ["bytes", Nothing()], budget="2 steps", seeds=1)
    frequencies = next(row for row in report.rows if row.name == "byte frequencies")
    assert report.rows[1].quality == pytest.approx(frequencies.quality, rel=1e-3)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"), min_size=1))
def test_random_lossy_maps_are_found(swaps: dict[str, str]) -> None:
    table = str.maketrans(swaps)

    class Mapped:
        vocab_size = 128

        def encode(self, text: str) -> list[int]:
            return [ord(c) for c in text.translate(table)]

        def decode(self, ids: list[int]) -> str:
            return "".join(map(chr, ids))

    texts = [b"abcdefgh", b"hgfedcba and more"]
    fitted = TokenizerCut(Mapped()).fit(Samples(texts))
    found = round_trip(texts, fitted.cut(texts), fitted)
    same = all(text.decode().translate(table).encode() == text for text in texts)
    assert found.lossless == same
    if not same:
        assert found.lost is not None
        assert found.lost.sum() > 0


def test_pieces_cut_off_are_a_loss() -> None:
    class Doubled:
        vocab_size = 128

        def encode(self, text: str) -> list[int]:
            return [ord(c) for c in text for _ in (0, 1)]

        def decode(self, ids: list[int]) -> str:
            return "".join(chr(i) for i in ids[::2])

    # Learnt on short texts, so that a long one has more pieces than there is room for.
    fitted = TokenizerCut(Doubled()).fit(Samples([b"short"]))
    texts = [b"much longer than that"]
    assert not round_trip(texts, fitted.cut(texts), fitted).lossless


@pytest.mark.parametrize("cut", ["bytes", "chars", "bpe:300", "window:4", "window:8/3"])
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=5))
@settings(max_examples=25)
def test_shipped_cuts_give_back_every_text(cut: str, texts: list[str]) -> None:
    from tokfrag.compare import parse_cut

    raw = [text.encode("utf-8", "ignore") for text in texts]
    fitted = parse_cut(cut).fit(Samples([text.encode() for text in TEXT] + raw))
    assert round_trip(raw, fitted.cut(raw), fitted).lossless


def test_a_wordpiece_of_another_language_is_lossy(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a"]))
    chinese = ["\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed" * 3] * 40
    report = compare(chinese, ["bytes", f"wordpiece:{vocabulary}"], budget="2 steps", seeds=1)
    row = report.rows[1]
    assert row.honesty.lossy
    assert row.facts is not None
    assert row.facts.unknown == 1


def test_one_vocabulary_through_three_libraries_has_one_score() -> None:
    tiktoken = pytest.importorskip("tiktoken")
    pattern = r" ?[a-z]+| ?[0-9]+|[^a-z0-9 ]+| +"
    ours = Tokenizer.train(iter(TEXT), 300, pattern=pattern)
    theirs = tiktoken.Encoding(
        "x",
        pat_str=pattern,
        mergeable_ranks={ours.decode_bytes(np.array([i])): i for i in range(ours.vocab_size)},
        special_tokens={},
    )
    texts = [f"{i} {text}" for i, text in enumerate(TEXT)]
    cuts = [ours, theirs, ours.as_huggingface()]
    report = compare(texts, cuts, budget="4 steps", seeds=1)
    assert [row.honesty.lossy for row in report.rows[:3]] == [False] * 3, report.table()
    first, *others = (row.quality for row in report.rows[:3])
    for score in others:
        assert score == pytest.approx(first, abs=1e-9)


def test_gpt2_through_three_libraries_has_one_score(data: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    vocabulary = data / "vocab" / "r50k_base.tiktoken"
    lines = [line.split() for line in vocabulary.read_bytes().splitlines()]
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in lines}
    end = {"<|endoftext|>": len(ranks)}
    theirs = tiktoken.Encoding(
        "gpt2",
        pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        mergeable_ranks=ranks,
        special_tokens=end,
    )
    ours = Tokenizer.from_tiktoken(vocabulary, pattern="gpt2", special_tokens=end)
    hugging = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(
            gzip.decompress((data / "vocab" / "gpt2_tokenizer.json.gz").read_bytes()).decode()
        )
    )
    text = (data / "english.txt").read_text("utf-8")[:6000]
    texts = [text[i : i + 100] for i in range(0, len(text), 100)]
    report = compare(texts, [ours, theirs, hugging], budget="2 steps", seeds=1)
    assert [row.honesty.lossy for row in report.rows[:3]] == [False] * 3, report.table()
    first, *others = (row.quality for row in report.rows[:3])
    for score in others:
        assert score == pytest.approx(first, abs=1e-9)


def test_special_tokens_stay_off() -> None:
    class WithStart(Silent):
        """Adds an id of its own in front, unless told not to."""

        vocab_size = 129

        def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
            return [128] * add_special_tokens + [ord(c) for c in text]

    fitted = TokenizerCut(WithStart()).fit(Samples([b"abc"]))
    assert fitted.cut([b"abc"]).values.tolist() == [[97, 98, 99]]


def test_ids_past_the_vocabulary_are_refused_and_never_padding() -> None:
    class Past(Lower):
        vocab_size = 128

        def encode(self, text: str) -> list[int]:
            return [128] + [ord(c) for c in text]

    texts = [f"{i} {text}" for i, text in enumerate(TEXT)]
    report = compare(texts, ["bytes", Past()], budget="2 steps", seeds=1)
    assert report.rows[1].quality is None
    assert "ids: got 128; the tokenizer tells a vocabulary of 128" in report.table()


def test_two_tokenizers_of_one_size_are_two_rows() -> None:
    texts = [f"{i} {text}" for i, text in enumerate(TEXT)]
    one, two = Tokenizer.train(iter(TEXT), 280), Tokenizer.train(iter(texts), 280)
    report = compare(texts, [one, two], budget="2 steps", seeds=1)
    assert [row.name for row in report.rows[:2]] == ["tokenizer:280", "tokenizer:280#2"]
    with pytest.raises(ValueError, match="twice"):
        compare(texts, [one, one], budget="2 steps", seeds=1)


def test_bits_add_up_from_single_pieces() -> None:
    from tokfrag.compare.batches import Part
    from tokfrag.compare.body import Body
    from tokfrag.compare.cuts.names import parse_cut
    from tokfrag.compare.problems import PredictNext
    from tokfrag.compare.step import outputs_of

    texts = [b"the quick brown fox", b"jumps", b"over the lazy dog and on"]
    samples, problem = Samples(texts), PredictNext()
    for name in ("bytes", "bpe:270", "window:4", "window:6/4"):
        fitted = parse_cut(name).fit(Samples([t.encode() for t in TEXT]))
        pieces = fitted.cut(texts)
        part = Part.of(problem, pieces, samples, fitted)
        torch.manual_seed(0)
        network = problem.network(fitted.spec, Body(width=16, depth=1, heads=2))
        score = problem.score(outputs_of(network, problem, part), samples, fitted)
        bits = size = 0.0
        network.eval()
        for i in range(len(texts)):
            row = pieces.values[i, : pieces.lengths[i]]
            with torch.no_grad():
                logits = network(torch.from_numpy(row[None]))[0].log_softmax(-1)
            new = row.reshape(len(row), -1)[:, -fitted.spec.fresh :].reshape(-1)
            bits -= sum(
                float(logits[place, unit]) / np.log(2)
                for place, unit in enumerate(new)
                if unit < fitted.spec.vocabulary
            )
            assert fitted.decode is not None
            size += len(fitted.decode(row))
        assert size == samples.raw_bytes
        assert score == pytest.approx(bits / size, rel=1e-5)


@given(st.binary(min_size=520, max_size=700), st.integers(0, 519))
@settings(max_examples=20)
def test_of_long_texts_no_loss_is_free(text: bytes, place: int) -> None:
    from tokfrag.compare.roundtrip import _lost_bytes

    gone = text[:place] + text[place + 1 :]
    assert _lost_bytes(text, gone).sum() == 1
    assert _lost_bytes(text, gone)[text[place]] == 1
    # Nothing missing, only another order or something more: that is not free either.
    assert _lost_bytes(text, text + b"!").sum() == 1
