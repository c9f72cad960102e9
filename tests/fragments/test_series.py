"""Features by tsfresh's names: equal to the loops of the twin; the scikit-learn transformer."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag import FragmentGrid, extract, fragment_features
from tokfrag.fragments import SERIES_FEATURES, FragmentFeatures
from tokfrag.reference import series as twin


@given(
    st.integers(4, 12),
    st.integers(1, 5),
    st.sampled_from(["f4", "f8", "i2", "u1"]),
    st.integers(0, 2**16),
    st.booleans(),
)
def test_twin(size: int, stride: int, dtype: str, seed: int, tensors: bool) -> None:
    rng = np.random.default_rng(seed)
    x: Any = rng.integers(0, 4, (2, 2, 20)) if dtype[0] != "f" else rng.standard_normal((2, 2, 20))
    x = x.astype(dtype)
    if seed % 3 == 0:
        x[0, 0] = 2  # a constant series
    grid = FragmentGrid((20,), size, stride, edge="shift")
    given_ = pytest.importorskip("torch").from_numpy(x) if tensors else x
    got = np.asarray(fragment_features(given_, grid, SERIES_FEATURES))
    assert got.dtype == (np.float64 if dtype == "f8" else np.float32)
    assert got.shape == (2, grid.n, 2, len(SERIES_FEATURES))
    tolerance = 1e-9 if dtype == "f8" else 1e-5
    for b, (start, i) in ((b, (int(grid.starts[0][i]), i)) for b in (0, 1) for i in range(grid.n)):
        for c in (0, 1):
            y = x[b, c, start : start + size].astype(float).tolist()
            for k, name in enumerate(SERIES_FEATURES):
                expected = twin.FEATURES[name](y)
                assert got[b, i, c, k] == pytest.approx(
                    expected, rel=tolerance, abs=tolerance, nan_ok=True
                ), name


def test_thirty_names_each_with_a_twin() -> None:
    assert len(SERIES_FEATURES) == 30
    assert set(SERIES_FEATURES) == set(twin.FEATURES)


def test_names_go_together_in_their_order() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 40))
    grid = FragmentGrid((40,), 10, 5)
    names = ("skewness", "std", "lag_corr", "quantile__q_0.5", "max")
    table = fragment_features(x, grid, names, lags=(1, 2))
    plain = fragment_features(x, grid, ("std", "lag_corr", "max"), lags=(1, 2))
    assert np.array_equal(table[..., [1, 2, 3, 5]], plain)
    median = fragment_features(x, grid, ("median",))
    np.testing.assert_allclose(table[..., 4], median[..., 0])


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "f2", "u1", ">f4", "u2"])
@pytest.mark.parametrize(
    ("size", "spec"),
    [
        (256, {"stride": 64, "edge": "shift"}),
        (100, {"stride": 7, "pad_mode": "reflect"}),
        (40, {"stride": 60, "offset": 3, "padding": 5}),
        (9, {"stride": 4, "dilation": 3, "pad_value": 2}),
        (600, {"stride": 500}),
    ],
)
def test_blocks_give_what_windows_have(dtype: str, size: int, spec: Any) -> None:
    x: Any = np.random.default_rng(0).standard_normal((1, 2, 1000)) * 20 + 50
    x = x.clip(0, 99).astype(dtype)
    x[0, 0, 300:600] = 7  # constant windows
    grid = FragmentGrid((1000,), size, **spec)
    names = (*SERIES_FEATURES, "number_crossing_m__m_50", "last_location_of_maximum")
    names = (*names, "c3__lag_2", "longest_strike_below_mean", "cid_ce__normalize_True")
    got = fragment_features(x, grid, names)
    windows = extract(x, grid).astype(np.float64).reshape(-1, 2, size)
    alone = FragmentGrid((size,), size)
    apart = np.stack([fragment_features(w[None], alone, names)[0, 0] for w in windows])
    tolerance = {"f8": 1e-9, "f2": 2e-3}.get(dtype, 1e-6)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(got[0], apart.astype(got.dtype), rtol=tolerance, atol=1e-5)
    for k, name in enumerate(SERIES_FEATURES):  # and the loops
        for w in range(0, len(windows), max(1, len(windows) // 3)):
            want = twin.FEATURES[name](windows[w, 1].tolist())
            assert apart[w, 1, k] == pytest.approx(want, rel=1e-9, abs=1e-9, nan_ok=True), name


@given(
    st.integers(1, 70),
    st.integers(1, 20),
    st.integers(0, 60),
    st.sampled_from(["normal", "whole numbers", "NaN", "infinite"]),
    st.integers(0, 2**16),
)
def test_quantiles_of_windows_of_any_number_of_blocks(
    length: int, each: int, more: int, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    size = length * each
    x = rng.standard_normal((1, 2, size + length * more + int(rng.integers(length))))
    if kind == "whole numbers":
        x = np.round(x) + 0.0
    if kind in ("NaN", "infinite"):
        x[0, 0, rng.integers(x.shape[2])] = np.nan if kind == "NaN" else -np.inf
    grid = FragmentGrid((x.shape[2],), size, length, edge=("shift", "pad")[seed % 2])
    places = (0.0, 0.05, 0.3, 0.5, 0.77, 1.0)
    got = fragment_features(x, grid, [f"quantile__q_{q}" for q in places])
    windows = np.sort(extract(x, grid), axis=-1)
    for k, q in enumerate(places):
        rank, share = divmod(q * (size - 1), 1)
        below = windows[..., int(rank)]
        above = windows[..., min(int(rank) + 1, size - 1)]
        with np.errstate(invalid="ignore"):
            step = np.where(below == above, 0, above - below)
            want = below + step * share if share < 0.5 else above - step * (1 - share)
        if share == 0:
            want = below.copy()
        want[np.isnan(windows).any(-1)] = np.nan
        np.testing.assert_allclose(got[..., k], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_spoils_its_own_windows(value: float) -> None:
    x = np.random.default_rng(0).standard_normal((1, 1, 400))
    grid = FragmentGrid((400,), 64, 16)
    want = fragment_features(x, grid, SERIES_FEATURES)
    x[0, 0, 200] = value
    got = fragment_features(x, grid, SERIES_FEATURES)[0, :, 0]
    held = (grid.starts[0] <= 200) & (grid.starts[0] + 64 > 200)
    np.testing.assert_array_equal(got[~held], want[0, :, 0][~held])
    names = list(SERIES_FEATURES)
    largest = got[held][:, names.index("maximum")]
    at = got[held][:, names.index("first_location_of_maximum")]
    assert np.isnan(largest).all() if np.isnan(value) else np.isinf(largest).all()
    np.testing.assert_allclose(at, (200 - grid.starts[0][held]) / 64)
    median = got[held][:, names.index("median")]
    assert np.isnan(median).all() if np.isnan(value) else np.isfinite(median).all()


def test_offsets_cost_no_digits() -> None:
    noise = np.random.default_rng(0).integers(-40, 40, (1, 1, 2000)) / 16  # exact with offsets
    grid = FragmentGrid((2000,), 256, 64, edge="shift")
    names = ("skewness", "kurtosis", 'linear_trend__attr_"slope"', "variance")
    names = (*names, 'fft_coefficient__attr_"abs"__coeff_3')
    plain = fragment_features(noise, grid, names)
    np.testing.assert_allclose(fragment_features(noise + 2**20, grid, names), plain, rtol=1e-8)


def test_the_same_bits_on_any_number_of_threads() -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 40000)).astype(np.float32)
    grid = FragmentGrid((40000,), 256, 64)
    one = fragment_features(x, grid, SERIES_FEATURES, threads=1)
    np.testing.assert_array_equal(fragment_features(x, grid, SERIES_FEATURES, threads=3), one)


def test_dataframes_in_and_out() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("narwhals")
    series = np.random.default_rng(0).standard_normal((3, 8))
    frame = pandas.DataFrame(series, index=["a", "b", "c"])
    step = FragmentFeatures(4, features=("mean", "maximum"))
    table = step.fit_transform(frame)
    assert isinstance(table, pandas.DataFrame)
    assert table.index.tolist() == ["a", "b", "c"]
    assert table.columns.tolist() == step.get_feature_names_out().tolist()
    np.testing.assert_array_equal(table.to_numpy(), step.transform(series))


def test_tables_of_any_library_in_and_out() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    narwhals = pytest.importorskip("narwhals")
    series = np.random.default_rng(0).standard_normal((3, 8))
    columns = pyarrow.table({str(k): column for k, column in enumerate(series.T)})
    step = FragmentFeatures(4, features=("mean", "maximum"))
    table = step.fit_transform(columns)
    assert isinstance(table, pyarrow.Table)
    np.testing.assert_array_equal(np.stack(list(table.columns), axis=1), step.transform(series))
    lazy = narwhals.from_native(columns).lazy()
    with pytest.raises(TypeError, match="X: got LazyFrame"):
        step.fit(lazy)


def test_known_values() -> None:
    x = np.array([[[1.0, 5, 2, 2, 4, 1]]])
    grid = FragmentGrid((6,), 6)
    wanted = {
        "c3__lag_1": (1 * 5 * 2 + 5 * 2 * 2 + 2 * 2 * 4 + 2 * 4 * 1) / 4,
        "last_location_of_maximum": 2 / 6,
        "last_location_of_minimum": 1.0,
        "longest_strike_below_mean": 2,
        "number_crossing_m__m_3": 4,
        'linear_trend__attr_"intercept"': 15 / 6 + 1.5 / 17.5 * 2.5,
        "energy_ratio_by_chunks__num_segments_3__segment_focus_1": 8 / 51,
        'fft_coefficient__attr_"real"__coeff_0': 15,
        'fft_coefficient__attr_"abs"__coeff_9': math.nan,
        "autocorrelation__lag_9": math.nan,
    }
    table = fragment_features(x, grid, tuple(wanted))[0, 0, 0]
    np.testing.assert_allclose(table, list(wanted.values()), rtol=1e-12)


def test_a_pipeline() -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rng = np.random.default_rng(0)
    slow, fast = (np.sin(np.arange(64) * speed) for speed in (0.2, 1.5))
    series = np.stack([slow if k % 2 else fast for k in range(40)])
    series = series + 0.1 * rng.standard_normal(series.shape)
    step = FragmentFeatures(16, features=("cid_ce__normalize_False", "abs_energy"))
    model = make_pipeline(clone(step), LogisticRegression())
    assert model.fit(series[:30], np.arange(30) % 2).score(series[30:], np.arange(30, 40) % 2) == 1
    fitted = step.fit(series)
    assert fitted.transform(series).shape == (40, len(fitted.get_feature_names_out())) == (40, 8)
    with pytest.raises(ValueError, match="is expecting 64 features as input: got series of shape"):
        fitted.transform(series[:, :32])
    with pytest.raises(ValueError, match="unfitted"):
        FragmentFeatures(4).transform(series)
    with pytest.raises(ValueError, match="width: not a parameter"):
        step.set_params(width=3)


def test_scikit_learns_own_checks() -> None:
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not inherit from scikit-learn's classes
        results = checks.check_estimator(FragmentFeatures(1), on_fail=None, on_skip=None)
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed
    assert sum(result["status"] == "passed" for result in results) > 30


def test_tensors_and_frames_of_objects_are_rows() -> None:
    rows = np.random.default_rng(0).integers(0, 9, (3, 8)).astype(np.float32)
    want = FragmentFeatures(4).fit_transform(rows)
    np.testing.assert_allclose(FragmentFeatures(4).fit_transform(rows.astype(object)), want, 1e-6)
    with pytest.raises(ValueError, match=r"X: could not convert string to float.* takes numbers"):
        FragmentFeatures(1).fit([["a", "b"]])
    torch = pytest.importorskip("torch")
    halves = torch.from_numpy(rows).bfloat16()
    np.testing.assert_array_equal(FragmentFeatures(4).fit_transform(halves), want)


def test_refusals() -> None:
    x, grid = np.zeros((1, 1, 8)), FragmentGrid((8,), 4)
    for name, match in (
        ("quantile__q_2", "takes numbers as q"),
        ("quantile", r"takes quantile with \['q'\]"),
        ("quantile__p_1", r"takes quantile with \['q'\]"),
        ('linear_trend__attr_"pvalue"', "takes numbers as attr"),
        ("energy_ratio_by_chunks__num_segments_2__segment_focus_2", "below num_segments"),
        ("entropy", "got 'entropy', takes mean"),
    ):
        with pytest.raises(ValueError, match=match):
            fragment_features(x, grid, (name,))
    with pytest.raises(ValueError, match="got 'entropy', takes mean"):
        fragment_features(x, grid, ("median", "entropy"))
    with pytest.raises(ValueError, match="each at most once"):
        fragment_features(x, grid, ("median", "median"))
    with pytest.raises(ValueError, match="takes one axis"):
        fragment_features(np.zeros((1, 1, 4, 4)), FragmentGrid((4, 4), 2), ("median",))
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="with a gradient"):
        fragment_features(torch.zeros(1, 1, 8, requires_grad=True), grid, ("median",))
