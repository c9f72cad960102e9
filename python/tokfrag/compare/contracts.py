"""The nouns of a comparison: data, pieces, cuts, problems, tasks. Plain values and protocols.

A *task* is data, a split, a problem and naive baselines; a *cut* turns samples into *pieces*; a
*problem* says what a network must learn from pieces and how its answers are judged. Nothing here
trains, and nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor, nn

#: How a network may join pieces into one answer. ``mean`` forgets where each piece was.
MERGES = ("concat", "mean", "attention")


@dataclass(frozen=True)
class Samples:
    """Inputs and what they should give.

    Parameters
    ----------
    x : (samples, channels, *space_time) array, or a list of bytes
        What is cut.
    y : (samples, ...) array, optional
        What ``x[i]`` should give; None where a text predicts itself.
    groups : (samples,) integer array, optional
        Samples of one group are not independent (windows that overlap, clips of one person), so
        intervals draw them together; each sample is its own group when left out.
    longest
        Bytes of the longest text in any part, for which cuts keep room; that of the part to learn
        from where it is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import Samples
    >>> texts = Samples([b"to", b"be", b"or"], np.array([0, 1, 2]))
    >>> texts.take(np.array([2, 0])).x
    [b'or', b'to']
    """

    x: Any
    y: Any = None
    groups: NDArray[np.int64] | None = None
    longest: int = 0

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: NDArray[np.int64]) -> Samples:
        """The samples at ``index``, in that order.

        Parameters
        ----------
        index : (n,) integer array
            Their places.

        Returns
        -------
        Samples
            ``n`` of them, with what they should give and their groups.
        """
        x = self.x[index] if isinstance(self.x, np.ndarray) else [self.x[i] for i in index]
        return Samples(
            x,
            None if self.y is None else self.y[index],
            None if self.groups is None else self.groups[index],
            self.longest,
        )

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
    """The parts to learn from, to be judged on, and to choose on; the same for every cut and seed.

    What is tuned (the learning rate, when to stop) is chosen on ``choose``, so that ``test`` is
    looked at once. Where a task names no ``choose``, the last tenth of ``train`` is it.
    """

    train: Samples
    test: Samples
    choose: Samples | None = None


@dataclass(frozen=True)
class PieceSpec:
    """The shape of one sample's pieces: all that a network has to know of a cut.

    ``n`` pieces, each of ``shape``: ``()`` for a token, ``(units,)`` for a window of tokens,
    ``(channels, *size)`` for a fragment of values. ``vocabulary`` is None for values; else ids lie
    below it and the id ``vocabulary`` itself means "nothing here". ``fresh`` is how many of a
    piece's units no earlier piece of the same sample holds, for windows over a sequence. ``adds``
    says that a piece's units are several names of one thing, such as a token and its pair with the
    one before, so that their vectors add up; else they stand side by side. Where ``chunk`` is above
    1, the network itself joins pieces, about so many at a time. ``branches`` are the shapes of
    several cuts whose pieces stand in one row of numbers, one after the other.
    """

    n: int
    shape: tuple[int, ...]
    vocabulary: int | None = None
    merge: str = "concat"
    fresh: int = 1
    padded: bool = False
    chunk: int = 0
    adds: bool = False
    branches: tuple[PieceSpec, ...] = ()

    @property
    def units(self) -> int:
        """Numbers in one piece."""
        return math.prod(self.shape)

    @property
    def keeps_position(self) -> bool:
        """Whether the network is told where each piece was."""
        return self.merge != "mean"


@dataclass(frozen=True)
class Pieces:
    """Samples cut into pieces.

    ``values`` is ``(samples, n, *shape)``: ids (integers, filled up with ``vocabulary``) or values
    (float32). ``lengths`` counts each sample's real pieces. ``unknown`` is the share of units that
    the cut could not represent (a character never seen, a value outside the levels).
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]
    unknown: float | None = None


