"""Settings are tried without the judging part; where they were set by hand, the table says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokfrag.cli.main import main, parser  # noqa: E402
from tokfrag.compare import ArrayTask, Recipe, Report, Split, compare  # noqa: E402
from tokfrag.compare.problems import Classify  # noqa: E402

BY_HAND = "if that was found by trying it on this judging part, its scores are too good"


class Watched(ArrayTask):
    """Remembers which samples answers were judged on; the judging part is all of threes."""

    def problem(self) -> Any:
        seen = self.seen

        class Watching(Classify):
            def score(self, outputs: Any, samples: Any, fitted: Any) -> float:
                seen.append(samples.x)
                return super().score(outputs, samples, fitted)

            def floors(self, train: Any, test: Any, fitted: Any) -> Any:
                seen.append(test[1].x)
                return super().floors(train, test, fitted)

        return Watching(2)

    def baselines(self, split: Split) -> Mapping[str, float]:
        self.seen.append(split.test.x)
        return super().baselines(split)

    @property
    def seen(self) -> list[Any]:
        return self.__dict__.setdefault("_seen", [])


def watched() -> Watched:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 1, 6, 6)).astype(np.float32)
    labels = np.arange(120) % 2
    x[labels == 1, :, :3] += 1
    test = np.full((30, 1, 6, 6), 3, np.float32) + rng.normal(0, 0.01, (30, 1, 6, 6))
    return Watched(x, labels, test=(test.astype(np.float32), np.arange(30) % 2))


def test_a_rehearsal_never_judges_the_judging_part() -> None:
    task = watched()
    report = compare(task, ["patch:3"], budget="200 steps", seeds=1, rehearse=True)
    assert task.seen
    assert all(np.mean(x) < 2 for x in task.seen)
    assert any("the judging part was not scored" in note for note in report.notes)
    assert report.about.endswith("; REHEARSED")
    assert report.rows[0].quality is not None
    task = watched()
    compare(task, ["patch:3"], budget="20 steps", seeds=1)
    assert any(np.mean(x) > 2 for x in task.seen)


def test_a_rehearsal_is_no_finished_training_of_what_it_rehearses(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    compare(watched(), ["patch:3"], budget="3 steps", seeds=1, rehearse=True, state=state)
    with pytest.raises(ValueError, match="holds another comparison"):
        compare(watched(), ["patch:3"], budget="3 steps", seeds=1, state=state, resume=True)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ({}, None),
        ({"recipe": Recipe(width=32)}, "width"),
        ({"recipe": Recipe(rate=1e-3, tune=False, batch=8)}, "batch, rate"),
        ({"model": "recurrent"}, "body"),
        ({"model": torch.nn.Linear(64, 64)}, None),
    ],
)
def test_what_was_set_by_hand_is_told(how: dict[str, Any], named: str | None) -> None:
    def notes(**more: Any) -> list[str]:
        report: Report = compare(watched(), ["patch:3"], budget="2 steps", seeds=1, **how, **more)
        return [note for note in report.notes if BY_HAND in note]

    assert [note.partition(";")[0] for note in notes()] == (
        [] if named is None else [f"set by hand: {named}"]
    )
    assert notes(rehearse=True) == []


def test_rehearsals_and_seeds_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    how = ["--cuts", "patch:4", "--budget", "2 steps", "--seeds", "7,9", "--quiet"]
    assert main(["compare", "digits", "--rehearse", "--width", "16", *how]) == 0
    told = capsys.readouterr().out
    assert "2 seeds" in told
    assert "the judging part was not scored" in told
    assert main(["compare", "digits", "--width", "16", *how]) == 0
    assert "set by hand: width" in capsys.readouterr().out
    assert parser().parse_args(["compare", "digits", "--seeds", "7,9"]).seeds == (7, 9)
    with pytest.raises(SystemExit):
        parser().parse_args(["compare", "digits", "--seeds", "7,7"])
    assert "it takes a number, or seeds such as 7,8,9" in capsys.readouterr().err


def test_a_plan_holds_how_many_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = str(tmp_path / "plan.json")
    assert main(["compare", "digits", "--propose", plan, "--seeds", "7,9"]) == 2
    assert "a plan holds how many seeds, not which" in capsys.readouterr().err
    assert main(["compare", "digits", "--propose", plan, "--rehearse"]) == 2
    assert "leave out --rehearse" in capsys.readouterr().err
