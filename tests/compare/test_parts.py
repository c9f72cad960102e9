"""The three parts of the data, and that nothing stands in two of them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.compare import Samples, Split
from tokfrag.compare.parts import SHINGLE, in_parts, rehearsed, shared_share
from tokfrag.compare.tasks.text import TextTask


def test_the_default_text_shares_nothing_between_its_parts() -> None:
    parts = in_parts(TextTask().split())
    assert parts.removed > 0
    assert shared_share(parts.learn.x, parts.judge.x) == 0
    assert shared_share(parts.choose.x, parts.judge.x) == 0
    assert shared_share(parts.learn.x, parts.choose.x) == 0
    # Little is lost by it.
    assert parts.removed < 0.12 * len(TextTask().split().train)


def share_a_string(one: bytes, other: bytes) -> bool:
    """The obvious twin: every string of 32 bytes of one, looked for in the other."""
    if len(one) < SHINGLE or len(other) < SHINGLE:
        return one == other
    return any(one[i : i + SHINGLE] in other for i in range(len(one) - SHINGLE + 1))


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=3), min_size=4, max_size=8), st.data())
def test_near_duplicates_are_found(seeds: list[bytes], data: st.DataObject) -> None:
    texts = [(seed * 30)[: data.draw(st.integers(1, 70))] or b"x" for seed in seeds]
    texts = [b"kept to learn from, whatever comes", *texts]
    train, choose, test = texts[:-2], [b"a text to choose on that is like no other"], texts[-1:]
    parts = in_parts(Split(Samples(train), Samples(test), Samples(choose)))
    kept = [t for t in train if not any(share_a_string(t, other) for other in test + choose)]
    if 2 * len(kept) < len(train):
        assert (parts.learn.x, parts.shared) == (train, len(train) - len(kept))
    else:
        assert (parts.learn.x, parts.removed) == (kept, len(train) - len(kept))


def test_copies_of_arrays_are_taken_out() -> None:
    x = np.random.default_rng(0).normal(size=(30, 1, 4)).astype(np.float32)
    train = Samples(np.concatenate((x[:20], x[25:27])), np.arange(22))
    parts = in_parts(Split(train, Samples(x[20:], np.arange(10))))
    assert parts.removed == 2
    assert "2 samples left out" in str(parts.note)
    assert len(parts.learn) + len(parts.choose) == 20


def test_parts_that_are_copies_stay_and_are_told() -> None:
    texts = [b"the same text for everybody, long enough to tell"] * 20
    parts = in_parts(Split(Samples(texts[:15]), Samples(texts[15:])))
    assert (len(parts.learn), len(parts.choose), parts.removed) == (14, 1, 0)
    assert "the parts are not apart: 15 samples" in str(parts.note)


def test_a_series_chooses_between_learning_and_judging() -> None:
    from tokfrag.compare.tasks.series import SeriesTask

    pytest.importorskip("matplotlib")
    split = SeriesTask(look_back=48, horizon=8, test_samples=50).split()
    assert split.choose is not None
    assert len(split.choose) == 50
    assert split.test.groups is not None
    # Windows that overlap are drawn together.
    assert len(np.unique(split.test.groups)) < len(split.test)


@pytest.mark.parametrize("what", ["x", "y"])
@pytest.mark.parametrize("part", ["train", "test", "choose"])
def test_values_that_are_not_finite_are_refused(what: str, part: str) -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 1, 5))
    samples = {
        n: Samples(v, v.copy()) for n, v in zip(("train", "test", "choose"), values, strict=True)
    }
    in_parts(Split(**samples))
    getattr(samples[part], what)[1, 0, 2] = np.nan
    with pytest.raises(ValueError, match=rf"data: 1 of 20 values of {what} are NaN or infinite"):
        in_parts(Split(**samples))


def test_data_with_nothing_to_judge_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 samples to learn from, none to be judged on"):
        in_parts(Split(Samples([b"a", b"b"]), Samples([])))


@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_groups_are_on_one_side_of_learning_and_choosing(
    sizes: list[int], order: random.Random
) -> None:
    groups = [number for number, size in enumerate(sizes) for _ in range(size)]
    order.shuffle(groups)
    x = np.arange(len(groups), dtype=np.float32).reshape(-1, 1, 1)
    judge = Samples(-1 - x, np.zeros(len(x)))
    parts = in_parts(Split(Samples(x, np.zeros(len(x)), np.array(groups)), judge))
    assert len(parts.learn) + len(parts.choose) == len(groups)
    assert parts.learn.groups is not None
    assert parts.choose.groups is not None
    assert not set(parts.learn.groups.tolist()) & set(parts.choose.groups.tolist())
    # The last groups, and no more of them than hold a tenth.
    last = min(parts.choose.groups)
    assert last > max(parts.learn.groups)
    assert sum(sizes[last + 1 :]) < max(1, len(groups) // 10)


def test_one_group_is_parted_sample_by_sample() -> None:
    x = np.arange(40, dtype=np.float32).reshape(-1, 1, 1)
    learn = Samples(x, np.zeros(40), np.zeros(40, np.int64))
    parts = in_parts(Split(learn, Samples(-1 - x, np.zeros(40))))
    assert (len(parts.learn), len(parts.choose)) == (36, 4)


def test_a_rehearsal_holds_no_sample_of_the_judging_part() -> None:
    x = np.arange(400, dtype=np.float32).reshape(-1, 1, 1)
    split = Split(Samples(x[:300], np.zeros(300)), Samples(x[300:], np.zeros(100)))
    whole = in_parts(split)
    tried = rehearsed(whole)
    assert np.array_equal(tried.judge.x, whole.choose.x)
    held = np.concatenate([tried.learn.x, tried.choose.x, tried.judge.x])
    assert np.array_equal(np.unique(held), x[:300, 0, 0])


def test_texts_that_are_sorted_by_label_are_drawn_and_a_running_text_is_not() -> None:
    texts = [f"text number {i}".encode() for i in range(100)]
    judge = Samples([b"another"], np.zeros(1))
    labelled = in_parts(Split(Samples(texts, np.arange(100) // 50), judge))
    assert 0 < labelled.choose.y.mean() < 1
    running = in_parts(Split(Samples(texts), Samples([b"another"])))
    assert running.choose.x == texts[90:]
