"""Cuts that follow the data: surprise, learnt chunks, adaptive patches; cuts fused in one."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

import tokfrag.compare.cuts.surprise as surprise  # noqa: E402
from tokfrag.compare import Samples, compare, parse_cut  # noqa: E402
from tokfrag.compare.batches import Part  # noqa: E402
from tokfrag.compare.body import Body  # noqa: E402
from tokfrag.compare.chunks import Chunker  # noqa: E402
from tokfrag.compare.cuts.surprise import ByteModel  # noqa: E402
from tokfrag.compare.problems import Classify, PredictNext  # noqa: E402
from tokfrag.compare.step import outputs_of, training_step  # noqa: E402
from tokfrag.compare.tasks.text import TextTask  # noqa: E402

TEXTS = [f"{i} the quick brown fox jumps over the lazy dog. " * 2 for i in range(60)]
RAW = [text.encode() for text in TEXTS]


@pytest.mark.parametrize(
    "name",
    [
        "entropy:4",
        "hnet:4",
        "quad:4",
        "quad:2/4@mean",
        "words:100+pairs@mean",
        "bpe:300++window:8",
        "pixels:16++patch:4",
        "mulaw:256/20",
        "mel:40",
        "mel:20x100/50",
        "items:4/2",
        "hashes:64",
        "smiles",
        "atoms:2",
    ],
)
def test_short_names_are_read_and_written_the_same(name: str) -> None:
    assert parse_cut(name).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("entropy:1", "patches of 1 bytes; it takes 2 to 64"),
        ("hnet:100", "chunks of 100; it takes 2 to 64"),
        ("quad:4/6", "the second 2, 4, 8"),
        ("quad:2x2", "one number for all axes"),
        ("mulaw:2", "4 to 65536"),
        ("mel:300", "2 bands to half the frame"),
        ("items:2/3", "takes items, items:SIZE/STRIDE"),
        ("atoms:9", "0 to 4 bonds"),
        ("words:0", "it takes 1 to"),
        ("bpe:300++patch", "SIZE or SIZE/STRIDE"),
    ],
)
def test_bad_short_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_cut(name)


# --- entropy


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_patches_by_surprise_hold_every_byte_once(texts: list[bytes], size: int) -> None:
    fitted = parse_cut(f"entropy:{size}").fit(Samples(RAW))
    pieces = fitted.cut(texts)
    assert fitted.decode is not None
    for row, length, text in zip(pieces.values, pieces.lengths, texts, strict=True):
        assert fitted.decode(row[:length]) == text


@given(st.binary(min_size=2, max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_where_a_patch_begins_depends_on_nothing_after(text: bytes, data: st.DataObject) -> None:
    model = ByteModel(RAW)
    place = data.draw(st.integers(1, len(text) - 1))
    other = text[:place] + data.draw(st.binary(min_size=1, max_size=10))
    assert np.array_equal(model.entropy(text)[: place + 1], model.entropy(other)[: place + 1])


def test_a_byte_model_is_the_same_however_few_are_counted_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = ByteModel(RAW)
    monkeypatch.setattr(surprise, "_SLICE", 37)
    monkeypatch.setattr(surprise, "_AT_ONCE", 5)
    few = ByteModel(RAW)
    for text in (*RAW, b"what it has never seen", b"ab", b""):
        assert np.allclose(whole.entropy(text), few.entropy(text), atol=1e-5)


def test_the_memory_of_a_byte_model_is_bounded() -> None:
    # As many contexts of three bytes as there are bytes: a row of 256 numbers each were 400 MB.
    texts = [np.random.default_rng(0).integers(0, 256, 400_000).astype(np.uint8).tobytes()]
    tracemalloc.start()
    ByteModel(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_the_byte_model_counts_as_a_reader_would() -> None:
    # After "ab" always "c": seen 3 times, with 4 parts of what "b" alone says.
    model = ByteModel([b"abcabcabc"])
    counts = np.ones(256)
    counts[[97, 98, 99]] += 3
    chances = counts / counts.sum()
    for _ in range(2):
        chances = 4.0 * chances
        chances[99] += 3
        chances /= 7
    entropy = -(chances * np.log2(chances)).sum()
    assert model.entropy(b"zabq")[3] == pytest.approx(model.entropy(b"abq")[2])
    assert model.entropy(b"abq")[2] == pytest.approx(entropy, rel=1e-4)


def test_patches_have_the_size_that_was_asked_for() -> None:
    for size in (3, 6):
        fitted = parse_cut(f"entropy:{size}").fit(Samples(RAW))
        made = fitted.cut(RAW).lengths.sum()
        assert 0.6 * size < sum(map(len, RAW)) / made < 1.4 * size


def test_a_network_that_knows_nothing_takes_eight_bits_a_byte_of_any_patch() -> None:
    samples = Samples(RAW[:5])
    fitted = parse_cut("entropy:4").fit(samples)
    problem = PredictNext()
    network = problem.network(fitted.spec, Body(width=16, depth=1, heads=2))
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    part = Part.of(problem, fitted.cut(samples.x), samples, fitted)
    score = problem.score(outputs_of(network, problem, part), samples, fitted)
    assert score == pytest.approx(8, abs=1e-5)


# --- learnt chunks


@pytest.mark.parametrize("causal", [True, False])
def test_chunks_see_no_future_and_learn_their_size(causal: bool) -> None:
    torch.manual_seed(0)
    chunker = Chunker(16, 1, 2, 4, causal=causal)
    x = torch.randn(2, 12, 16)
    before = chunker(x, None)
    for place in range(1, 12):
        changed = x.clone()
        changed[:, place:] += 1
        for mask in (None, torch.arange(12).expand(2, 12) > 0):
            # With a first place that holds nothing, as a text's has.
            whole, cut = chunker(x, mask), chunker(changed, mask)
            assert not causal or torch.allclose(whole[:, :place], cut[:, :place], atol=1e-5)
        same = torch.allclose(before[:, :place], chunker(changed, None)[:, :place], atol=1e-5)
        assert same or not causal
    assert not causal or chunker.extra_loss is not None


def test_the_ratio_loss_is_least_at_the_size_asked_for() -> None:
    chunker = Chunker(8, 1, 2, 4, causal=True)
    held = torch.ones(1, 400, dtype=torch.bool)
    losses = {}
    for share in (0.05, 0.25, 0.6):
        begins = torch.zeros(1, 400, dtype=torch.bool)
        begins[:, : int(400 * share)] = True
        losses[share] = float(chunker._ratio_loss(begins.float(), begins, held))
    assert losses[0.25] == min(losses.values())


def test_learnt_chunks_are_a_row_like_any_other() -> None:
    report = compare(TEXTS, ["hnet:4", "bytes", "entropy:4"], budget="30 steps", seeds=1)
    for row in report.rows[:3]:
        assert row.failures == []
        assert not row.honesty.lossy
        assert row.quality is not None
        assert row.quality < 7
    labels = np.arange(60) % 2
    report = compare((TEXTS, labels), ["hnet:4"], budget="2 steps", seeds=1)
    assert report.rows[0].failures == []
    refused = compare(TEXTS, ["bytes", "hnet:4"], budget="2 steps", seeds=1, model="recurrent")
    assert "learnt chunks: take body attention" in refused.rows[1].failures[0]


def test_the_extra_loss_is_used_once() -> None:
    samples = Samples(RAW[:4])
    fitted = parse_cut("hnet:4").fit(samples)
    problem = PredictNext()
    network = problem.network(fitted.spec, Body(width=16, depth=1, heads=2))
    part = Part.of(problem, fitted.cut(samples.x), samples, fitted)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.0)
    with torch.no_grad():
        plain = float(problem.loss(network(part.inputs), part.targets))
    told = training_step(network, problem, optimiser, part.inputs, part.targets)
    assert told > plain
    (chunker,) = [m for m in network.modules() if isinstance(m, Chunker)]
    assert chunker.extra_loss is None


# --- adaptive patches


@pytest.mark.parametrize("shape", [(32,), (16, 16), (12, 20), (8, 8, 8)])
def test_adaptive_patches_lie_side_by_side(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 2, *shape)).astype(np.float32)
    fitted = parse_cut("quad:2/8").fit(Samples(x))
    pieces = fitted.cut(x).values
    assert pieces.shape == (3, fitted.spec.n, 2 + len(shape) + 1, *(2,) * len(shape))
    # Level 0 is 8 wide, 1 is 4, 2 is 2: together they fill the samples, rounded up to 8.
    levels = pieces[:, :, -1].reshape(3, fitted.spec.n, -1)[..., 0] + 1
    cells = ((8.0 / 2**levels) ** len(shape)).sum(1)
    assert np.allclose(cells, math.prod(-(-s // 8) * 8 for s in shape))


def test_patches_are_small_where_something_happens() -> None:
    x = np.zeros((2, 1, 16, 16), np.float32)
    x[0, 0, :4, :4] = np.random.default_rng(0).normal(size=(4, 4))
    x[1, 0, 12:, 12:] = np.random.default_rng(1).normal(size=(4, 4))
    fitted = parse_cut("quad:1/8").fit(Samples(x))
    assert fitted.boxes_of is not None
    boxes = fitted.boxes_of(x[0])
    assert len(boxes) == fitted.spec.n
    assert sum((b - a) * (d - c) for (a, b), (c, d) in boxes) == 256
    assert all(b - a == 1 for (a, b), (c, _) in boxes if a < 4 and c < 4)
    pieces = fitted.cut(x).values[..., 0, 0]
    for sample, busy in zip(pieces, ((0, 0), (12, 12)), strict=True):
        where = (sample[:, 1:3] + 0.5) * 16
        smallest = sample[:, 3] == sample[:, 3].max()
        inside = np.all((where >= np.array(busy)) & (where < np.array(busy) + 4), axis=1)
        assert (inside & smallest).sum() == 16


# --- fusion


def test_a_fused_row_holds_both_branches_and_learns_from_either() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    pictures = rng.normal(size=(200, 1, 8, 8)).astype(np.float32)
    pictures[labels == 1, :, :4] += 1.5
    row = compare((pictures, labels), ["pixels:8++patch:4"], budget="60 steps", seeds=1).rows[0]
    assert row.failures == []
    assert row.quality is not None
    assert row.quality > 0.9
    texts = compare((TEXTS, labels[:60]), ["bpe:300++window:8"], budget="2 steps", seeds=1).rows[0]
    assert texts.failures == []
    assert texts.honesty.checked


def test_an_empty_text_has_a_fused_row_too() -> None:
    samples = Samples([b"abc", b""], np.array([0, 1]))
    fitted = parse_cut("bytes++window:2").fit(samples)
    problem = Classify(2)
    network = problem.network(fitted.spec, Body(width=16, depth=1, heads=2))
    x, _ = problem.tensors(fitted.cut(samples.x), samples, fitted)
    assert torch.isfinite(network(x)).all()


def test_fused_cuts_are_refused_where_pieces_are_told_one_by_one() -> None:
    with pytest.raises(ValueError, match=r"cut into ids|one answer a sample"):
        compare(TEXTS, ["bytes++window:2"], budget="2 steps", seeds=1)


# --- the same context in pieces


@pytest.mark.parametrize("cut", ["bytes", "bpe:300", "window:8/4", "entropy:4"])
def test_windows_of_pieces_ask_for_every_byte_once(cut: str) -> None:
    samples = Samples(RAW[:7])
    fitted = parse_cut(cut).fit(samples)
    pieces = fitted.cut(samples.x)
    whole, parts = PredictNext(), PredictNext(window=5)
    _, targets = whole.tensors(pieces, samples, fitted)
    x, windows = parts.tensors(pieces, samples, fitted)
    vocabulary = fitted.spec.vocabulary or 0
    assert x.shape[1] == 5
    assert torch.equal(targets[targets < vocabulary], windows[windows < vocabulary])
    part = Part.of(parts, pieces, samples, fitted)
    assert part.ragged
    assert int(part.lengths.sum()) == int(pieces.lengths.sum())
    network = parts.network(fitted.spec, Body(width=16, depth=1, heads=2))
    outputs = outputs_of(network, parts, part)
    values, weights = parts.items(outputs, samples, fitted)
    assert len(values) == len(samples)
    assert values @ weights / weights.sum() == pytest.approx(parts.score(outputs, samples, fitted))


def test_a_context_in_pieces_is_a_setting_of_text() -> None:
    task = TextTask(texts=TEXTS, pieces=16)
    assert "128 a sample, 16 pieces at a time" in task.about
    rows = compare(task, ["bytes", "bpe:300"], budget="3 steps", seeds=1).rows
    assert [row.failures for row in rows[:2]] == [[], []]
    with pytest.raises(ValueError, match="pieces: got 1; it takes 2 or more"):
        TextTask(texts=TEXTS, pieces=1)
