"""The comparison itself: what it promises about rows, budgets, seeds, failures, interruptions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokfrag.compare import ArrayTask, Budget, FittedCut, Patches, Pieces, Report, compare  # noqa: E402
from tokfrag.compare.body import Body  # noqa: E402
from tokfrag.compare.contracts import PieceSpec  # noqa: E402

TIMES = {
    "fit_seconds",
    "cut_seconds",
    "merge_seconds",
    "step_seconds",
    "cut_share",
    "model_seconds",
    "seconds",
    "cpu_seconds",
    "predict_seconds",
    "cost_seconds",
}


def timeless(report: Report) -> list[dict[str, object]]:
    """The rows as JSON holds them, without what a clock decides."""
    rows = []
    for row in report.to_dict()["rows"]:
        kept = {name: value for name, value in row.items() if name not in TIMES}
        kept["runs"] = [
            {
                **{name: value for name, value in run.items() if name not in TIMES},
                "rungs": [
                    {name: value for name, value in rung.items() if name not in TIMES}
                    for rung in run["rungs"]
                ],
            }
            for run in row["runs"]
        ]
        rows.append(kept)
    return rows


def stripes(samples: int = 60) -> ArrayTask:
    """Pictures of horizontal or vertical stripes, easy to tell apart."""
    rng = np.random.default_rng(3)
    labels = np.arange(samples) % 2
    line = (np.arange(8) % 2 * 2.0 - 1)[None]
    images = np.where(labels[:, None, None] == 0, line[..., None], line[:, None])
    return ArrayTask(
        (images + rng.normal(0, 0.1, (samples, 8, 8)))[:, None].astype(np.float32), labels
    )


def test_digits_learn_and_beat_the_baseline() -> None:
    report = compare("digits", ["pixels:16", "patch:4/2"], budget="12 steps", seeds=1)
    tokens, fragments, baseline = report.rows
    assert baseline.name == "majority class"
    assert baseline.quality is not None
    assert 0.05 < baseline.quality < 0.2
    for row in (tokens, fragments):
        assert row.quality is not None
        assert [run.last.steps for run in row.runs] == [12]
    assert fragments.quality is not None
    assert fragments.quality > 0.3
    assert tokens.facts is not None
    assert fragments.facts is not None
    assert (tokens.facts.pieces_p50, tokens.facts.units_per_piece) == (64, 1)
    assert (fragments.facts.pieces_p50, fragments.facts.units_per_piece) == (9, 16)
    assert fragments.facts.coverage == 1
    assert fragments.facts.overlap == pytest.approx(9 * 16 / 64)


def test_same_seeds_give_the_same_table_but_for_times() -> None:
    options = {"cuts": ["pixels:4", "patch:4/2", "patch:4@mean"], "budget": "2.2 GFLOP", "seeds": 2}
    first = compare(stripes(), **options)  # type: ignore[arg-type]
    second = compare(stripes(), **options)  # type: ignore[arg-type]
    assert timeless(first) == timeless(second)
    assert first.rows[0].finished


def test_cost_is_time_and_pieces_at_their_prices() -> None:
    prices = {"price_per_hour": 3.6, "price_per_million_pieces": 2.0}
    options = {"cuts": ["patch:4"], "budget": "3 steps", "seeds": 2}
    row, baseline = compare(stripes(), **options, **prices).rows  # type: ignore[arg-type]
    assert row.facts is not None
    # Three steps of 44 samples (48 less 4 to choose on), four pieces each.
    assert row.pieces_used == 3 * 44 * 4
    assert row.cost == pytest.approx(row.seconds * 3.6 / 3600 + row.pieces_used * 2 / 1e6)
    assert baseline.cost is None
    unpriced = compare(stripes(), **options)  # type: ignore[arg-type]
    assert unpriced.rows[0].cost is None
    assert f"{3 * 44 * 4} pieces" in unpriced.table()
    with pytest.raises(ValueError, match="price_per_hour: got -1"):
        compare(stripes(), **options, price_per_hour=-1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("attention", "attention over all pieces"),
        ("inside", "attention inside pieces"),
        ("conv", "convolution inside pieces"),
    ],
)
def test_each_body_has_its_own_formula(kind: str, formula: str) -> None:
    fine, coarse = compare(
        stripes(), ["patch:2", "patch:4"], budget="1 step", seeds=1, model=kind
    ).rows[:2]
    assert fine.facts is not None
    assert coarse.facts is not None
    assert {fine.facts.flops_formula, coarse.facts.flops_formula} == {formula}
    assert fine.facts.attention_share is not None
    assert coarse.facts.attention_share is not None
    # Over all pieces the small ones pay for their number, inside pieces the large ones do.
    finer = fine.facts.attention_share - coarse.facts.attention_share
    assert {"attention": finer > 0, "inside": finer < 0, "conv": finer == 0}[kind]


def test_flop_budget_is_never_exceeded_and_nearly_spent() -> None:
    report = compare(stripes(), ["pixels:4", "patch:4"], budget="5 GFLOP", seeds=1)
    for row in report.rows[:2]:
        assert row.facts is not None
        spent = row.runs[0].last.flops
        assert spent == pytest.approx(
            row.runs[0].last.steps * row.facts.flops * row.facts.step_items
        )
        assert spent <= 5e9 < spent + row.facts.flops * row.facts.step_items


def test_seconds_budget_bounds_the_training_time() -> None:
    report = compare(stripes(), ["patch:4"], budget="300 ms", seeds=1)
    run = report.rows[0].runs[0].last
    assert run.steps > 1
    assert run.seconds + 0.05 >= 0.25


@pytest.mark.parametrize(("cut", "kind"), [
    ("pixels:16", "attention"),
    ("patch:4/2", "attention"),
    ("patch:4/2@attention", "attention"),
    ("patch:4@mean", "attention"),
    ("patch:4", "inside"),
    ("whole", "conv"),
    ("patch:5/3", "conv"),
])  # fmt: skip
def test_predictions_meet_measurements(cut: str, kind: str) -> None:
    row = compare(stripes(128), [cut], budget="1 step", seeds=1, model=kind).rows[0]
    assert row.facts is not None
    assert row.facts.flops_predicted == pytest.approx(row.facts.flops, rel=0.02)
    assert row.facts.memory_predicted == pytest.approx(row.facts.memory, rel=0.35)


def test_a_cut_that_loses_data_says_so() -> None:
    report = compare(stripes(), ["patch:5+drop", "patch:5"], budget="2 steps", seeds=1)
    dropped, padded = report.rows[:2]
    assert dropped.facts is not None
    assert padded.facts is not None
    assert dropped.facts.coverage == pytest.approx(25 / 64)
    assert padded.facts.coverage == 1
    assert any("patch:5+drop: loses data" in note for note in report.notes)


def test_mean_merge_forgets_where_fragments_were() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    x = rng.normal(0, 0.1, (200, 1, 8)).astype(np.float32)
    # The same bump, in the first or in the second half.
    x[np.arange(200), 0, labels * 4 + 1] += 2
    report = compare(ArrayTask(x, labels), ["patch:4", "patch:4@mean"], budget="40 steps", seeds=1)
    kept, lost = report.rows[:2]
    assert kept.quality is not None
    assert lost.quality is not None
    assert kept.quality > 0.95
    assert lost.quality < 0.75
    assert any("patch:4@mean" in note and "not told where" in note for note in report.notes)


def test_a_failing_cut_is_a_row_and_the_others_go_on() -> None:
    report = compare(stripes(), ["patch:9", "patch:4"], budget="2 steps", seeds=1)
    failed, fine = report.rows[:2]
    assert failed.quality is None
    assert failed.failures == ["does not fit samples of 8x8; at most 8x8"]
    assert fine.quality is not None
    assert "failed" in report.table()


def test_nan_loss_is_kept_as_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # Data that are not finite are refused before; a loss may still become so.
    monkeypatch.setattr("tokfrag.compare.parts._check_finite", lambda part: None)
    x = np.zeros((40, 1, 8), np.float32)
    y = np.full((40, 2), np.nan, np.float32)
    row = compare(ArrayTask(x, y), ["patch:4"], budget="2 steps", seeds=1).rows[0]
    assert row.quality is None
    assert row.failures == ["seed 0: the loss became nan at step 1"]


def test_a_budget_too_short_for_a_step_says_so() -> None:
    report = compare(stripes(), ["patch:4"], budget="10 flops", seeds=1)
    assert report.rows[0].failures == ["seed 0: a budget of 1e-08 GFLOP is too short for one step"]
    assert "too short for one step" in report.table()


def test_no_cut_that_fits_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"every cut failed; patch:9: does not fit"):
        compare(stripes(), ["patch:9", "bytes"], budget="1 step")


class SlowCut:
    """A cut of one's own that is interrupted when it is fitted for the second time."""

    name = "slow"
    family = "fragments"

    def fit(self, train: object) -> FittedCut:
        raise KeyboardInterrupt


