"""Finished trainings of an interrupted comparison, and how to know that they still count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tokfrag.compare.budget import Budget
from tokfrag.compare.contracts import Split, Task
from tokfrag.compare.row import Run

#: What a report's JSON looks like; raised when that changes.
FORMAT = 2


def digest(
    task: Task,
    budget: Budget,
    rungs: Sequence[float],
    recipe: Any,
    model: Any,
    threads: int,
    split: Split,
) -> str:
    """What a finished training depends on, but for its cut and seed, as 16 hexadecimal digits."""
    found = hashlib.sha256()
    body = getattr(model, "__qualname__", repr(model))
    found.update(f"{task.name} {task.about} {budget} {rungs} {recipe} {body} {threads}".encode())
    parts = [split.train, split.test] + ([split.choose] if split.choose else [])
    for part in (held for samples in parts for held in (samples.x, samples.y)):
        if isinstance(part, np.ndarray):
            found.update(np.ascontiguousarray(part).tobytes())
        elif part is not None:
            for text in part:
                found.update(text)
    return found.hexdigest()[:16]


def finished_runs(
    state: str | PathLike[str], key: str
) -> dict[tuple[str, int], tuple[Run, tuple[float, ...]]]:
    """The runs in a report of the same comparison, by cut and seed; none if there is no file.

    Beside each run stand the weights of the parts that it was judged on.
    """
    path = Path(state)
    if not path.exists():
        return {}
    held = read_report(path)
    try:
        found_key = held["key"]
        runs = {
            (row["name"], run["seed"]): (Run.of(run), tuple(row["weights"]))
            for row in held["rows"]
            for run in row["runs"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: is no report of a comparison: {error}") from None
    if found_key != key:
        raise ValueError(
            f"{path}: holds another comparison (task, data, budget or body differ); "
            "resume takes the same one"
        )
    return runs


def read_report(path: Path) -> dict[str, Any]:
    """The JSON of a report.

    Raises
    ------
    ValueError
        Where the file is not JSON, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such report: {path}")
    try:
        held = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise ValueError(f"{path}: is no report of a comparison (format {FORMAT})")
    return held
