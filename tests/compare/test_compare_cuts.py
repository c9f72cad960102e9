"""Cuts: their short names, their pieces, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid
from tokfrag.compare import Patches, Quantised, Samples, as_cut, parse_cut


@pytest.mark.parametrize(
    "name",
    [
        "pixels:16",
        "values:64@concat",
        "patch:4",
        "patch:4/2",
        "patch:2x8x8/1x4x4",
        "patch:10/5+drop@mean",
        "patch:4+shift+diff",
        "patch:8/4+hann",
        "whole",
        "bytes",
        "chars@mean",
        "bpe:512",
        "window:8/4",
    ],
)
def test_short_names_are_read_and_written_the_same(name: str) -> None:
    assert parse_cut(name).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "got ''"),
        ("Patch:4", "got 'Patch:4'"),
        ("tokens:4", "it takes pixels, values"),
        ("pixels:many", "one number after the colon"),
        ("pixels:1", "2 to 65536"),
        ("patch:", "SIZE or SIZE/STRIDE"),
        ("patch:4/", "SIZE or SIZE/STRIDE"),
        ("patch:4+fold", r"got \+fold"),
        ("bytes+drop", "only patch takes flags"),
        ("bpe:100", "257 or more"),
        ("window:4/8", "ends in 1 to 4 new bytes"),
        ("window:4x4", "text has one axis"),
        ("patch:4@max", "merge: got 'max'"),
    ],
)
def test_bad_short_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_cut(name)


def test_cuts_from_what_a_user_holds() -> None:
    assert as_cut(4).name == "patch:4"
    assert as_cut((2, 4)).name == "patch:2x4"
    grid = FragmentGrid((8, 8), 4, 2, edge="shift", pad_mode="reflect")
    cut = as_cut(grid)
    assert cut.name == "patch:4x4/2x2+shift"
    assert isinstance(cut, Patches)
    assert cut.grid((8, 8)) is grid
    with pytest.raises(ValueError, match="its grid is for samples of"):
        cut.grid((9, 8))


@given(
    st.integers(2, 40),
    st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=30, unique=True),
)
def test_quantised_levels_keep_the_order(levels: int, values: list[float]) -> None:
    x = np.array(sorted(values), np.float32)[None, None]
    if not x.max() > x.min():
        return
    fitted = Quantised(levels).fit(Samples(x))
    ids = fitted.cut(x).values[0]
    assert (np.diff(ids) >= 0).all()
    assert ids.min() == 0
    assert ids.max() == levels - 1
    assert fitted.spec.vocabulary == levels


def test_quantised_counts_values_outside_what_it_learnt() -> None:
    fitted = Quantised(4).fit(Samples(np.linspace(0, 1, 100)[None, None]))
    pieces = fitted.cut(np.array([[[0.6, 7.0, -3.0, 0.6]]]))
    assert pieces.unknown == 0.5
    assert pieces.values.tolist() == [[2, 3, 0, 2]]


def test_patches_are_the_normalised_windows() -> None:
    x = np.random.default_rng(0).normal(3, 2, (6, 2, 9, 7)).astype(np.float32)
    fitted = Patches((4,), (3,), difference=True).fit(Samples(x))
    pieces = fitted.cut(x)
    assert pieces.values.shape == (6, fitted.spec.n, 4, 4, 4)
    mean = x.mean((0, 2, 3), keepdims=True)
    std = x.std((0, 2, 3), keepdims=True)
    normal = (x - mean) / std
    np.testing.assert_allclose(pieces.values[:, 0, :2], normal[:, :, :4, :4], rtol=1e-4, atol=1e-5)
    change = normal[:, :, 1:4, :4] - normal[:, :, :3, :4]
    np.testing.assert_allclose(pieces.values[:, 0, 2:, 1:], change, rtol=1e-3, atol=1e-5)
    assert (pieces.values[:, 0, 2:, 0] == 0).all()


def test_patches_of_another_rank_are_refused() -> None:
    with pytest.raises(ValueError, match="size has 3 axes, the samples have 2"):
        parse_cut("patch:2x2x2").fit(Samples(np.zeros((4, 1, 8, 8))))
    with pytest.raises(ValueError, match=r"takes \(samples, channels"):
        parse_cut("patch:2").fit(Samples(np.zeros((4, 8))))


def test_near_borders_marks_both_sides_of_each_border() -> None:
    fitted = Patches((4,)).fit(Samples(np.arange(24.0).reshape(2, 1, 12)))
    assert fitted.borders is not None
    assert np.flatnonzero(fitted.borders).tolist() == [3, 4, 7, 8]
