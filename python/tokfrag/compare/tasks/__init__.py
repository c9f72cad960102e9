"""The shipped tasks, by name; each is built from an optional data file."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from tokfrag.compare.contracts import Task
from tokfrag.compare.tasks.arrays import ArrayTask
from tokfrag.compare.tasks.digits import DigitsTask
from tokfrag.compare.tasks.items import ItemsTask
from tokfrag.compare.tasks.labels import LabelsTask
from tokfrag.compare.tasks.molecules import MoleculesTask
from tokfrag.compare.tasks.motion import MotionTask
from tokfrag.compare.tasks.pairs import PairsTask
from tokfrag.compare.tasks.pictures import PicturesTask
from tokfrag.compare.tasks.recordings import ArraysTask
from tokfrag.compare.tasks.sensors import SensorsTask
from tokfrag.compare.tasks.series import SeriesTask
from tokfrag.compare.tasks.sounds import SoundsTask
from tokfrag.compare.tasks.tags import TagsTask
from tokfrag.compare.tasks.telling import guess_task
from tokfrag.compare.tasks.text import TextTask
from tokfrag.compare.tasks.volume import VolumeTask

#: The shipped tasks. Each takes the path of the user's data, and settings of its own by name.
TASKS: dict[str, Any] = {
    "arrays": ArraysTask,
    "digits": DigitsTask,
    "items": ItemsTask,
    "labels": LabelsTask,
    "molecules": MoleculesTask,
    "motion": MotionTask,
    "pairs": PairsTask,
    "pictures": PicturesTask,
    "sensors": SensorsTask,
    "series": SeriesTask,
    "sounds": SoundsTask,
    "tags": TagsTask,
    "text": TextTask,
    "volume": VolumeTask,
}


def make_task(name: str, data: Path | None, settings: Mapping[str, str]) -> Task:
    """A shipped task with its settings as a command line gives them."""
    if name not in TASKS:
        raise ValueError(
            f"task: got {name!r}; it takes one of {', '.join(TASKS)}, or a file or folder, and "
            "there is none of that name"
        )
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


def takes(name: str, setting: str) -> bool:
    """Whether a shipped task has a setting of that name."""
    return setting in signature(TASKS[name]).parameters


def as_task(value: Any) -> Task:
    """A task from its name, a file, ``(x, y)``, a list of texts, or the task itself."""
    if isinstance(value, Path) or (isinstance(value, str) and value not in TASKS):
        path = Path(value)
        if path.exists():
            return make_task(guess_task(path), path, {})
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
