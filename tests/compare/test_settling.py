"""After the first trainings: seeds that settle something, and a second body for the best two."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokfrag.compare import Report, Row, Run, Rung, compare  # noqa: E402
from tokfrag.compare.metric import ACCURACY  # noqa: E402
from tokfrag.compare.second import best_two, verdict  # noqa: E402
from tokfrag.compare.settling import unsettled  # noqa: E402


def row(name: str, *scores: float, parts: int = 400) -> Row:
    """A row that was trained for long enough, right in so many of its parts a seed."""
    rng = np.random.default_rng(0)
    order = rng.permutation(parts)
    runs = []
    for seed, score in enumerate(scores):
        items = np.zeros(parts)
        items[order[: round(score * parts)]] = 1
        rung = Rung(1.0, score, float(items.mean()), tuple(items.tolist()), steps=400)
        runs.append(Run(seed, (rung,)))
    return Row(name, ACCURACY, runs=tuple(runs), weights=(1.0,) * parts)


def report(*rows: Row) -> Report:
    """A report of three seeds."""
    return Report("made up", "made up", ACCURACY, ("1 GFLOP",), (0, 1, 2), rows)


def test_seeds_are_added_only_where_they_may_settle_something() -> None:
    ahead = row("a", 0.90, 0.91, 0.92)
    assert unsettled(report(ahead, row("b", 0.60, 0.61, 0.62))) == []
    # Alike to the last part: a tie, whatever is added.
    assert unsettled(report(ahead, row("b", 0.90, 0.91, 0.92))) == []
    between = report(ahead, row("b", 0.86, 0.91, 0.88), row("c", 0.60, 0.61, 0.62))
    assert [r.name for r in unsettled(between)] == ["a", "b"]
    assert unsettled(report(row("a"))) == []


def test_added_seeds_are_counted_and_stay_below_their_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tokfrag.compare.comparison.unsettled", lambda found: found.cuts)
    found = compare("digits", ["patch:4", "patch:2"], budget="3 steps", seeds=2, seeds_at_most=5)
    assert [len(r.runs) for r in found.cuts] == [4, 4]
    assert found.seeds == (0, 1, 2, 3)
    assert [run.seed for run in found.rows[0].runs] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="seeds_at_most: got 2, below the 3 seeds"):
        compare("digits", ["patch:4"], budget="3 steps", seeds_at_most=2)


def test_the_best_two_are_tried_with_a_second_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokfrag.compare.row.FEW_STEPS", 10)
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    x = rng.normal(size=(200, 1, 8, 8)).astype(np.float32)
    x[labels == 1, :, :4] += 1.5
    cuts = ["patch:8", "patch:4", "patch:2"]
    found = compare((x, labels), cuts, budget="24 steps", seeds=1, second_model="conv")
    assert len(best_two(found)) == 2
    assert [r.name for r in found.second] == [f"{name} | conv" for name in best_two(found)]
    assert all(r.finished for r in found.second)
    (said,) = [note for note in found.notes if note.startswith("body conv: ")]
    assert any(end in said for end in ("holds for both", "by either body", "by one body", "TURNS"))
    again = Report.from_json(_written(found))
    assert [r.name for r in again.second] == [r.name for r in found.second]


def _written(found: Report) -> str:
    found.to_json("second.json", force=True)
    return "second.json"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))


def test_what_two_bodies_say_together() -> None:
    good, bad = row("a", 0.90, 0.91, 0.92), row("b", 0.60, 0.61, 0.62)
    assert verdict([good, bad], [good, bad], "conv").endswith("the order holds for both bodies")
    assert verdict([good, bad], [bad, good], "conv").endswith("THE ORDER TURNS with the body")
    assert verdict([good, bad], [good, good], "conv").endswith("told apart by one body only")
    assert verdict([good, good], [bad, bad], "conv").endswith("not told apart by either body")
    failed = Row("b", ACCURACY, failure="too coarse")
    assert "not tried on a and b, too coarse" in verdict([good, bad], [good, failed], "conv")


def test_a_second_body_that_cannot_take_the_pieces_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tokfrag.compare.row.FEW_STEPS", 10)
    texts = [f"{i} to be or not to be, that is it " * 3 for i in range(60)]
    labels = np.arange(60) % 2
    texts = [t + ("yes" if k else "no") * 4 for t, k in zip(texts, labels, strict=True)]
    found = compare(
        (texts, labels),
        ["window:8", "window:16"],
        budget="24 steps",
        seeds=1,
        second_model="conv",
    )
    if len(best_two(found)) == 2:
        assert "works inside fragments of values" in "\n".join(found.notes)


def test_other_measures_stand_under_the_table() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1, 8)).astype(np.float32)
    found = compare((x, x[:, 0, :2]), ["patch:4", "whole"], budget="3 steps", seeds=1)
    notes = "\n".join(found.notes)
    assert "RMSE: patch:4 " in notes
    assert "MAE: patch:4 " in notes
    squared = found.rows[0].quality
    assert squared is not None
    assert found.rows[0].more["RMSE"] == pytest.approx(squared**0.5, rel=1e-5)
