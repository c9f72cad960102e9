"""Items: which item comes next in a person's history, for recommendation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.readers.tables import is_number, read_lines, read_table

_USERS = ("user", "user_id", "userid", "session", "session_id", "customer")
_ITEMS = ("item", "item_id", "itemid", "movie_id", "movieid", "product", "track")
_TIMES = ("timestamp", "time", "date", "order")
_TOP = 10


class ItemsTask:
    """Made-up histories, or the user's: what comes next, among the ten likeliest or not.

    Made up: people with two tastes each, who go from an item to one of few that follow it. A
    sample is up to `length` items and the one after them; of each person the last item is for
    judging, the one before it for choosing, as usual. ``data``: a table with columns ``user`` and
    ``item`` (in the order of time, or of a column ``time``), or a line of items a person.
    """

    name = "items"

    def __init__(
        self,
        data: Path | None = None,
        *,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        length: int = 16,
        people: int = 800,
    ):
        if length < 1:
            raise ValueError(f"length: got {length}; it takes 1 or more")
        if data is None:
            histories, source = _made_up(people), "made-up histories"
        else:
            histories, source = _read(Path(data), user, item, time), Path(data).name
        histories = [history for history in histories if len(history) >= 4]
        if len(histories) < 10:
            raise ValueError(
                f"{source}: got {len(histories)} histories of 4 items or more, takes 10"
            )
        names = sorted({name for history in histories for name in history})
        numbers = {name: i for i, name in enumerate(names)}
        self.count = len(names)
        ids = [np.array([numbers[name] for name in history]) for history in histories]
        places = [(who, end) for who, h in enumerate(ids) for end in range(1, len(h) - 2)]
        self._split = Split(
            _samples(ids, places, length),
            _samples(ids, [(who, len(h) - 1) for who, h in enumerate(ids)], length),
            _samples(ids, [(who, len(h) - 2) for who, h in enumerate(ids)], length),
        )
        self.about = (
            f"{source}, {len(ids)} people, {self.count} items, {len(self._split.train)} to learn "
            f"from, {len(ids)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit short histories."""
        return Recipe(batch=16, rate=4e-3, width=32)

    def split(self) -> Split:
        """Of each person the last item to judge, the one before to choose."""
        return self._split

    def problem(self) -> Problem:
        """The next item, among the ten likeliest or not."""
        from tokfrag.compare.problems import RankItems

        return RankItems(self.count, min(_TOP, self.count))

    def baselines(self, split: Split) -> Mapping[str, float]:
        """The most frequent items; and those that most often followed the last one."""
        top = min(_TOP, self.count)
        popular = np.bincount(split.train.y, minlength=self.count)
        likeliest = np.argsort(-popular, kind="stable")[:top]
        followed: dict[int, Counter[int]] = {}
        for last, after in zip(
            split.train.x[:, 0, -1].tolist(), split.train.y.tolist(), strict=True
        ):
            followed.setdefault(last, Counter())[after] += 1
        hits = 0
        for last, after in zip(split.test.x[:, 0, -1].tolist(), split.test.y.tolist(), strict=True):
            guess = [name for name, _ in followed.get(last, Counter()).most_common(top)]
            guess += [int(i) for i in likeliest if i not in guess]
            hits += after in guess[:top]
        return {
            "most frequent items": float(np.isin(split.test.y, likeliest).mean()),
            "what followed the last item": hits / len(split.test),
        }

    def default_cuts(self) -> Sequence[str]:
        """Items, their hashes, windows of them."""
        return ("items", "items@mean", "hashes:64", "items:2/1", "items:4")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "30 GFLOP"


def _samples(ids: list[NDArray[np.int64]], places: list[tuple[int, int]], length: int) -> Samples:
    x = np.full((len(places), 1, length), -1, np.int64)
    for row, (who, end) in zip(x[:, 0], places, strict=True):
        seen = ids[who][max(0, end - length) : end]
        row[length - len(seen) :] = seen
    # Samples of one person are no independent evidence.
    return Samples(
        x, np.array([ids[who][end] for who, end in places]), np.array([who for who, _ in places])
    )


def _read(path: Path, user: str | None, item: str | None, time: str | None) -> list[list[str]]:
    first = next((line for line in read_lines(path) if line.strip()), "")
    if "," not in first and "\t" not in first:
        return [line.split() for line in read_lines(path) if line.strip()]
    table = read_table(path)
    who, what = table.find(user, _USERS), table.find(item, _ITEMS)
    if who is None or what is None:
        missing = "user" if who is None else "item"
        raise ValueError(
            f"{path}: which column holds the {missing}? Say --set {missing}=NAME, one of "
            f"{', '.join(table.names)}"
        )
    when = table.find(time, _TIMES)
    order = range(len(table.rows))
    if when is not None:
        column = table.column(when)
        numbers = [is_number(cell) for cell in column]
        if any(numbers) and not all(numbers):
            wrong = numbers.index(False)
            raise ValueError(
                f"{path}: {when} of the entry {wrong + 1}: got {column[wrong]!r} among numbers"
            )
        key = float if any(numbers) else str
        order = sorted(order, key=lambda row: key(column[row]))  # type: ignore[assignment]
    histories: dict[str, list[str]] = {}
    people, things = table.column(who), table.column(what)
    for row in order:
        histories.setdefault(people[row], []).append(things[row])
    return list(histories.values())


def _made_up(people: int) -> list[list[str]]:
    rng = np.random.default_rng(0)
    tastes, each = 12, 20
    follows = rng.integers(0, each, (tastes, each, 4))
    histories = []
    for _ in range(people):
        mine = rng.choice(tastes, 2, replace=False)
        places = rng.integers(0, each, 2)
        history = []
        for _ in range(rng.integers(8, 20)):
            # Two threads, one for each taste, told in turns of chance.
            which = int(rng.random() < 0.4)
            if rng.random() < 0.15:
                places[which] = rng.integers(0, each)
            else:
                places[which] = follows[mine[which], places[which], rng.integers(0, 4)]
            history.append(f"{mine[which]}.{places[which]}")
        histories.append(history)
    return histories
