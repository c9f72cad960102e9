"""Costs in use, told from a finished comparison: answers, longer samples, serving."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

torch = pytest.importorskip("torch")

from tokfrag.cli.main import main, parser  # noqa: E402
from tokfrag.compare import Report, Row, Run, Rung, compare  # noqa: E402
from tokfrag.compare.body import Body  # noqa: E402
from tokfrag.compare.contracts import Samples  # noqa: E402
from tokfrag.compare.cuts.names import parse_cut  # noqa: E402
from tokfrag.compare.measurement import count_flops  # noqa: E402
from tokfrag.compare.metric import BITS_PER_BYTE as BITS  # noqa: E402
from tokfrag.compare.prediction import predict_step  # noqa: E402
from tokfrag.compare.problems import Classify  # noqa: E402
from tokfrag.compare.replay import Use, at_flops, equal_cost, in_all, replay_text  # noqa: E402


@cache
def measured() -> Report:
    """A real comparison, for its facts."""
    return compare("digits", ["patch:4", "patch:2"], budget="16 steps", seeds=1)


def ladder(name: str, flops: float, *scores: float) -> Row:
    """A row of 400 steps and more, each rung four times the one before, the last of 1600 FLOPs."""
    facts = measured().rows[0].facts
    assert facts is not None
    rungs = tuple(
        Rung(4.0 ** (i - 2), score, score, steps=400, flops=100 * 4.0**i)
        for i, score in enumerate(scores)
    )
    facts = replace(facts, flops=flops, attention_share=0.25)
    return Row(name, BITS, facts=facts, runs=(Run(0, rungs),))


def test_longer_samples_cost_what_the_counter_says() -> None:
    problem, found = Classify(3), []
    for length in (32, 128):
        x = np.random.default_rng(0).normal(size=(4, 1, length)).astype(np.float32)
        fitted = parse_cut("patch:4").fit(Samples(x))
        network = problem.network(fitted.spec, Body(width=16))
        pieces = torch.from_numpy(fitted.cut(x).values)
        found.append(count_flops(network, problem, pieces, torch.zeros(4, dtype=torch.long)) / 4)
        if length == 32:
            predicted = predict_step(network, pieces)
            assert predicted is not None
            share = predicted.attention / predicted.flops
    told = Use(context=4).answer(found[0], share)
    assert told == pytest.approx(found[1] / 3, rel=0.05)
    # Without the squares it would be far off.
    assert Use(context=4).answer(found[0], 0) != pytest.approx(found[1] / 3, rel=0.05)


@given(st.floats(100, 1600))
def test_a_score_between_rungs_lies_between_theirs(flops: float) -> None:
    row = Row(
        "a",
        BITS,
        runs=(
            Run(0, tuple(Rung(0.0, s, s, flops=100 * 4.0**i) for i, s in enumerate((3, 2, 1.5)))),
        ),
    )
    found = at_flops(row, flops)
    assert found is not None
    assert 1.5 <= found <= 3
    low, high = at_flops(row, 99), at_flops(row, 1601)
    assert low is None
    assert high is None
    # In the middle of two rungs, as their logarithms go, is the middle of their scores.
    assert at_flops(row, 200) == pytest.approx(2.5)


def test_a_dear_answer_is_paid_by_less_training() -> None:
    # 300 and 3000 FLOPs of training a sample: 100 and 1000 an answer.
    cheap, dear = ladder("cheap", 300, 3.0, 2.5, 2.0), ladder("dear", 3000, 3.0, 2.0, 1.0)
    report = Report("made up", "", BITS, ("1 FLOP", "4 FLOP", "16 FLOP"), (0,), (cheap, dear))
    assert report.ranked[0] is dear
    assert in_all(cheap, Use()) == 1600
    assert in_all(dear, Use(answers=1, weight=0.5)) == 1600 + 500
    least, equal = equal_cost(report, Use(answers=1))
    assert least is cheap
    # The dear one has 1700 - 1000 = 700 left to train with, the cheap one is as it was.
    assert equal == {"cheap": 2.0, "dear": pytest.approx(at_flops(dear, 700))}
    # With more answers there is less than its first rung left.
    assert equal_cost(report, Use(answers=2))[1] == {"cheap": 2.0}
    told = replay_text(report, Use(answers=2))
    assert "- at equal cost: cheap, 2.000" in told
    assert "- dear: not told" in told
    # Without answers nothing changes.
    assert equal_cost(report, Use())[1] == {"cheap": 2.0, "dear": 1.0}


def test_a_network_of_unknown_growth_is_not_told_for_longer_samples() -> None:
    row = ladder("own", 300, 3.0, 2.0, 1.0)
    assert row.facts is not None
    row = replace(row, facts=replace(row.facts, attention_share=None))
    assert in_all(row, Use(answers=1)) == 1700
    assert in_all(row, Use(answers=1, context=2)) is None
    report = Report("made up", "", BITS, ("1 FLOP",), (0,), (row,))
    assert "nothing is told at equal cost" in replay_text(report, Use(answers=1, context=2))


@pytest.mark.parametrize("how", [{"answers": -1}, {"context": 0}, {"weight": float("inf")}])
def test_a_use_that_cannot_be_is_refused(how: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="it takes a number"):
        Use(**how)


def test_a_report_is_replayed_in_use_without_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    measured().to_json(path)
    monkeypatch.setattr("tokfrag.compare.training.climb", lambda *a, **k: pytest.fail("trains"))
    use = ["--answers", "1e6", "--context", "4", "--serve-weight", "0.5"]
    assert main(["report", str(path), *use]) == 0
    told = capsys.readouterr().out
    assert "With 1e+06 answers of 4 times the length after a training" in told
    assert "an operation of theirs at 0.5" in told
    assert "patch:2" in told
    assert main(["report", str(path)]) == 0
    assert "answers" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "twice",
    [
        ["compare", "digits", "--width", "8", "--width", "16"],
        ["compare", "digits", "--data", "a", "--data", "b"],
        ["report", "run.json", "--price", "1", "--price", "2"],
        ["verify", "t.json", "--data", "a", "--data", "b"],
    ],
)
def test_an_option_that_takes_one_value_is_not_given_two(
    twice: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parser().parse_args(twice)
    assert stop.value.code == 2
    assert f"argument {twice[2]}: given twice; it takes one" in capsys.readouterr().err
