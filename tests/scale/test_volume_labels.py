"""Instances numbered once over a volume: what `merge_labels` makes of all fragments at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import volume_cases as cases
from hypothesis import HealthCheck, given, settings, strategies as st

from tokfrag import FragmentGrid, extract, merge_labels
from tokfrag.scale import LocalEngine, label_volume, verify_volume
from tokfrag.scale.volume_records import records_folder


def expected(x: Any, grid: FragmentGrid, least_share: float = 0.5) -> Any:
    fragments = extract(x[None, None], grid)[0]
    return merge_labels(cases.runs(fragments)[None, :, 0], grid, least_share=least_share)[0]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 99),
    block=st.tuples(st.integers(2, 12), st.integers(2, 17)),
    stride=st.tuples(st.integers(2, 5), st.integers(2, 6)),
    edge=st.sampled_from(["pad", "shift"]),
    least_share=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_blocks_agree_with_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    block: tuple[int, int],
    stride: tuple[int, int],
    edge: Any,
    least_share: float,
) -> None:
    grid = FragmentGrid((13, 18), size=(4, 6), stride=stride, edge=edge)
    x = np.repeat(cases.volume((13, 6), seed), 3, axis=1)
    folder = tmp_path_factory.mktemp("labels")
    np.save(folder / "src.npy", x)
    options = {"block": block, "workers": 1, "least_share": least_share, **cases.OPTIONS}
    label_volume(cases.runs, folder / "src.npy", folder / "dst.npy", grid, **options)
    assert np.array_equal(np.load(folder / "dst.npy"), expected(x, grid, least_share))


def test_goes_on_after_either_round(tmp_path: Path) -> None:
    grid = FragmentGrid((40, 40), size=8, stride=4)
    x = np.repeat(cases.volume((2, 1, 40, 10)), 4, axis=3)
    np.save(tmp_path / "src.npy", x)
    src, dst = tmp_path / "src.npy", tmp_path / "dst.npy"
    options = {"block": (20, 20), **cases.OPTIONS}
    stopping = cases.Stopping(LocalEngine(1), 3)
    with pytest.raises(InterruptedError):
        label_volume(cases.runs, src, dst, grid, engine=stopping, **options)
    records = records_folder(str(dst))
    assert 3 <= len(list(records.glob("0*.json"))) < 8
    label_volume(cases.runs, src, dst, grid, engine=LocalEngine(2), **options)
    result = np.load(dst)
    for entry in range(2):
        assert np.array_equal(result[entry, 0], expected(x[entry, 0], grid))
    assert verify_volume(dst) == 8
    assert not list(records.glob("*.labels.npz"))
    (records / "000009.json").unlink()  # a block of the second round, whose labels are gone
    made = label_volume(cases.runs, src, dst, grid, workers=1, **options)
    assert made.again == 7
    assert np.array_equal(np.load(dst), result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least_share": 0}, "least_share: got 0"),
        ({"dtype": "float32"}, "takes one of integers"),
        ({"dtype": "int8"}, "int8 does not hold [0-9]+ instances"),
        ({"model": cases.smoothed}, "labels"),
        ({"model": cases.halves}, "labels|whole position|fractions|halo"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    grid = FragmentGrid((64, 64), size=8, stride=4)
    np.save(tmp_path / "src.npy", cases.volume((64, 64)))
    given = {"model": cases.runs, "workers": 1, **cases.OPTIONS, **options}
    model = given.pop("model")
    with pytest.raises((ValueError, TypeError), match=message):
        label_volume(model, tmp_path / "src.npy", tmp_path / "dst.npy", grid, **given)
