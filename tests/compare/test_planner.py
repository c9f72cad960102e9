"""The planner: what data look like, which cuts are proposed, who stays in a race, what is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.cli.main import main
from tokfrag.compare import Floor, Report, Row, Run, Rung, Samples, parse_cut
from tokfrag.compare.budget import Budget
from tokfrag.compare.metric import ACCURACY, BITS_PER_BYTE, MSE, Metric
from tokfrag.compare.planner.fingerprint import fingerprint
from tokfrag.compare.planner.proposal import Plan, propose
from tokfrag.compare.planner.race import race, survivors
from tokfrag.compare.planner.verdict import scaled, verdict, verdict_notes
from tokfrag.compare.row import Honesty
from tokfrag.compare.tasks.arrays import ArrayTask
from tokfrag.compare.tasks.sensors import SensorsTask
from tokfrag.compare.tasks.text import TextTask

WORDS = "the cat sat on a mat and the dog ran after the cat in the rain "


def row(name: str, *scores: float, metric: Metric = BITS_PER_BYTE, **more: Any) -> Row:
    """A row of two seeds that hardly differ, judged and chosen alike, one rung a score."""
    runs = tuple(
        Run(
            seed,
            tuple(
                Rung(0.25 ** (len(scores) - 1 - i), s * way, s * way, steps=400)
                for i, s in enumerate(scores)
            ),
        )
        for seed, way in enumerate((0.9999, 1.0001))
    )
    return Row(name, metric, runs=runs, **more)


def report(*rows: Row) -> Report:
    count = len(rows[0].runs[0].rungs)
    budgets = tuple(f"{4**i} GFLOP" for i in range(count))
    return Report("made up", "rows", rows[0].metric, budgets, (0, 1), rows)


def test_entropy_of_text_falls_with_what_is_known() -> None:
    found = fingerprint(Samples([(WORDS * 40).encode()]))
    first, *others = found.entropies
    counts = np.bincount(np.frombuffer((WORDS * 40).encode(), np.uint8))
    share = counts[counts > 0] / counts.sum()
    assert first == pytest.approx(-(share * np.log2(share)).sum(), abs=1e-3)
    assert all(a > b for a, b in zip(found.entropies, others, strict=False))
    sizes, each = zip(*found.bytes_per_token, strict=True)
    assert sizes[0] == 256
    assert each[0] == 1.0
    assert list(each) == sorted(each)


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 24))
def test_correlation_of_a_wave_follows_its_length(length: int) -> None:
    wave = np.sin(2 * np.pi * np.arange(length * 20) / length)[None, None]
    found = fingerprint(Samples(wave.repeat(4, 0)))
    # The correlation of a wave with itself is a cosine, a half at a sixth of its length.
    assert found.correlation[0] == pytest.approx(length / 6, rel=0.25, abs=0.3)
    assert found.to_dict()["shape"] == (length * 20,)


def test_proposals_fit_the_data_they_are_for() -> None:
    x = np.random.default_rng(0).normal(size=(40, 1, 12, 18)).cumsum(-1).cumsum(-2)
    found, cuts = propose(_defaults(ArrayTask(x, np.arange(40) % 2), "patch:2"))
    assert found.shape == (12, 18)
    assert 3 <= len(cuts) <= 8
    assert cuts[-1].cut == "whole"
    for one in cuts:
        assert parse_cut(one.cut).fit(Samples(x)).coverage == 1.0


def test_vocabularies_are_no_larger_than_the_text_can_teach() -> None:
    _, few = propose(TextTask(texts=[WORDS * 100]))
    assert not any(one.cut.startswith("bpe") for one in few)
    rng = np.random.default_rng(0)
    text = " ".join("".join(rng.choice(list("abcdefgh"), 5)) for _ in range(12000))
    _, many = propose(TextTask(texts=[text]))
    assert any(one.cut.startswith("bpe") for one in many)


def _defaults(task: Any, *cuts: str) -> Any:
    return SimpleNamespace(split=task.split, default_cuts=lambda: cuts)


def test_unknown_kinds_of_data_keep_the_tasks_own_cuts() -> None:
    task = _defaults(TextTask(texts=[WORDS * 100]), "smiles", "atoms:1")
    assert [one.cut for one in propose(task)[1]] == ["smiles", "atoms:1"]


def test_a_plan_is_written_edited_and_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "digits", "--propose", "plan.json", "--budget", "2 steps"]) == 0
    assert "patch:4" in capsys.readouterr().out
    held = json.loads(Path("plan.json").read_text())
    assert held["budget"] == "2 steps"
    assert held["fingerprint"]["shape"] == [8, 8]
    held["cuts"] = ["patch:8", {"cut": "patch:4"}]
    Path("plan.json").write_text(json.dumps(held))
    assert main(["compare", "plan.json", "--seeds", "1", "--json", "run.json"]) == 0
    captured = capsys.readouterr()
    names = [row["name"] for row in json.loads(Path("run.json").read_text())["rows"]]
    assert names[:2] == ["patch:8", "patch:4"]
    # No terminal: a line a finished row, and no carriage returns.
    assert "\r" not in captured.err
    assert [line.split("s  ")[1].split(":")[0] for line in captured.err.splitlines()] == [
        "patch",
        "patch",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cuts": []}, "cuts: got none"),
        ({"cuts": [3]}, "cuts: got 3"),
        ({"budget": 5}, "budget: got 5"),
        ({"seeds": True}, "seeds: got True"),
        ({"seeds": 0}, "seeds: got 0; it takes 1 or more"),
        ({"data": 5}, "data: got 5; it takes a str"),
        ({"settings": {"context": [1]}}, r"settings: context: got \[1\]"),
    ],
)
def test_a_broken_plan_says_which_entry(tmp_path: Path, change: Any, told: str) -> None:
    path = tmp_path / "plan.json"
    Plan("digits", None, {}, "1 GFLOP", 1, propose(TextTask(texts=[WORDS * 100]))[1]).write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=told):
        Plan.read(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="line 1, column 2"):
        Plan.read(path)
    path.write_bytes(b"{\xff")
    with pytest.raises(ValueError, match="byte 1: not UTF-8"):
        Plan.read(path)


def test_a_race_keeps_the_best_and_spends_little() -> None:
    truth = {"a": 3.0, "b": 2.0, "c": 4.0, "d": 1.0, "e": 5.0, "f": 6.0}
    spent: list[tuple[int, float, int]] = []

    def compare(cuts: Sequence[Any], budget: Budget, seeds: int) -> Report:
        spent.append((len(cuts), budget.amount, seeds))
        return report(*(row(cut.name, truth[cut.name]) for cut in cuts))

    cuts = [SimpleNamespace(name=name) for name in truth]
    outcome, heats = race(cuts, "16 GFLOP", compare, seeds=3)
    assert spent == [(6, 1e9, 1), (4, 4e9, 1), (2, 16e9, 3)]
    assert [one.name for one in outcome.rows] == ["b", "d"]
    assert heats[0].left == ("e", "f")
    assert any(note == "race: at 4 GFLOP a, c left, b, d stayed" for note in outcome.notes)


def test_what_is_lossy_or_failed_leaves_a_race_first() -> None:
    rows = (
        row("lossy", 0.1, honesty=Honesty(True, "it forgets")),
        Row("failed", BITS_PER_BYTE, failure="no"),
        row("good", 3.0),
        row("better", 2.0),
    )
    assert survivors(report(*rows), 2) == {"good", "better"}
    high = (row("low", 0.5, metric=ACCURACY), row("high", 0.9, metric=ACCURACY))
    assert survivors(report(*high), 1) == {"high"}


def test_the_verdict_foretells_a_crossing_that_comes() -> None:
    # Two power laws that cross at 64 GFLOP, four times the last rung.
    def law(begin: float, slope: float) -> list[float]:
        return [begin * 4 ** (-slope * i) for i in range(3)]

    said = verdict(
        report(row("flat", *law(1.0, 0.1), metric=MSE), row("steep", *law(4**0.9, 0.4), metric=MSE))
    )
    assert said.now == ("flat",)
    assert "steep" in said.later
    assert said.crossing is not None
    assert float(said.crossing.split()[0]) == pytest.approx(64, rel=0.1)
    assert "the lines cross near" in said.text


def test_a_row_of_few_steps_counts_for_later_and_a_lossy_one_does_not() -> None:
    # Falls fast, past its own floor at every rung, but has made too few steps to be named now.
    fast = row("fine", 4.0, 2.0, 1.0)
    few = tuple(
        replace(run, rungs=tuple(replace(rung, steps=150) for rung in run.rungs))
        for run in fast.runs
    )
    slow = row("coarse", 1.0, 0.95, 0.9)
    said = verdict(report(slow, replace(fast, runs=few)))
    assert said.now == ("coarse",)
    assert "fine" in said.later
    assert said.crossing is not None
    lossy = replace(fast, honesty=Honesty(True, "it forgets"))
    assert verdict(report(slow, lossy)).later == ()


def test_a_row_that_has_not_begun_is_named_as_one_of_which_nothing_is_known() -> None:
    late = row("late", 9.0, 8.0, 7.0, floors=(Floor("counting", 5.0),))
    said = verdict(report(row("good", 2.0, 1.0, 0.5), row("bad", 4.0, 3.9, 3.8), late))
    assert said.later == ("good",)
    assert said.unknown == ("late",)
    assert said.text.endswith("good (late is not foretold)")
    lossy = replace(late, honesty=Honesty(True, "it forgets"))
    others = row("good", 2.0, 1.0, 0.5), row("bad", 4.0, 3.9, 3.8)
    assert verdict(report(*others, lossy)).unknown == ()


def test_the_verdict_is_silent_where_it_does_not_know() -> None:
    short = report(row("a", 2.0, 1.0), row("b", 3.0, 1.5))
    assert verdict(short).later == ()
    assert verdict_notes(short) == []
    alike = report(*(row(name, 3.0, 2.0, 1.5) for name in "abcd"))
    assert "not settled" in verdict(alike).text
    none = report(row("lossy", 3.0, 2.0, 1.0, honesty=Honesty(True, "it forgets")))
    assert verdict(none).text == "at 16 GFLOP: not settled"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.5, 4), min_size=3, max_size=3), st.floats(2, 10))
def test_a_row_that_is_better_at_every_rung_by_as_much_stays(
    scores: list[float], far: float
) -> None:
    scores = sorted(scores, reverse=True)
    said = verdict(report(row("good", *scores), row("bad", *(s * 2 for s in scores))), further=far)
    assert said.now == ("good",)
    assert said.later == () or "good" in said.later


def test_budgets_are_scaled_in_their_unit() -> None:
    assert scaled("44 GFLOP", 10) == "440 GFLOP"
    assert scaled("200 steps", 2.5) == "500 steps"
    with pytest.raises(ValueError, match="number and a unit"):
        scaled("soon", 2)


def test_the_verdict_stands_in_table_and_page(tmp_path: Path) -> None:
    made = report(row("flat", 1.0, 0.9, 0.8), row("steep", 2.0, 1.2, 0.9))
    said = verdict(made).text
    assert f"- {said}" in made.table()
    made.to_html(tmp_path / "page.html")
    assert said[1:] in (tmp_path / "page.html").read_text()
    assert said in replace(made, samples={}).table()


def test_rows_that_are_equal_are_both_named_for_later() -> None:
    made = report(*(row(name, 3.0, 2.0, 1.0) for name in ("one", "other")))
    # Two seeds that hardly differ: neither is foretold to be ahead.
    assert set(verdict(made).later) == {"one", "other"}


def test_a_race_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["compare", "digits", "--race", "--seeds", "1", "--rate", "0.004", "--quiet"]
    asked += ["--cuts", "patch:8", "patch:4", "patch:4@mean"]
    assert main([*asked, "--budget", "192 steps", "--json", "run.json"]) == 0
    held = json.loads(Path("run.json").read_text())
    kept = {row["name"] for row in held["rows"] if row["kind"] == "fragments"}
    assert len(kept) == 2
    (note,) = [note for note in held["notes"] if note.startswith("race: at 12 steps")]
    assert note in capsys.readouterr().out
    # While it looks for what stays, no judging score is shown.
    loud = [word for word in asked if word != "--quiet"]
    assert main([*loud, "--budget", "192 steps"]) == 0
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "race: 3 cuts at 12 steps"
    assert len(others) == 2
    assert all(" s  patch:" in line for line in others)
    assert main([*asked, "--budget", "12 steps", "24 steps"]) == 2
    assert "--race: got 2 budgets" in capsys.readouterr().err


def test_an_interrupted_race_stops() -> None:
    asked = []

    def compare(cuts: Sequence[Any], budget: Budget, seeds: int) -> Report:
        asked.append(budget)
        found = report(*(row(cut.name, 1.0 + i) for i, cut in enumerate(cuts)))
        return replace(found, interrupted=len(asked) == 2)

    cuts = [SimpleNamespace(name=name) for name in "abcdef"]
    outcome, heats = race(cuts, "16 GFLOP", compare)
    assert [budget.amount for budget in asked] == [1e9, 4e9]
    assert outcome.interrupted
    assert len(heats) == 1
    assert heats[0].note in outcome.notes


def test_fragments_join_no_sensors_that_are_only_listed_side_by_side() -> None:
    cuts = [one.cut for one in propose(SensorsTask())[1]]
    assert len(cuts) >= 4
    assert all(cut.startswith("patch:1x") for cut in cuts)
    assert cuts[-1] == "patch:1x12"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--race", "--cuts", "patch:4"], "leave out --cuts, --race"),
        (["--html", "page.html"], "leave out --html"),
        (["--depth", "3", "--threads", "2"], "leave out --depth, --threads"),
        (["--price", "0", "--piece-price", "1"], "leave out --price, --piece-price"),
        (["--full"], "leave out --full"),
        (["--budget", "1 GFLOP", "2 GFLOP"], "got 2 budgets; a plan holds one"),
    ],
)
def test_a_proposal_takes_no_option_that_it_would_not_heed(
    more: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    assert main(["compare", "digits", "--propose", str(path), *more]) == 2
    assert told in capsys.readouterr().err
    assert not path.exists()
