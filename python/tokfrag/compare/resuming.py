"""Finished trainings of an interrupted comparison, and how to know that they still count."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tokfrag.compare.budget import Budget
from tokfrag.compare.row import Run
from tokfrag.compare.task import Split, Task


def digest(task: Task, budget: Budget, recipe: Any, model: Any, threads: int, split: Split) -> str:
    """What a finished training depends on, but for its cut and seed, as 16 hexadecimal digits."""
    found = hashlib.sha256()
    body = getattr(model, "__qualname__", repr(model))
    found.update(f"{task.name} {task.about} {budget} {recipe} {body} {threads}".encode())
    for part in (split.train.x, split.test.x, split.train.y, split.test.y):
        if isinstance(part, np.ndarray):
            found.update(np.ascontiguousarray(part).tobytes())
        elif part is not None:
            for text in part:
                found.update(text)
    return found.hexdigest()[:16]


def finished_runs(state: str | PathLike[str], key: str) -> dict[tuple[str, int], Run]:
    """The runs in a report of the same comparison, by cut and seed; none if there is no file."""
    path = Path(state)
    if not path.exists():
        return {}
    try:
        held = json.loads(path.read_text())
        found_key = held["key"]
        names = {field.name for field in fields(Run)}
        runs = {
            (row["name"], run["seed"]): Run(**{k: v for k, v in run.items() if k in names})
            for row in held["rows"]
            for run in row["runs"]
        }
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: is no report of a comparison: {error}") from None
    if found_key != key:
        raise ValueError(
            f"{path}: holds another comparison (task, data, budget or body differ); "
            "resume takes the same one"
        )
    return runs
