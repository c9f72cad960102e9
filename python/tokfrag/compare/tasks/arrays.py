"""A user's own arrays, or texts with labels, as a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Samples, Split
from tokfrag.compare.files import check_labels
from tokfrag.compare.readers.folders import Foldered

# An axis of more places than these is hardly one of channels.
_CHANNELS = 4


def majority(train: NDArray[Any], test: NDArray[Any]) -> float:
    """The accuracy of always answering the most frequent training label."""
    labels, counts = np.unique(train, return_counts=True)
    return float(np.mean(test == labels[np.argmax(counts)]))


def hold_out(samples: Samples) -> Split:
    """Every fifth sample for testing, in an order drawn once."""
    order = np.random.default_rng(0).permutation(len(samples))
    held = len(samples) // 5
    return Split(samples.take(order[held:]), samples.take(order[:held]))


def in_official_parts(found: Foldered, x: NDArray[Any]) -> Split:
    """The samples of all files of a folder in its own parts, or every fifth held out."""
    labels = np.array([*found.labels, *found.test_labels, *found.choose_labels], np.int64)
    whole = Samples(x, labels)
    learn, judge, choose = (
        whole.take(index)
        for index in np.split(
            np.arange(len(x)), np.cumsum([len(found.files), len(found.test_files)])
        )
    )
    if not len(judge):
        return hold_out(learn)
    return Split(learn, judge, choose if len(choose) else None)


@dataclass(frozen=True)
class ArrayTask:
    """A user's own arrays, or texts with labels, as a task.

    Parameters
    ----------
    x : (samples, channels, *space_time) array, or a list of str or bytes
        What is cut; a tensor of torch is taken as well.
    y : (samples,) labels, or (samples, ...) floats
        Whole numbers, booleans or names are classes; floats are values to be told.
    groups : (samples,) labels, optional
        Samples of one group (a person, a recording) go to one part together.
    channels_first
        Says that the second axis of a three-dimensional ``x`` are channels, however many.
    test : (x, y), optional
        The official part to be judged on; else every fifth sample, in an order drawn once.

    Raises
    ------
    ValueError, TypeError
        Where lengths differ, or the shape can mean two things.

    Examples
    --------
    >>> import numpy as np
    >>> task = ArrayTask(np.zeros((50, 1, 8, 8)), np.arange(50) % 2)
    >>> len(task.split().test)
    10
    """

    x: Any
    y: Any
    name: str = "arrays"
    test_share: float = 0.2
    groups: Any = None
    channels_first: bool = False
    test: tuple[Any, Any] | None = None

    def __post_init__(self) -> None:
        x = _as_samples(self.x, "x", channels_first=self.channels_first)
        object.__setattr__(self, "x", x)
        labels = _as_labels(self.y, "y")
        names = None
        if labels.dtype.kind == "U":
            names, labels = np.unique(labels, return_inverse=True)
        object.__setattr__(self, "y", labels)
        _check_lengths(x, labels, "x", "y")
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share: got {self.test_share}; it must lie between 0 and 1")
        if self.groups is not None and len(self.groups) != len(x):
            raise ValueError(f"groups: got {len(self.groups)} for {len(x)} samples in x")
        if self.test is not None:
            test_x = _as_samples(self.test[0], "test x", channels_first=self.channels_first)
            test_y = _as_labels(self.test[1], "test y")
            _check_lengths(test_x, test_y, "test x", "test y")
            if names is not None:
                strange = np.setdiff1d(test_y, names)
                if len(strange):
                    raise ValueError(f"test y: got {strange[0]!r}, a class that y has not")
                test_y = np.searchsorted(names, test_y)
            object.__setattr__(self, "test", (test_x, test_y))

    @property
    def about(self) -> str:
        """How many samples of what."""
        shape = f" of {np.shape(self.x[0])}" if isinstance(self.x, np.ndarray) else " of text"
        return f"{len(self.x)} samples{shape}"

    def split(self) -> Split:
        """The official test part, or every fifth sample; groups stay together.

        Returns
        -------
        Split
            Without a part to choose on: it is taken from the part to learn from.

        Raises
        ------
        ValueError
            Where there are too few samples or groups to be split.
        """
        if self.test is not None:
            return Split(Samples(self.x, self.y), Samples(*self.test))
        groups = np.arange(len(self.x))
        if self.groups is not None:
            groups = np.unique(np.asarray(self.groups), return_inverse=True)[1]
        count = int(groups.max(initial=-1)) + 1
        order = np.random.default_rng(0).permutation(count)
        held = max(1, round(count * self.test_share))
        if count - held < 1:
            kind = "samples" if self.groups is None else "groups"
            raise ValueError(f"x: got {count} {kind}; a split takes 2 or more")
        if self.groups is None:
            learn, test = order[held:], order[:held]
        else:
            held_out = np.isin(groups, order[:held])
            learn, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        whole = Samples(self.x, self.y, None if self.groups is None else groups)
        return Split(whole.take(learn), whole.take(test))

    def problem(self) -> Problem:
        """Classes for whole numbers, values for floats.

        Returns
        -------
        Problem
            ``Classify`` or ``Forecast``.
        """
        from tokfrag.compare.problems import Classify, Forecast

        if np.issubdtype(self.y.dtype, np.integer):
            return Classify(int(check_labels(self.y, "y").max()) + 1)
        return Forecast(int(np.prod(self.y.shape[1:])))

    def baselines(self, split: Split) -> Mapping[str, float]:
        """The most frequent class, or the mean of the training part.

        Parameters
        ----------
        split
            The parts, as :meth:`split` gives them.

        Returns
        -------
        mapping of str to float
            One score, by its name.
        """
        if np.issubdtype(split.train.y.dtype, np.integer):
            return {"majority class": majority(split.train.y, split.test.y)}
        guess = split.train.y.mean(axis=0)
        return {"training mean": float(np.mean((split.test.y - guess) ** 2))}

    def default_cuts(self) -> Sequence[str]:
        """Bytes and byte pairs for texts, one of 16 levels a value for arrays.

        Returns
        -------
        sequence of str
            Short names.
        """
        return ("bytes", "bpe:512") if not isinstance(self.x, np.ndarray) else ("pixels:16",)

    def default_budget(self) -> str:
        """Enough for a small array on one processor in a minute or so.

        Returns
        -------
        str
            In operations, so that it means the same on every machine.
        """
        return "20 GFLOP"


def _as_samples(x: Any, name: str, *, channels_first: bool) -> Any:
    """Texts as bytes, or an array whose axes are named beyond doubt."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    if isinstance(x, (list, tuple)) and x and all(isinstance(t, (str, bytes)) for t in x):
        return [text.encode() if isinstance(text, str) else text for text in x]
    if not hasattr(x, "__len__"):
        raise TypeError(f"{name}: got {type(x).__name__}; it takes an array or a list of texts")
    try:
        array = np.asarray(x)
    except ValueError:
        raise ValueError(
            f"{name}: got rows of different shapes; it takes (samples, channels, *space_time)"
        ) from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name}: got {array.dtype}; it takes numbers, or a list of texts")
    if array.ndim < 3:
        raise ValueError(
            f"{name}: got {array.shape}; it takes (samples, channels, *space_time), such as "
            f"{name}[:, None] for one channel"
        )
    if array.ndim == 3 and min(array.shape[1:]) > _CHANNELS and not channels_first:
        raise ValueError(
            f"{name}: got {array.shape}: pictures without channels, or series of many? Give "
            f"{name}[:, None] for pictures, or ArrayTask(..., channels_first=True) for "
            f"{array.shape[1]} channels"
        )
    return array


def _as_labels(y: Any, name: str) -> NDArray[Any]:
    if hasattr(y, "detach"):
        y = y.detach().cpu().numpy()
    if not hasattr(y, "__len__"):
        raise TypeError(f"{name}: got {type(y).__name__}; it takes a label a sample")
    try:
        labels = np.asarray(y)
    except ValueError:
        raise ValueError(f"{name}: got rows of different shapes") from None
    if labels.dtype.kind not in "buifU":
        raise TypeError(f"{name}: got {labels.dtype}; it takes numbers or names of classes")
    return labels.astype(np.int64) if labels.dtype.kind == "b" else labels


def _check_lengths(x: Any, y: NDArray[Any], x_name: str, y_name: str) -> None:
    if len(x) != len(y):
        raise ValueError(f"{y_name}: got {len(y)} labels for {len(x)} samples in {x_name}")
