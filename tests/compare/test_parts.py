"""The three parts of the data, and that nothing stands in two of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.compare import Samples, Split
from tokfrag.compare.parts import SHINGLE, in_parts, shared_share
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