def pad_ids(rows: Sequence[NDArray[Any]], pad_id: int, length: int) -> Pieces:
    """Stack rows of ids into one array, filled up with ``pad_id`` to ``length``."""
    values = np.full((len(rows), length), pad_id, dtype=np.int32)
    lengths = np.array([min(len(row), length) for row in rows], dtype=np.int64)
    for target, row, kept in zip(values, rows, lengths, strict=True):
        target[:kept] = row[:kept]
    return Pieces(values, lengths)


@dataclass(frozen=True)
class FittedCut:
    """A cut that knows its data: ``cut(x)`` gives the pieces, ``spec`` their shape.

    ``coverage`` is the share of the positions that lie in at least one piece, ``overlap`` how often
    a covered position is seen. What a cut needs besides where answers are whole arrays again:
    ``split(labels, outside)`` cuts an array as it is, ``join(answers)`` merges answers given piece
    by piece, ``whole(x)`` is the input as the network sees it, uncut, and ``borders`` marks the
    positions next to the edge of a piece. ``decode(pieces)`` gives back the bytes that a text's
    real pieces stand for; a cut of text without it cannot be shown to lose nothing. ``boxes`` are
    the pieces' first and last places along each axis, to be drawn; ``boxes_of(sample)`` tells them
    where they differ from sample to sample. ``given(x)`` counts the first
    pieces of each sample that a network is shown and not asked for.
    """

    spec: PieceSpec
    cut: Callable[[Any], Pieces]
    coverage: float = 1.0
    overlap: float = 1.0
    split: Callable[[NDArray[Any], int], NDArray[Any]] | None = None
    join: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    whole: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    borders: NDArray[np.bool_] | None = None
    decode: Callable[[NDArray[Any]], bytes] | None = None
    boxes: tuple[tuple[tuple[int, int], ...], ...] | None = None
    boxes_of: Callable[[NDArray[Any]], tuple[tuple[tuple[int, int], ...], ...]] | None = None
    given: Callable[[Any], NDArray[np.int64]] | None = None
    notes: tuple[str, ...] = ()


@runtime_checkable
class Cut(Protocol):
    """What :func:`compare` asks of a cut. Any object with these members is one.

    Examples
    --------
    >>> from tokfrag.compare import Cut, Patches
    >>> isinstance(Patches((4,)), Cut)
    True
    """

    @property
    def name(self) -> str:
        """What its row is called; no two rows share a name."""

    @property
    def family(self) -> str:
        """``"tokens"`` or ``"fragments"``."""

    def fit(self, train: Samples) -> FittedCut:
        """Learn what the cut needs from the training part: levels, a vocabulary, a grid.

        Parameters
        ----------
        train
            The part to learn from.

        Returns
        -------
        FittedCut
            The shape of its pieces, and the function that makes them.
        """


def check_merge(merge: str) -> str:
    """The name of a way to join pieces, or an error that lists all."""
    if merge not in MERGES:
        raise ValueError(f"merge: got {merge!r}; it takes one of {', '.join(MERGES)}")
    return merge


@dataclass(frozen=True)
class Recipe:
    """How networks are trained: AdamW, a warm-up, a steady rate, a decay to zero.

    Parameters
    ----------
    batch
        Samples a step, the same for every cut.
    rate
        The learning rate, or where the search for a row's own rate begins.
    decay
        The weight decay.
    tune
        Whether each row looks for its own rate, on the part to choose on.
    width
        The width of the shipped body, where no other is asked for.
    """

    batch: int = 64
    rate: float = 2e-3
    decay: float = 0.01
    tune: bool = True
    width: int = 64


#: Builds a network from the pieces' shape and the number of outputs (None: one vector a piece).
Model = Callable[[PieceSpec, "int | None"], "nn.Module"]


