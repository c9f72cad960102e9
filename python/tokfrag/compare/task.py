"""A task: data, a split, a problem to solve on it, and what doing nothing clever scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.files import check_labels

if TYPE_CHECKING:
    from tokfrag.compare.problems import Problem


@dataclass(frozen=True)
class Samples:
    """Inputs and what they should give: ``x[i]`` goes with ``y[i]``; ``y`` is None for text."""

    x: Any
    y: Any = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def raw_bytes(self) -> int:
        """The size of the inputs as they are stored before any cut."""
        if isinstance(self.x, np.ndarray):
            return int(self.x.nbytes)
        return sum(len(text) for text in self.x)

    @property
    def raw_units(self) -> int:
        """Positions in the inputs: pixels, samples of a series, bytes of text."""
        if isinstance(self.x, np.ndarray):
            return int(self.x.size // self.x.shape[1])
        return sum(len(text) for text in self.x)


@dataclass(frozen=True)
class Split:
    """The part to learn from and the part to be judged on; the same for every cut and seed."""

    train: Samples
    test: Samples


@runtime_checkable
class Task(Protocol):
    """What :func:`compare` asks of a task. Any object with these members is one.

    ``x`` of a split is ``(samples, channels, *space_time)``, or a list of ``bytes`` for text.
    """

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str:
        """One line on the data: what, how many, from where."""

    def split(self) -> Split: ...
    def problem(self) -> Problem:
        """What the network must learn, and how its answers are judged."""

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Scores of models that ignore or barely use the input, by name."""

    def default_cuts(self) -> Sequence[str]: ...
    def default_budget(self) -> str: ...


def majority(train: NDArray[Any], test: NDArray[Any]) -> float:
    """The accuracy of always answering the most frequent training label."""
    labels, counts = np.unique(train, return_counts=True)
    return float(np.mean(test == labels[np.argmax(counts)]))


@dataclass(frozen=True)
class ArrayTask:
    """A user's own arrays, or texts with labels, as a task.

    ``x``: ``(samples, channels, *space_time)``, or a list of ``str`` or ``bytes``. ``y``:
    ``(samples,)`` integers for classes, or float for values. Every fifth sample is for testing,
    in an order drawn once.

    >>> import numpy as np
    >>> task = ArrayTask(np.zeros((50, 1, 8, 8)), np.arange(50) % 2)
    >>> len(task.split().test)
    10
    """

    x: Any
    y: Any
    name: str = "arrays"
    test_share: float = 0.2

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f"y: got {len(self.y)} labels for {len(self.x)} samples in x")
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share: got {self.test_share}; it must lie between 0 and 1")

    @property
    def about(self) -> str:
        shape = f" of {np.shape(self.x[0])}" if isinstance(self.x, np.ndarray) else " of text"
        return f"{len(self.x)} samples{shape}"

    def split(self) -> Split:
        order = np.random.default_rng(0).permutation(len(self.x))
        held = max(1, round(len(order) * self.test_share))
        if len(order) - held < 1:
            raise ValueError(f"x: got {len(order)} samples; a split takes 2 or more")
        y = np.asarray(self.y)
        parts = []
        for index in (order[held:], order[:held]):
            if isinstance(self.x, np.ndarray):
                parts.append(Samples(self.x[index], y[index]))
            else:
                texts = [self.x[i] for i in index]
                parts.append(
                    Samples([t.encode() if isinstance(t, str) else t for t in texts], y[index])
                )
        return Split(*parts)

    def problem(self) -> Problem:
        from tokfrag.compare.problems import Classify, Forecast

        y = np.asarray(self.y)
        if np.issubdtype(y.dtype, np.integer):
            return Classify(int(check_labels(y, "y").max()) + 1)
        return Forecast(int(np.prod(y.shape[1:])))

    def baselines(self, split: Split) -> Mapping[str, float]:
        if np.issubdtype(split.train.y.dtype, np.integer):
            return {"majority class": majority(split.train.y, split.test.y)}
        guess = split.train.y.mean(axis=0)
        return {"training mean": float(np.mean((split.test.y - guess) ** 2))}

    def default_cuts(self) -> Sequence[str]:
        return ("bytes", "bpe:512") if not isinstance(self.x, np.ndarray) else ("pixels:16",)

    def default_budget(self) -> str:
        return "5s"
