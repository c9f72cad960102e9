"""The scoreboard's arithmetic: parts of whole calls, medians, ratios, and what is no number."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "bench" / "tokbench" / "scoreboard.py"


@pytest.fixture(scope="module")
def scoreboard() -> Any:
    specification = importlib.util.spec_from_file_location("scoreboard", PATH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    path = list(sys.path)
    specification.loader.exec_module(module)
    sys.path[:] = path
    return module


def test_rows_are_whole_calls_and_new(scoreboard: Any) -> None:
    text = "".join(f"row {number} é " for number in range(40000))
    rows = scoreboard.rows_of(text)
    assert list(rows) == list(scoreboard.UNSEEN)
    joined = "".join(row for regime in rows.values() for row in regime)
    assert text.startswith(joined)
    for regime, (_, _, at_once) in scoreboard.UNSEEN.items():
        parts = scoreboard.parts_of(rows[regime], at_once)
        assert [row for part in parts for row in part] == rows[regime]
        assert all(part and len(part) % at_once == 0 for part in parts)


def test_table(scoreboard: Any) -> None:
    def cell(spent: list[Any], state: str = "right") -> dict[str, Any]:
        return {"state": state} | dict.fromkeys(scoreboard.REGIMES, spent)

    cells = dict.fromkeys(scoreboard.PACKAGES, cell([0.4]))
    cells["tokfrag"] = cell([0.1, 0.3, 0.2])
    cells["gigatoken"] = cell([0.05], "differs")
    cells["snaptokens"] = {"loaded": {"refused": "a pattern"}}
    cells["fastokens"] = cell([[0.5, 10**6], [0.5, 10**5], [0.5, 10**7]])
    results = {"gpt2 english": {"bytes": 10**6, "engines": cells}}
    assert scoreboard.speed(cells["tokfrag"], "warm", 10**6) == pytest.approx(10)
    assert scoreboard.speed(cells["tokfrag"], "cold", 10**6) == pytest.approx(5)
    assert scoreboard.speed(cells["fastokens"], "single", 10**6) == pytest.approx(2)
    assert scoreboard.speed(cells["gigatoken"], "warm", 10**6) is None
    # Against the 2.5 MB/s of tokenizers, not against ids that differ.
    assert scoreboard.ratios(results, "cold") == pytest.approx([2])
    out = io.StringIO()
    scoreboard.print_table(results, out)
    lines = out.getvalue().splitlines()
    assert lines[2].split() == ["gpt2", "english", "5.0", "differs", "refused", "2.0", "2.5"]
    assert lines[3] == "ours over the best of the others: least 2.00, mean 2.00"
    assert [line.split() for line in lines[-3:]] == [
        ["right", "1", "0", "0", "1", "1"],
        ["differs", "0", "1", "0", "0", "0"],
        ["refused", "0", "0", "1", "0", "0"],
    ]
