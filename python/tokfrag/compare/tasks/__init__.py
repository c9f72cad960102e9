"""The shipped tasks, by name; each is built from an optional data file."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from tokfrag.compare.contracts import Task
from tokfrag.compare.tasks.arrays import ArrayTask
from tokfrag.compare.tasks.digits import DigitsTask
from tokfrag.compare.tasks.motion import MotionTask
from tokfrag.compare.tasks.series import SeriesTask
from tokfrag.compare.tasks.text import TextTask
from tokfrag.compare.tasks.volume import VolumeTask

#: The shipped tasks. Each takes the path of the user's data, and settings of its own by name.
TASKS: dict[str, Any] = {
    "digits": DigitsTask,
    "motion": MotionTask,
    "series": SeriesTask,
    "text": TextTask,
    "volume": VolumeTask,
}


_ENDINGS = {
    "series": (".csv",),
    "text": (".txt", ".md", ".py"),
    "digits": ("-ubyte", ".idx"),
}


def make_task(name: str, data: Path | None, settings: Mapping[str, str]) -> Task:
    """A shipped task with its settings as a command line gives them."""
    if name not in TASKS:
        raise ValueError(f"task: got {name!r}; it takes one of {', '.join(TASKS)}")
    known = {
        parameter.name: parameter.annotation
        for parameter in signature(TASKS[name]).parameters.values()
        if parameter.kind is Parameter.KEYWORD_ONLY and parameter.name != "texts"
    }
    values: dict[str, int | float | str] = {}
    for setting, text in settings.items():
        if setting not in known:
            takes = ", ".join(known) or "none"
            raise ValueError(f"{name}: got the setting {setting!r}; it takes {takes}")
        kind = known[setting].split(" ")[0]
        try:
            values[setting] = {"int": int, "float": float, "str": str}[kind](text)
        except ValueError:
            raise ValueError(f"{name}: {setting} takes a number, got {text!r}") from None
    task: Task = TASKS[name](data, **values)
    return task


def guess_task(path: Path) -> str:
    """The shipped task that a file's name stands for.

    Raises
    ------
    ValueError
        Where the name tells none; the message says how to name one.

    Examples
    --------
    >>> guess_task(Path("ETTh1.csv.gz")), guess_task(Path("corpus.txt"))
    ('series', 'text')
    """
    name = path.name.lower().removesuffix(".gz")
    for task, endings in _ENDINGS.items():
        if name.endswith(endings):
            return task
    raise ValueError(
        f"task: cannot tell one from {path.name!r}; name it: tokfrag compare TASK --data "
        f"{path.name}, TASK one of {', '.join(TASKS)}"
    )


def as_task(value: Any) -> Task:
    """A task from its name, from ``(x, y)``, from a list of texts, or the task itself."""
    if isinstance(value, str):
        return make_task(value, None, {})
    if isinstance(value, tuple) and len(value) == 2:
        return ArrayTask(value[0], value[1])
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return TextTask(texts=value)
    if isinstance(value, Task):
        return value
    raise TypeError(
        f"task: got {type(value).__name__}; it takes a name ({', '.join(TASKS)}), (x, y), a list "
        "of texts, or an object with .name, .about, .split, .problem, .baselines, .default_cuts "
        "and .default_budget"
    )
