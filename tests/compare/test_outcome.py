"""What an outcome says: who may be best, who is tied, what was paid; and how it is shown."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.compare import CutFacts, Floor, Prices, Report, Row, Run, Rung
from tokfrag.compare.metric import ACCURACY, BITS_PER_BYTE, Metric
from tokfrag.compare.row import Honesty
from tokfrag.compare.sample import SamplePicture

FACTS = CutFacts("tokens", 8, 8, 0, 1, 1, 1, 1, 16, 0, True, 100, pieces=50, flops=1e6)


def row(
    name: str,
    *scores: float,
    metric: Metric = BITS_PER_BYTE,
    noise: float = 0.01,
    steps: int = 400,
    floors: tuple[float, ...] = (),
    lossy: bool = False,
    flops: float = 1e6,
    rungs: int = 1,
) -> Row:
    """A row with one run a score; its earlier rungs are worse."""
    rng = np.random.default_rng(len(name))
    runs = []
    for seed, score in enumerate(scores):
        made = []
        for rung in range(rungs):
            value = score + (rungs - 1 - rung) * (-1 if metric.higher_is_better else 1) * 0.3
            items = value + rng.normal(0, noise, 40)
            items += value - items.mean()
            made.append(
                Rung(
                    4.0 ** (rung - rungs + 1), value, value, tuple(items), steps, 1e9, 1.0, 2.0, 2.0
                )
            )
        runs.append(Run(seed, tuple(made), rate=1e-3))
    return Row(
        name,
        metric,
        replace(FACTS, flops=flops),
        tuple(runs),
        floors=tuple(Floor(f"floor {i}", score) for i, score in enumerate(floors)),
        honesty=Honesty(True, "it forgets", "sample 0", 7) if lossy else Honesty(True),
        weights=(1.0,) * 40,
    )


def report(*rows: Row, rungs: int = 1, baseline: float | None = None) -> Report:
    """A report of rows made up."""
    naive = [] if baseline is None else [Row("naive", rows[0].metric, baseline=baseline)]
    budgets = tuple(f"{4**i} GFLOP" for i in range(rungs))
    samples = {r.name: SamplePicture(2, ("to ", "be$")) for r in rows}
    return Report(
        "text", "made up", rows[0].metric, budgets, (0, 1, 2), (*rows, *naive), samples=samples
    )


def test_ties_are_told_as_ties() -> None:
    found = report(
        row("a", 2.0, 2.1, 1.9, flops=9e6), row("bb", 2.02, 2.05, 1.99), row("ccc", 3.0, 3.1, 2.9)
    )
    assert [r.name for r in found.ties()] == ["a", "bb"]
    assert found.headline.startswith("best: a, bb (not told apart), a 2.000")
    assert "of these bb is the cheapest a sample, 0.11 of a" in found.notes
    assert "+1.000" in found.table()
    assert "(tie)" in found.table()


def test_lossy_and_untrained_rows_are_never_best() -> None:
    found = report(
        row("lossy", 0.0, 0.0, 0.0, lossy=True),
        row("few", 0.5, 0.5, 0.5, steps=199),
        row("lazy", 1.0, 1.0, 1.0, floors=(0.9, 0.5)),
        row("little", 2.0, 2.0, 2.0, floors=(3.0, 1.5)),
        row("good", 2.5, 2.5, 2.5, floors=(3.0, 2.8)),
    )
    assert [r.name for r in found.ranked] == ["little", "good"]
    assert [r.trained for r in found.rows] == ["yes", "no", "no", "a little", "yes"]
    notes = "\n".join(found.notes)
    assert "lossy: LOSSY, it forgets" in notes
    assert "few: untrained, 199 steps; it needs about 1.0 times the budget" in notes
    assert "lazy: untrained, no better than floor 0, 0.900" in notes
    assert "little: trained a little, 400 steps, no better than floor 1, 1.500" in notes


def test_a_row_that_was_trained_a_little_is_never_named_best() -> None:
    """It may be ahead, or too noisy to be told apart; neither makes it one of the best."""
    noisy = row("noisy", 2.0, 9.0, 2.0, floors=(10.0, 1.5))
    good = row("good", 2.5, 2.5, 2.5, floors=(3.0, 2.8))
    found = report(good, noisy)
    apart = found.behind(noisy)
    assert apart is not None
    assert not apart.excludes_zero
    assert found.ties() == [good]
    assert found.headline == "best: good, 2.500 ± 0.002"
    assert "(tie)" not in found.table()
    assert "(not told)" in found.table()
    assert not found.on_front(noisy)

    little = report(good, row("little", 2.0, 2.0, 2.0, floors=(3.0, 1.5)))
    assert little.best is None
    assert little.ties() == []
    assert little.headline.startswith("no best yet at 1 GFLOP: little is ahead, 2.000")
    assert "ahead  a little" in little.table()
    assert "best  " not in little.table().split("----")[-1]


def test_a_row_without_a_mistake_is_trained_where_its_floor_makes_none_either() -> None:
    perfect = row("a", 1.0, 1.0, metric=ACCURACY, noise=0.0, floors=(0.1, 1.0))
    assert perfect.trained == "yes"
    assert report(perfect).best is perfect
    assert row("a", 0.99, 0.99, metric=ACCURACY, floors=(0.1, 1.0)).trained == "a little"
    level = row("a", 0.5, 0.5, metric=ACCURACY, noise=0.0, floors=(0.1, 0.5))
    assert level.trained == "a little"
    assert row("a", 0.0, 0.0, noise=0.0, floors=(2.0, 0.0)).trained == "yes"


def test_a_row_far_behind_is_no_tie_for_its_own_noise() -> None:
    """Three seeds of 55, 65 and 49 % are behind 98 %: the other rows tell how noisy seeds are."""
    rows = [
        row("pixels", 0.55, 0.65, 0.49, metric=ACCURACY),
        row("fine", 0.964, 0.961, 0.972, metric=ACCURACY),
        row("middle", 0.983, 0.992, 0.972, metric=ACCURACY),
        row("coarse", 0.981, 0.978, 0.981, metric=ACCURACY),
        row("bag", 0.80, 0.76, 0.76, metric=ACCURACY),
    ]
    found = report(*rows)
    assert [r.name for r in found.ties()] == ["middle", "coarse", "fine"]
    assert found.table().count("(tie)") == 2


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 9), st.booleans(), st.integers(1, 400)), min_size=1))
def test_only_rows_that_may_be_best_are(made: list[tuple[float, bool, int]]) -> None:
    rows = [
        row(f"r{i}", score, score, lossy=lossy, steps=steps)
        for i, (score, lossy, steps) in enumerate(made)
    ]
    found = report(*rows)
    for one in found.ties():
        assert not one.honesty.lossy
        assert one.steps >= 200
    allowed = [score for score, lossy, steps in made if not lossy and steps >= 200]
    if allowed:
        assert found.best is not None
        assert found.best.quality == pytest.approx(min(allowed))
    else:
        assert found.headline.startswith("nothing can be said")


def test_the_front_holds_no_row_that_a_cheaper_one_ties_with() -> None:
    found = report(
        row("cheap", 3.0, 3.0, 3.0, flops=1e6),
        row("dear", 2.0, 2.0, 2.0, flops=4e6),
        row("dearer", 1.999, 1.999, 2.001, flops=8e6),
    )
    assert [found.on_front(r) for r in found.rows] == [True, True, False]


def test_of_rows_that_cost_the_same_the_worse_is_not_on_the_front() -> None:
    found = report(row("good", 2.0, 2.0, 2.0), row("bad", 3.0, 3.0, 3.0), row("as good", 2.0, 2.0))
    assert [found.on_front(r) for r in found.rows] == [True, False, True]


def test_lines_that_cross_are_told() -> None:
    first = row("early", 2.5, 2.5, 2.5, rungs=2)
    other = row("late", 2.0, 2.0, 2.0, rungs=2)
    slow = replace(
        other,
        runs=tuple(
            replace(
                run,
                rungs=(
                    replace(run.rungs[0], choose=9, score=9, items=(9.0,) * 40),
                    run.rungs[1],
                ),
            )
            for run in other.runs
        ),
    )
    notes = report(first, slow, rungs=2).notes
    assert "at 1 GFLOP early was ahead of late: their lines cross below 4 GFLOP" in notes
    assert not any("cross" in note for note in report(first, other, rungs=2).notes)


def test_a_training_that_got_worse_counts_as_it_was() -> None:
    good = Rung(0.25, 1.0, 1.1, steps=300)
    worse = Rung(1.0, 2.0, 2.2, steps=1200)
    kept = Row("a", BITS_PER_BYTE, FACTS, (Run(0, (good, worse)),))
    assert kept.quality == 1.1
    assert any("best at an earlier rung" in note for note in report(kept, rungs=2).notes)
    other = Row("a", ACCURACY, FACTS, (Run(0, (good, worse)),))
    assert other.quality == 2.2


def test_no_cut_better_than_the_baseline_is_told() -> None:
    rows = (row("good", 1.0, 1.0, 1.0), row("bad", 4.0, 4.0, 4.0))
    assert "no better than the baseline naive, 2.000: bad" in report(*rows, baseline=2.0).notes
    assert "no cut beats the baseline naive, 0.500" in report(*rows, baseline=0.5).notes


def test_one_seed_is_told() -> None:
    made = report(row("a", 1.0), row("b", 4.0))
    assert not any("one seed" in note for note in made.notes)
    assert any("one seed" in note for note in replace(made, seeds=(0,)).notes)


def test_a_busy_machine_is_told() -> None:
    busy = row("a", 1.0)
    run = busy.runs[0]
    slow = replace(run, rungs=tuple(replace(r, seconds=10.0, cpu_seconds=3.0) for r in run.rungs))
    found = replace(report(replace(busy, runs=(slow,))), budgets=("5 s",))
    assert any("had 30 % of a processor" in note for note in found.notes)
    assert not any("busy" in note for note in replace(found, budgets=("5 GFLOP",)).notes)


def test_a_report_replays_at_other_prices_without_training(tmp_path: Path) -> None:
    made = report(row("a", 2.0, 2.1, rungs=2), row("b", 3.0, 3.1, rungs=2), rungs=2, baseline=5.0)
    path = tmp_path / "run.json"
    made.to_json(path)
    again = Report.from_json(path)
    assert again.to_dict() == made.to_dict()
    assert again.table(full=True) == made.table(full=True)
    priced = Report.from_json(path, prices=Prices(per_hour=3600.0, per_million_pieces=1e6))
    one = priced.rows[0]
    assert one.cost == pytest.approx(one.seconds + one.pieces_used)
    path.write_text('{"format": 1}')
    with pytest.raises(ValueError, match="is no report of a comparison"):
        Report.from_json(path)


def test_markdown_has_the_headline_and_every_row() -> None:
    made = report(row("a", 2.0, 2.1), row("b", 3.0, 3.1), baseline=5.0)
    text = made.markdown()
    assert text.startswith("**best: a, ")
    assert sum(line.startswith("| ") for line in text.splitlines()) == 5


@pytest.mark.parametrize("metric", [BITS_PER_BYTE, ACCURACY])
def test_the_card_is_a_picture_to_be_shared(tmp_path: Path, metric: Metric) -> None:
    pytest.importorskip("matplotlib")
    made = report(
        row("a", 0.8, 0.7, metric=metric, rungs=3), row("bb", 0.5, metric=metric, rungs=3), rungs=3
    )
    made.to_card(tmp_path / "card.png")
    png = (tmp_path / "card.png").read_bytes()
    assert png[:4] == b"\x89PNG"
    assert struct.unpack(">II", png[16:24]) == (1200, 630)
    with pytest.raises(ValueError, match=r"it takes \.png"):
        made.to_card(tmp_path / "card.jpg")


def test_names_at_the_ends_of_lines_do_not_cover_each_other() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(7, 4))
    from tokfrag.compare.views.plot import draw_ladder

    rows = [row(f"row {i}", 2 + 0.001 * i, 2.001 + 0.001 * i, rungs=2) for i in range(5)]
    axes = figure.add_subplot()
    draw_ladder(axes, report(*rows, rungs=2))
    figure.draw_without_rendering()
    names = [t for t in axes.texts if t.get_text().startswith("row")]
    boxes = [t.get_window_extent() for t in names]
    assert len(boxes) == 5
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[i + 1 :])


def texts_of(figure: Any) -> dict[str, Any]:
    """Where the texts of a figure stand, those of ticks that are drawn among them."""
    figure.draw_without_rendering()
    found = list(figure.texts)
    for axes in figure.axes:
        found += [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted(limits)
            found += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    shown = [text for text in found if text.get_text().strip()]
    return {f"{i} {text.get_text()}": text.get_window_extent() for i, text in enumerate(shown)}


@pytest.mark.parametrize("count", [2, 3, 5, 8])
@pytest.mark.parametrize("metric", [ACCURACY, BITS_PER_BYTE], ids=lambda metric: metric.name)
def test_no_words_of_a_card_cover_each_other_however_long_names_are(
    count: int, metric: Metric
) -> None:
    pytest.importorskip("matplotlib")
    from tokfrag.compare.views.card import drawn_card

    names = [f"pixels:{2**i}@concat++patch:2x8x8/1x4x4+shift+gaussian" for i in range(count)]
    # All end nearly level, at the very top.
    rows = [
        row(name, 0.97 + 0.001 * i, 0.971 + 0.001 * i, metric=metric, rungs=2)
        for i, name in enumerate(names)
    ]
    boxes = ((((0, 2)), ((0, 4))), (((2, 4)), ((0, 4))))
    picture = SamplePicture(1234, values=tuple((0.0, 1.0, 2.0, 3.0) for _ in range(4)), boxes=boxes)
    made = replace(report(*rows, rungs=2), samples=dict.fromkeys(names, picture))
    figure = drawn_card(made)
    figure.set_dpi(100)
    held = texts_of(figure)
    assert len([name for name in held if "pixels" in name]) >= 2 * count
    for name, box in held.items():
        assert box.x0 >= 0, name
        assert box.x1 <= 1200, name
        covered = [other for other, its in held.items() if other != name and box.overlaps(its)]
        assert covered == [], (name, covered)


def test_of_equal_rows_the_trained_one_is_ahead() -> None:
    little = row("little", 0.95, 0.95, metric=ACCURACY, noise=0.0, floors=(0.5, 0.96))
    trained = row("trained", 0.95, 0.95, metric=ACCURACY, noise=0.0, floors=(0.5, 0.9))
    made = report(little, trained)
    assert made.best is not None
    assert made.best.name == "trained"
    assert [one.name for one in made.in_order] == ["trained", "little"]


def test_what_is_true_of_several_rows_is_said_once() -> None:
    rows = [replace(row(name, 2.0, 2.1), notes=("rate 0.002: too small",)) for name in "ab"]
    assert [note for note in report(*rows).notes if "rate" in note] == [
        "a, b: rate 0.002: too small"
    ]
