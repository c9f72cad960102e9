"""xarray's DataArrays: dimensions and coordinates on the way in and out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tokfrag.fragments import (
    FragmentGrid,
    extract,
    fragment_features,
    map_fragments,
    merge,
)

xarray = pytest.importorskip("xarray")


def recordings(length: int = 11) -> Any:
    rng = np.random.default_rng(0)
    return xarray.DataArray(
        rng.standard_normal((2, 3, length, 4)),
        dims=("subject", "lead", "time", "depth"),
        coords={
            "subject": ["ann", "bob"],
            "lead": ["I", "II", "V1"],
            "time": np.datetime64("2026-01-01", "s") + np.arange(length),
            "age": ("subject", [31, 47]),
            "clock": ("time", np.arange(length) / 2),
        },
        attrs={"units": "mV"},
        name="ecg",
    )


def test_fragments_know_where_they_are() -> None:
    x = recordings()
    grid = FragmentGrid((11, 4), (4, 2), (3, 2), edge="shift")
    fragments = extract(x, grid)
    np.testing.assert_array_equal(fragments.values, extract(x.values, grid))
    assert fragments.dims == ("subject", "fragment", "lead", "in_time", "in_depth")
    assert fragments.name == "ecg"
    assert fragments.attrs == {"units": "mV"}
    assert fragments.age.values.tolist() == [31, 47]
    assert "clock" not in fragments.coords  # lies along time, and is not its label
    np.testing.assert_array_equal(fragments.first_time, x.time.values[grid.origins[:, 0]])
    np.testing.assert_array_equal(fragments.first_depth, grid.origins[:, 1])
    at = grid.origins[:, 0, None] + np.arange(4)
    assert fragments.time.dims == ("fragment", "in_time")
    np.testing.assert_array_equal(fragments.time.values, x.time.values[at])
    xarray.testing.assert_identical(merge(fragments, grid), x.drop_vars("clock"))


@pytest.mark.parametrize("labels", ["integers", "large", "floats", "times", "words"])
@pytest.mark.parametrize("placement", [{}, {"offset": 0, "padding": 2}])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_labels_come_back_from_padded_fragments(labels: str, placement: Any, pad_mode: Any) -> None:
    along = {
        "integers": np.arange(7) * 10,
        "large": np.arange(7) + 2**60,
        "floats": np.arange(7) / 3,
        "times": np.datetime64("2026-01-01") + np.arange(7),
        "words": np.array(list("abcdefg")),
    }[labels]
    x = xarray.DataArray(np.arange(7.0)[None, None], dims=("b", "c", "t"), coords={"t": along})
    grid = FragmentGrid((7,), 4, 2, pad_mode=pad_mode, **placement)
    fragments = extract(x, grid)
    outside = grid.origins[:, 0, None] + np.arange(4)
    outside = (outside < 0) | (outside >= 7)
    assert outside.any()
    if pad_mode == "constant":
        np.testing.assert_array_equal(fragments.t.isnull(), outside)
    xarray.testing.assert_identical(merge(fragments, grid, window="hann").round(9), x)
    assert merge(fragments, grid).t.dtype == x.t.dtype


def test_channels_last_and_changed_numbers() -> None:
    x = recordings().transpose("subject", "time", "depth", "lead")
    grid = FragmentGrid((11, 4), (5, 4))
    fragments = extract(x, grid, channels_last=True, scale=2.0, dtype=np.float32)
    assert fragments.dims == ("subject", "fragment", "in_time", "in_depth", "lead")
    assert fragments.dtype == np.float32
    merged = merge(fragments, grid, channels_last=True)
    assert merged.dims == x.dims
    xarray.testing.assert_allclose(merged, 2 * x.drop_vars("clock"), rtol=1e-6)


def test_some_windows_and_wrong_labels() -> None:
    x = recordings().isel(depth=0)
    grid = FragmentGrid((11,), 4, 2)
    fragments = extract(x, grid)
    some = merge(fragments.isel(fragment=[0, 4]), grid, where=np.array([0, 4]))
    assert some.dims == x.dims
    assert "time" not in some.coords  # labels between the two are not known
    np.testing.assert_array_equal(some.lead, x.lead)
    with pytest.raises(ValueError, match="labels along 'time' that differ where"):
        merge(fragments.isel(fragment=[1, 0, 2, 3, 4]), grid)


def test_out_is_where_the_numbers_go() -> None:
    x = recordings().isel(depth=0)
    grid = FragmentGrid((11,), 4, 2)
    out = np.empty((2, grid.n, 3, 4))
    assert np.shares_memory(extract(x, grid, out=out).values, out)
    back = np.empty((2, 3, 11))
    assert np.shares_memory(merge(extract(x, grid), grid, out=back).values, back)
    given = np.zeros((2, 3, 11))
    assert map_fragments(lambda f: f, x, grid, batch_size=4, out=given) is given


def test_features_are_named() -> None:
    x = recordings().isel(depth=0)
    grid = FragmentGrid((11,), 4, 2)
    table = fragment_features(x, grid, ("std", "lag_corr", "skewness"), lags=(1, 3))
    assert table.dims == ("subject", "fragment", "lead", "feature")
    assert table.feature.values.tolist() == [
        "std",
        "lag_corr__lag_1",
        "lag_corr__lag_3",
        "skewness",
    ]
    np.testing.assert_array_equal(table.first_time[:5], x.time[:9:2])
    want = fragment_features(x.values, grid, ("std", "lag_corr", "skewness"), lags=(1, 3))
    np.testing.assert_array_equal(table.values, want)
    assert table.sel(subject="bob", lead="V1", feature="std").shape == (grid.n,)


def test_results_of_a_model_lie_where_the_data_did() -> None:
    x = recordings(12).isel(depth=0)
    grid = FragmentGrid((12,), 4, 2)

    def model(f: Any) -> Any:
        return {"both": f[:, :2], "half": f[..., ::2], "one": f.mean(2)}

    results = map_fragments(model, x, grid, batch_size=3)
    want = map_fragments(model, x.values, grid, batch_size=3)
    assert set(results) == {"both", "half", "one"}
    for name, result in results.items():
        np.testing.assert_array_equal(result.values, want[name])
        assert result.dims == x.dims
        np.testing.assert_array_equal(result.age, x.age)
        assert "lead" not in result.coords
        assert ("time" in result.coords) == (name == "both")
    np.testing.assert_array_equal(results["both"].clock, x.clock)


def test_numbers_in_a_file_stay_there(tmp_path: Any) -> None:
    pytest.importorskip("scipy")
    x = recordings().isel(depth=0)
    x.to_netcdf(tmp_path / "x.nc", engine="scipy")
    grid = FragmentGrid((11,), 4, 2)
    with xarray.open_dataarray(tmp_path / "x.nc", engine="scipy") as lazy:
        assert not lazy.variable._in_memory
        result = map_fragments(lambda f: f, lazy, grid, batch_size=2, window="uniform")
        assert not lazy.variable._in_memory
        np.testing.assert_allclose(result.values, x.values)
        np.testing.assert_array_equal(extract(lazy, grid).values, extract(x.values, grid))


def test_names_that_are_taken_are_refused() -> None:
    x = xarray.DataArray(np.zeros((1, 1, 8)), dims=("fragment", "c", "t"))
    with pytest.raises(ValueError, match="takes others"):
        extract(x, FragmentGrid((8,), 4))
