"""Training: batches without padding, a ladder from one training, a rate for each row."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

from tokfrag.compare import Budget, Recipe, Samples, compare, parse_cut  # noqa: E402
from tokfrag.compare.batches import Part  # noqa: E402
from tokfrag.compare.body import Body  # noqa: E402
from tokfrag.compare.budget import ladder  # noqa: E402
from tokfrag.compare.floors import count_bits  # noqa: E402
from tokfrag.compare.intervals import difference  # noqa: E402
from tokfrag.compare.measurement import StepFlops, count_flops  # noqa: E402
from tokfrag.compare.problems import Classify, PredictNext  # noqa: E402
from tokfrag.compare.runner import embedding_parameters  # noqa: E402
from tokfrag.compare.step import outputs_of  # noqa: E402
from tokfrag.compare.tasks.labels import LabelsTask  # noqa: E402
from tokfrag.compare.tasks.text import TextTask  # noqa: E402
from tokfrag.compare.training import climb  # noqa: E402
from tokfrag.compare.tuning import RateSearch  # noqa: E402

BODY = Body(width=16, depth=1, heads=2)


def text_part(name: str = "bpe:400") -> Part:
    rng = np.random.default_rng(0)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
    texts = [" ".join(rng.choice(words, rng.integers(4, 40))).encode() for _ in range(200)]
    samples = Samples(texts)
    fitted = parse_cut(name).fit(samples)
    return Part.of(PredictNext(), fitted.cut(texts), samples, fitted)


def test_the_default_text_holds_next_to_no_padding() -> None:
    samples = TextTask().split().train
    fitted = parse_cut("bpe:2048").fit(samples)
    part = Part.of(PredictNext(), fitted.cut(samples.x), samples, fitted)
    assert part.padding(8) < 0.05
    assert part.padding(32) < 0.05


def labelled_padding(task: LabelsTask) -> list[float]:
    """The padding of a task's own cuts, at its own batch."""
    samples, problem = task.split().train, task.problem()
    found = []
    for name in ("bytes", "bpe:1024", "bpe:2048+pairs@mean"):
        fitted = parse_cut(name).fit(samples)
        part = Part.of(problem, fitted.cut(samples.x), samples, fitted)
        found.append(part.padding(task.recipe.batch))
    return found


def test_texts_with_labels_hold_next_to_no_padding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["a", "film", "of", "quiet", "beauty", "and", "sadly", "no", "plot", "whatsoever"]
    # Reviews of 1 to 50 words, as in SST-2; most of the longest is empty in a batch at random.
    lines = [f"{i % 2} {' '.join(rng.choice(words, rng.integers(1, 50)))}" for i in range(2000)]
    path = tmp_path / "reviews.txt"
    path.write_text("\n".join(lines))
    assert max(labelled_padding(LabelsTask(path))) < 0.05


def test_bytes_and_characters_of_ascii_are_one_cut_within_the_noise() -> None:
    rng = np.random.default_rng(0)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
    texts = [" ".join(rng.choice(words, 8)) for _ in range(300)]
    recipe = Recipe(batch=8, width=16)
    rows = compare(texts, ["bytes", "chars"], budget="220 steps", seeds=2, recipe=recipe).rows[:2]
    scores = [row.scores() for row in rows]
    assert scores[0] is not None
    assert scores[1] is not None
    # Both have learnt: without that, they would be alike for nothing.
    assert all(score.mean < 3.5 for score in scores if score is not None)
    apart = difference(scores[1], scores[0], rows=[s for s in scores if s is not None])
    assert not apart.excludes_zero
    assert abs(apart.mean) < 0.1


def test_batches_are_trimmed_and_cover_every_sample() -> None:
    part = text_part()
    assert part.lengths is not None
    drawn = part.passes(8, np.random.default_rng(0))
    seen: list[int] = []
    for _ in range(len(part) // 8):
        index = next(drawn)
        x, y = part.batch(index)
        assert x.shape[1] == int(part.lengths[index].max()) == y.shape[1]
        seen += index.tolist()
    assert sorted(seen) == list(range(len(part)))


def test_trimming_changes_no_answer() -> None:
    torch.manual_seed(0)
    problem = PredictNext()
    samples = Samples([b"ab " * 9, b"cd", b"ef " * 4])
    fitted = parse_cut("bytes").fit(samples)
    part = Part.of(problem, fitted.cut(samples.x), samples, fitted)
    network = problem.network(fitted.spec, BODY)
    one_by_one = outputs_of(network, problem, part, items=1)
    together = outputs_of(network, problem, part, items=3)
    assert torch.allclose(one_by_one, together, atol=1e-4)


@pytest.mark.parametrize("cut", ["bpe:400", "window:6/3"])
def test_flops_between_the_asked_lengths_are_those_of_the_counter(cut: str) -> None:
    part = text_part(cut)
    problem = PredictNext()
    texts = Samples([b"the quick brown fox jumps over a lazy dog " * 5])
    network = problem.network(parse_cut(cut).fit(texts).spec, BODY)
    flops = StepFlops(network, problem, part, 4)
    for length in (3, 7, part.longest - 1):
        measured = count_flops(network, problem, *part.first(4, length))
        assert flops.at(length) == pytest.approx(measured, rel=1e-6)


def test_a_ladder_costs_little_more_than_its_last_rung() -> None:
    part, problem = text_part("bytes"), PredictNext()
    network = problem.network(parse_cut("bytes").fit(Samples([b"x" * 300])).spec, BODY)
    rungs = ladder("", ["24 steps", "96 steps", "384 steps"])[1]
    steps = []
    total = [0]

    def counted(_: float) -> None:
        total[0] += 1

    small = Part(part.inputs[:, :12], part.targets[:, :12])
    for share, trained, spent in climb(
        network,
        problem,
        small,
        budget=Budget("steps", 64),
        rungs=rungs,
        recipe=Recipe(),
        batch=2,
        seed=0,
        flops=StepFlops(network, problem, small, 2),
        on_progress=counted,
    ):
        assert isinstance(trained, torch.nn.Module)
        steps.append((share, spent.steps))
    assert steps == [(1 / 16, 4), (1 / 4, 16), (1.0, 64)]
    # A quarter of each lower rung is trained twice: once decaying, once going on.
    assert total[0] == 64 + 1 + 4


def test_a_rung_is_as_good_as_a_training_of_its_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1, 8)).astype(np.float32)
    task = (x, x[:, 0, ::2] * 2)
    how = Recipe(batch=16, tune=False)
    both = compare(task, ["patch:4"], budgets=["60 steps", "240 steps"], seeds=2, recipe=how)
    alone = compare(task, ["patch:4"], budgets=["60 steps"], seeds=2, recipe=how)
    lower, apart = both.rows[0].quality_at(0), alone.rows[0].quality_at(-1)
    assert lower is not None
    assert apart is not None
    whole = both.rows[0].quality
    assert whole is not None
    assert whole < lower.mean / 2
    assert abs(lower.mean - apart.mean) < 0.25 * apart.mean