def test_interrupt_keeps_the_finished_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokfrag.compare import runner

    run_seed = runner.run_seed
    calls = []

    def interrupted_at_the_third(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run_seed(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "run_seed", interrupted_at_the_third)
    report = compare(stripes(), ["patch:4", "patch:2"], budget="2 steps", seeds=2)
    assert report.interrupted
    assert [len(row.runs) for row in report.rows[:2]] == [2, 0]
    assert "interrupted" in report.table()


def test_interrupt_while_cutting_gives_a_report() -> None:
    report = compare(stripes(), ["patch:4", SlowCut()], budget="2 steps", seeds=1)
    assert report.interrupted
    assert report.rows[1].quality is None


def test_resume_takes_finished_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokfrag.compare import runner

    state = tmp_path / "state.json"
    whole = compare(stripes(), ["patch:4", "patch:2"], budget="3 steps", seeds=2)
    compare(stripes(), ["patch:4"], budget="3 steps", seeds=2, state=state)
    trained = []
    run_seed = runner.run_seed

    def counted(*args: object, **kwargs: object) -> object:
        trained.append(1)
        return run_seed(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "run_seed", counted)
    resumed = compare(
        stripes(), ["patch:4", "patch:2"], budget="3 steps", seeds=2, state=state, resume=True
    )
    assert len(trained) == 2
    assert timeless(resumed) == timeless(whole)
    with pytest.raises(ValueError, match="holds another comparison"):
        compare(stripes(), ["patch:4"], budget="4 steps", seeds=2, state=state, resume=True)


def test_resume_names_line_and_column_of_a_broken_file(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text('{"rows":\n oops}')
    with pytest.raises(ValueError, match="line 2, column 2"):
        compare(stripes(), ["patch:4"], budget="1 step", state=state, resume=True)


def test_json_holds_every_number_and_is_not_overwritten(tmp_path: Path) -> None:
    report = compare(stripes(), ["patch:4"], budget="2 steps", seeds=2)
    path = tmp_path / "report.json"
    report.to_json(path)
    held = json.loads(path.read_text())
    assert held["rows"][0]["name"] == "patch:4"
    assert held["rows"][0]["quality"] == report.rows[0].quality
    assert held["environment"]["torch"] == torch.__version__
    assert len(held["rows"][0]["runs"]) == 2
    with pytest.raises(FileExistsError, match="--force"):
        report.to_json(path)
    report.to_json(path, force=True)
    with pytest.raises(FileNotFoundError, match="folder does not exist"):
        report.to_json(tmp_path / "none" / "report.json")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot_writes_the_format_of_its_suffix(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    report = compare(stripes(), ["patch:4"], budget="1 step", seeds=1)
    path = tmp_path / f"plot.{suffix}"
    report.plot(path)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
    with pytest.raises(ValueError, match="it takes"):
        report.plot(tmp_path / "plot.doc")


def test_a_module_of_ones_own_mixes_the_pieces() -> None:
    middle = torch.nn.Sequential(torch.nn.Linear(24, 24), torch.nn.Tanh())
    before = middle[0].weight.clone()
    report = compare(stripes(), ["pixels:4", "patch:4"], budget="5 steps", seeds=1, model=middle)
    assert all(row.quality is not None for row in report.rows)
    assert torch.equal(middle[0].weight, before)


def test_a_function_builds_a_network_of_ones_own() -> None:
    def build(spec: PieceSpec, outputs: int | None) -> torch.nn.Module:
        assert outputs == 2
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(spec.n * spec.units, outputs)
        )

    report = compare(stripes(), ["patch:4"], budget="5 steps", seeds=1, model=build)
    assert report.rows[0].facts is not None
    assert report.rows[0].facts.flops_predicted is None
    assert report.rows[0].quality is not None


def test_a_cut_of_ones_own_needs_no_base_class() -> None:
    class Rows:
        name = "rows"
        family = "fragments"

        def fit(self, train: object) -> FittedCut:
            def cut(x: np.ndarray) -> Pieces:
                return Pieces(x[:, 0], np.full(len(x), x.shape[2]))

            return FittedCut(PieceSpec(8, (8,)), cut)

    report = compare(stripes(), [Rows()], budget="20 steps", seeds=1)
    assert report.rows[0].quality is not None
    assert report.rows[0].quality > 0.9


def test_labels_of_floats_are_forecast() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1, 8)).astype(np.float32)
    report = compare((x, x[:, 0, ::2] * 2), ["patch:4"], budget="80 steps", seeds=1)
    row, baseline = report.rows
    assert report.metric.name == "MSE"
    assert row.quality is not None
    assert baseline.quality is not None
    assert row.quality < baseline.quality / 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"task": "digit"},
            ValueError,
            "task: got 'digit'; it takes one of arrays, digits, items, labels",
        ),
        ({"task": 3}, TypeError, "task: got int"),
        ({"cuts": []}, ValueError, "cuts: got none"),
        ({"cuts": ["patch:4", "patch:4"]}, ValueError, "twice"),
        ({"cuts": [None]}, TypeError, "cut: got NoneType"),
        ({"budget": "5 apples"}, ValueError, "budget: got '5 apples'"),
        ({"budget": 0}, ValueError, "above zero"),
        ({"budget": "0.4 steps"}, ValueError, "takes 1 step or more"),
        ({"seeds": 0}, ValueError, "seeds: got 0"),
        ({"seeds": [1, 1]}, ValueError, "seeds"),
        ({"threads": 0}, ValueError, "threads: got 0"),
        ({"model": "huge"}, ValueError, "body: got 'huge'"),
        ({"model": 3}, TypeError, "model: got int"),
        ({"cuts": ["bytes"]}, ValueError, "takes text, got an array"),
        ({"task": (np.zeros((4, 1, 8)), np.zeros(3))}, ValueError, "got 3 labels for 4 samples"),
        ({"task": (np.zeros((4, 1, 8)), np.arange(4) - 1)}, ValueError, "got the label -1"),
    ],
)
def test_bad_arguments_get_one_clear_error(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    given: dict[str, object] = {"task": stripes(), "cuts": ["patch:4"], "budget": "1 step"}
    with pytest.raises(error, match=message):
        compare(**{**given, **arguments})  # type: ignore[arg-type]


def test_thread_setting_is_put_back() -> None:
    before = torch.get_num_threads()
    compare(stripes(), ["patch:4"], budget="1 step", seeds=1, threads=1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("60s", "seconds", 60),
        ("2m", "seconds", 120),
        ("250 ms", "seconds", 0.25),
        ("1e12 flops", "flops", 1e12),
        ("500 GFLOP", "flops", 5e11),
        ("200 steps", "steps", 200),
        (7, "seconds", 7),
        (0.5, "seconds", 0.5),
    ],
)
def test_budgets_are_read(text: str | float, kind: str, amount: float) -> None:
    budget = Budget.of(text)
    assert (budget.kind, budget.amount) == (kind, pytest.approx(amount))


def test_import_of_the_package_takes_no_torch() -> None:
    code = "import sys, tokfrag.compare, tokfrag.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_body_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="body conv: works inside fragments"):
        Body("conv")(PieceSpec(4, (), 16), 2)
    with pytest.raises(ValueError, match="merge: got 'sum'"):
        Patches((4,), merge="sum")
