"""The code in docs/compare.md runs as it stands, and keeps its promises."""

from __future__ import annotations

import re

import pytest

from support import ROOT

pytest.importorskip("torch")

PAGE = ROOT / "docs" / "compare.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1])
def test_block_runs_and_prints_what_it_should(
    block: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(block, str(PAGE), "exec"), {"__name__": "__docs__"})
    wanted = "(95 %)" if "compare(" in block else block.rpartition("# -> ")[2].strip()
    assert wanted in capsys.readouterr().out


def test_a_task_of_ones_own_takes_under_40_lines() -> None:
    (own,) = [block for block in BLOCKS if "class Waves" in block]
    assert len(own.splitlines()) < 40


def test_a_cut_of_ones_own_takes_under_40_lines() -> None:
    (own,) = [block for block in BLOCKS if "class Rows" in block]
    assert len(own.splitlines()) < 40


def test_frozen_features_take_under_40_lines() -> None:
    (own,) = [block for block in BLOCKS if "FrozenFeatures" in block]
    assert len(own.splitlines()) < 40
