"""Intervals: Student's t, pairing, and how often "apart" is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.compare.intervals import Scores, difference, interval_of, student_below


@given(st.floats(-30, 30), st.floats(1, 400))
def test_student_is_students(value: float, freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_below(value, freedom) == pytest.approx(stats.t.cdf(value, freedom), abs=1e-7)


def test_items_are_paired() -> None:
    rng = np.random.default_rng(0)
    weights = np.ones(200)
    hard = rng.normal(0, 1, 200)
    one = Scores(hard + rng.normal(0, 0.01, (3, 200)), weights)
    two = Scores(hard + 0.1 + rng.normal(0, 0.01, (3, 200)), weights)
    apart = difference(two, one)
    alone = interval_of(one)
    assert apart.half is not None
    assert alone.half is not None
    # Each row alone is told no better than by 0.13; the difference is, because items are shared.
    assert alone.half > 0.12
    assert apart.half < 0.01
    assert apart.excludes_zero


def test_one_seed_on_one_part_tells_nothing() -> None:
    lone = Scores(np.array([[0.5]]), np.ones(1))
    assert interval_of(lone).half is None
    assert not difference(lone, Scores(np.array([[0.1]]), np.ones(1))).excludes_zero


def comparison_is_wrong(rng: np.random.Generator, rows: int, seeds: int, items: int) -> bool:
    """One simulated comparison of rows whose truth is known: is anything told apart wrongly?

    Seeds, items and the meeting of both make noise, as in measured trainings; each row has a
    seed noise of its own. Half of the rows are truly alike.
    """
    truth = np.where(np.arange(rows) < (rows + 1) // 2, 0.0, rng.exponential(0.05, rows))
    shared = rng.gamma(2.0, 0.5, items)
    weights = rng.uniform(0.5, 1.5, items)
    found = []
    for row in range(rows):
        noise = rng.choice([0.002, 0.02, 0.1])
        own = rng.normal(0, 0.1, items)
        own -= own @ weights / weights.sum() if rng.random() < 0.5 else 0
        runs = truth[row] + rng.normal(0, noise, (seeds, 1)) + shared + own
        found.append(Scores(runs + rng.normal(0, 0.2, (seeds, items)), weights))
    best = min(range(rows), key=lambda row: found[row].mean)
    for row in range(rows):
        apart = difference(found[row], found[best], rows=rows)
        # The observed best is told better; in truth it is not.
        if row != best and apart.excludes_zero and truth[row] <= truth[best]:
            return True
    return False


@pytest.mark.parametrize(("rows", "seeds", "items"), [(5, 3, 300), (5, 2, 60), (2, 3, 100)])
def test_apart_is_wrong_in_at_most_one_of_twenty(rows: int, seeds: int, items: int) -> None:
    rng = np.random.default_rng(7)
    wrong = sum(comparison_is_wrong(rng, rows, seeds, items) for _ in range(1000))
    assert wrong <= 50


def test_what_is_far_apart_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    weights = np.ones(300)
    shared = rng.normal(0, 1, 300)
    rows = [
        Scores(shared + gap + rng.normal(0, 0.1, (3, 300)) + rng.normal(0, 0.01, (3, 1)), weights)
        for gap in (0.0, 0.2, 0.4)
    ]
    assert all(difference(row, rows[0], rows=3).excludes_zero for row in rows[1:])