class Problem(Protocol):
    """What the runner asks of a problem; it knows no more of a task than this."""

    @property
    def metric(self) -> Metric:
        """What the score is called, its unit, and which way is better."""

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """A network for pieces of that shape, fresh and untrained."""

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Inputs and targets, an item a row; items need not be samples."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch."""

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        """The score from the summaries of all items, in units of the data."""

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """What the score needs of a batch of answers, as small as can be."""


@runtime_checkable
class HasItems(Protocol):
    """A problem that judges part by part: without it, intervals know of seeds only."""

    def items(
        self, outputs: Tensor, samples: Samples, fitted: FittedCut
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A score and a weight for each part of ``samples``; the weighted mean is the score.

        Parts are the same for every cut: they are of the data, not of the pieces.
        """


@runtime_checkable
class HasMore(Protocol):
    """A problem with measures beside its score, such as RMSE beside MAE."""

    def more(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Mapping[str, float]:
        """Their names, and what the answers reach in them."""


@runtime_checkable
class AsksPieces(Protocol):
    """A problem whose targets follow the pieces, so that batches can be trimmed."""

    def targets_per_piece(self, spec: PieceSpec) -> int:
        """How many targets each piece has."""

    def lengths(self, pieces: Pieces) -> NDArray[np.int64]:
        """Pieces of each item."""

    def weight(self, output: Tensor, target: Tensor) -> float:
        """How many targets of a batch are asked for: what its mean loss is a mean over."""


@runtime_checkable
class AdaptsCuts(Protocol):
    """A task or a model that every cut must be prepared for, such as samples of two parts."""

    def adapt(self, cut: Cut) -> Cut:
        """The cut as it is needed, under the same name."""


@runtime_checkable
class RunsOn(Protocol):
    """A cut or a body that holds a network of its own, which is not trained."""

    def run_on(self, device: Any) -> None:
        """Run it there from now on."""


@dataclass(frozen=True)
class Floor:
    """What the simplest learner reaches on one cut's own pieces, in the problem's metric."""

    name: str
    score: float


@runtime_checkable
class HasFloors(Protocol):
    """A problem that can tell what a row must reach to count as trained."""

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """First a floor that knows no order, then one that a trained network should pass."""


@runtime_checkable
class HasSeams(Protocol):
    """A problem whose answers are whole arrays again, so that borders can show."""

    def merged(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> NDArray[Any]:
        """Answers as whole arrays again, ``(samples, classes, *space)``."""

    def seam_error(
        self, network: nn.Module, outputs: Tensor, samples: Samples, fitted: FittedCut
    ) -> float:
        """What borders cost: the score there uncut, less that of the merged answers."""


@runtime_checkable
class Task(Protocol):
    """What :func:`compare` asks of a task. Any object with these members is one.

    ``x`` of a split is ``(samples, channels, *space_time)``, or a list of ``bytes`` for text.

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import ArrayTask, Task
    >>> isinstance(ArrayTask(np.zeros((50, 1, 8, 8)), np.arange(50) % 2), Task)
    True
    """

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def about(self) -> str:
        """One line on the data: what, how many, from where."""

    def split(self) -> Split:
        """The parts to learn from, to choose on and to be judged on; the same at each call.

        Returns
        -------
        Split
            The parts.
        """

    def problem(self) -> Problem:
        """What the network must learn, and how its answers are judged.

        Returns
        -------
        Problem
            Such as those in ``tokfrag.compare.problems``.
        """

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Scores of models that ignore or barely use the input, by name.

        Parameters
        ----------
        split
            The parts, as :meth:`split` gives them.

        Returns
        -------
        mapping of str to float
            Scores in the problem's metric; empty where there is nothing to stand beside.
        """

    def default_cuts(self) -> Sequence[str]:
        """The cuts of a comparison that names none.

        Returns
        -------
        sequence of str
            Short names, see :func:`parse_cut`.
        """

    def default_budget(self) -> str:
        """What a training may spend where nobody says.

        Returns
        -------
        str
            Such as ``"44 GFLOP"``.
        """