def test_the_rate_search_widens_at_its_edge_and_prefers_the_lower_for_long() -> None:
    search = RateSearch(1.0, lambda rate, share: abs(math.log(rate / 15)) + 0.0 * share)
    assert search.best() == pytest.approx(2.5**3)
    assert max(search.tried) == 4
    low = RateSearch(1.0, lambda rate, share: abs(math.log(rate / (2.4 if share < 0.1 else 1))))
    assert low.best() == 1.0

    # Nearly level at a quarter: the whole training is longer still, and prefers the lower.
    def sloped(by: float, margin: float) -> float:
        def loss(rate: float, share: float) -> float:
            return 1 + abs(math.log(rate)) * (by + (share < 0.1))

        return RateSearch(1.0, loss, margin).best()

    assert sloped(0.015, 0.02) == pytest.approx(1 / 2.5)
    assert sloped(0.03, 0.02) == sloped(0.015, 0.0) == 1.0
    # The lower fails where it is tried for longer.
    alone = RateSearch(1.0, lambda r, s: math.inf if s > 0.1 and r < 1 else 1 + abs(math.log(r)))
    assert alone.best() == 1.0
    failing = RateSearch(1.0, lambda rate, share: math.inf if rate > 0.5 else rate)
    assert failing.best() < 0.5


def test_every_row_has_the_same_parameters_outside_the_embedding() -> None:
    samples = Samples(np.random.default_rng(0).normal(size=(8, 1, 8, 8)).astype(np.float32))
    problem = Classify(10)
    found = set()
    for name in ("pixels:16", "patch:2", "patch:4/2", "patch:4", "whole"):
        network = problem.network(parse_cut(name).fit(samples).spec, Body())
        found.add(sum(p.numel() for p in network.parameters()) - embedding_parameters(network))
    assert len(found) == 1
    texts = Samples([b"the quick brown fox jumps over a lazy dog " * 5])
    found = set()
    for name in ("bytes", "chars", "bpe:270", "window:8/4"):
        network = PredictNext().network(parse_cut(name).fit(texts).spec, Body())
        found.add(sum(p.numel() for p in network.parameters()) - embedding_parameters(network))
    assert len(found) == 1


def test_a_text_pays_for_its_vocabulary_once() -> None:
    texts = Samples([b"the quick brown fox jumps over a lazy dog " * 5])
    spec = parse_cut("bpe:270").fit(texts).spec
    network = PredictNext().network(spec, BODY)
    tables = [p for p in network.parameters() if spec.vocabulary in p.shape or 271 in p.shape]
    assert sum(p.numel() for p in tables) == 271 * 16 + 270


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=6))
def test_counting_is_what_it_says(rows: list[list[int]]) -> None:
    train, test = np.array(rows[1:]), np.array(rows[:1])
    flat = [i for row in rows[1:] for i in row]
    share = [(flat.count(i) + 1) / (len(flat) + 4) for i in range(4)]
    alone = -sum(math.log2(share[i]) for i in rows[0])
    pairs = [(a, b) for row in rows[1:] for a, b in pairwise(row)]
    paired = -math.log2(share[rows[0][0]])
    for a, b in pairwise(rows[0]):
        seen = sum(1 for first, _ in pairs if first == a)
        paired -= math.log2((pairs.count((a, b)) + 8 * share[b]) / (seen + 8))
    assert count_bits(train, test, 4) == pytest.approx((alone, paired))


def test_budgets_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="give them rising"):
        ladder("", ["20 steps", "10 steps"])
    with pytest.raises(ValueError, match="different kinds"):
        ladder("", ["20 steps", "10 s"])
    assert ladder("100 steps")[1] == (0.25, 1.0)
    assert ladder("5 steps")[1] == (1.0,)


def test_the_floor_of_quantised_pixels_knows_their_places() -> None:
    from tokfrag.compare.tasks.digits import DigitsTask

    pytest.importorskip("sklearn")
    split = DigitsTask().split()
    fitted = parse_cut("pixels:16").fit(split.train)
    train, test = fitted.cut(split.train.x), fitted.cut(split.test.x)
    _, second = Classify(10).floors((train, split.train), (test, split.test), fitted)
    assert second.score > 0.9
