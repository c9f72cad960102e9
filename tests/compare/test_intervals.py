"""Intervals: Student's t, pairing, and how often "apart" is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.compare.intervals import Scores, difference, interval_of, student_below
from tokfrag.compare.noise import Noise, digamma, shared_noise, trigamma


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
        apart = difference(found[row], found[best], rows=found)
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
    assert all(difference(row, rows[0], rows=rows).excludes_zero for row in rows[1:])


def share_comparison_is_wrong(rng: np.random.Generator) -> bool:
    """Rows told in shares, some near one: their noise grows with p (1 - p), about or not at all."""
    level = np.array([0.97, 0.97, 0.95, 0.8, 0.5])
    own = rng.choice([0.1, 0.2, 0.5], 5) if rng.random() < 0.5 else np.full(5, 0.2)
    sd = own * level * (1 - level)
    parts = rng.random(300) < 0.5
    found = []
    for row in range(5):
        runs = level[row] + rng.normal(0, sd[row], (3, 1)) + 0.02 * (parts - parts.mean())
        unit = float(runs.mean() * (1 - runs.mean()))
        found.append(Scores(runs + rng.normal(0, 0.05, (3, 300)), np.ones(300), unit))
    best = max(range(5), key=lambda row: found[row].mean)
    return any(
        row != best
        and level[row] >= level[best]
        and difference(found[row], found[best], rows=found).excludes_zero
        for row in range(5)
    )


def test_apart_is_wrong_in_at_most_one_of_twenty_shares() -> None:
    rng = np.random.default_rng(7)
    assert sum(share_comparison_is_wrong(rng) for _ in range(1000)) <= 50


@given(st.floats(0.05, 200))
def test_digamma_and_trigamma_are_scipys(x: float) -> None:
    special = pytest.importorskip("scipy.special")
    assert digamma(x) == pytest.approx(special.digamma(x), abs=1e-9)
    assert trigamma(x) == pytest.approx(special.polygamma(1, x), rel=1e-7)


def test_rows_that_are_alike_lend_each_other_what_they_know() -> None:
    rng = np.random.default_rng(3)
    alike = [Noise(float(rng.chisquare(2) / 2), 2.0) for _ in range(200)]
    found = shared_noise(alike)
    assert found is not None
    assert found.variance == pytest.approx(1.0, rel=0.2)
    assert found.freedom > 10
    unlike = [Noise(n.variance * 10.0 ** rng.integers(-4, 5), 2.0) for n in alike]
    other = shared_noise(unlike)
    assert other is not None
    assert other.freedom < 1


def test_too_few_rows_lend_nothing() -> None:
    assert shared_noise([Noise(1.0, 2.0)] * 2) is None
    assert shared_noise([Noise(0.0, 0.0)] * 5) is None
    assert shared_noise([Noise(0.0, 2.0)] * 3) == Noise(0.0, 4.0)
