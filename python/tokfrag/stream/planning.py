"""Which documents come when, and which of them share a row: from sizes alone, without ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import stream as _native
from tokfrag.stream.packing import METHODS, Method
from tokfrag.stream.sources import ImageSource, Tokens

_BARREN = 1000  # documents and epochs in a row that fill no row, without a last epoch

Item = tuple[int, int, int, int]  # source, document, first place, one past the last
Rows = tuple[tuple[Item, ...], ...]  # what lies in each row of a batch


@dataclass(frozen=True)
class State:
    """Where the stream is: with the arguments, all that the next batch depends on.

    ``drawn`` counts the documents drawn by this rank since the epoch began, as of the current
    window's beginning; ``counts`` the documents of each source, over all epochs, where sources are
    weighted. ``carried`` items open the window; ``given`` batches of it are out. ``lost`` counts
    places cropped and documents dropped before the window; ``lost_here`` with those of the window.
    """

    epoch: int = 0
    drawn: int = 0
    counts: tuple[int, ...] = ()
    carried: tuple[Item, ...] = ()
    given: int = 0
    lost: tuple[int, int] = (0, 0)
    lost_here: tuple[int, int] = (0, 0)


def _integers(state: dict[str, Any], name: str, width: int | None) -> tuple[int, ...]:
    """A member of a state: integers from 0 on, so many of them; ValueError for all else."""
    if name not in state:
        raise ValueError(f"state: has no {name!r}")
    return _checked_integers(state[name], name, width)


def _checked_integers(value: Any, name: str, width: int | None) -> tuple[int, ...]:
    fits = isinstance(value, (list, tuple)) and (width is None or len(value) == width)
    if not fits or not all(type(n) is int and 0 <= n < 1 << 63 for n in value):
        many = "" if width is None else f"{width} "
        raise ValueError(f"state: {name} is {value!r}, takes {many}integers from 0 on")
    return tuple(value)


@dataclass
class Planner:
    """The rows of each batch, in order, of one rank; see :class:`PackedLoader` for the fields."""

    readers: list[Tokens | ImageSource]
    shares: NDArray[np.float64] | None
    length: int
    batch: int
    seed: int
    rank: int
    world_size: int
    epochs: int | None
    method: Method
    overlong: str
    look_ahead: int
    _rounds: dict[int, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.sizes = np.array([len(reader) for reader in self.readers], np.int64)
        self._starts = np.cumsum(self.sizes) - self.sizes
        self.lost_at_end = (0, 0)  # what batches() lost, with windows that filled no row

    def begin(self, epoch: int, lost: tuple[int, int] = (0, 0)) -> State:
        """Give the state at an epoch's beginning; `lost` is what was left out before."""
        counts = () if self.shares is None else (0,) * len(self.sizes)
        return State(epoch, counts=counts, lost=lost, lost_here=lost)

    def checked_state(self, state: dict[str, Any]) -> State:
        """A state that was saved; ValueError if it is none of these sources."""
        for name in ("epoch", "drawn", "given"):
            _checked_integers([state.get(name)], name, 1)
        carried = state.get("carried")
        if not isinstance(carried, (list, tuple)):
            raise ValueError(f"state: carried is {carried!r}, takes a list of items")
        items = []
        for item in carried:
            source, document, first, last = _checked_integers(item, "carried", 4)
            if source >= len(self.sizes) or document >= self.sizes[source] or first > last:
                raise ValueError(f"state: carried holds {item!r}, which these sources do not")
            items.append((source, document, first, last))
        counts = _integers(state, "counts", 0 if self.shares is None else len(self.sizes))
        lost, lost_here = (_integers(state, name, 2) for name in ("lost", "lost_here"))
        return State(
            state["epoch"],
            state["drawn"],
            counts,
            tuple(items),
            state["given"],
            (lost[0], lost[1]),
            (lost_here[0], lost_here[1]),
        )

    def batches(self, state: State) -> Iterator[tuple[Rows, State]]:
        """Give each batch from a state on, and the state after it."""
        barren = 0
        while self.epochs is None or state.epoch < self.epochs:
            order = self._order(state)
            last = False
            while not last:
                items, after, last = self._window(order, state)
                barren = 0 if items else barren + 1 + after.drawn - state.drawn
                if self.epochs is None and barren > _BARREN:
                    raise ValueError(
                        f"sources: the last {_BARREN} documents and epochs of rank {self.rank} fill"
                        " no row, and epochs=None has no end"
                    )
                rows, left = self._rows(items, state, last)
                after = replace(after, carried=tuple(left), given=0, lost=after.lost_here)
                if last:
                    after = replace(self.begin(state.epoch + 1, after.lost), counts=after.counts)
                count = -(-len(rows) // self.batch)
                for number in range(state.given, count):
                    begin = number * self.batch
                    state = replace(state, given=number + 1, lost_here=after.lost)
                    if number + 1 == count:
                        state = after
                    yield tuple(rows[begin : begin + self.batch]), state
                state = after
        self.lost_at_end = state.lost_here

    def _order(self, state: State) -> NDArray[np.int64]:
        """The epoch's documents by number over all sources, or, if weighted, its sources."""
        random = np.random.default_rng([self.seed, state.epoch])
        total = int(self.sizes.sum())
        if self.shares is not None:
            return random.choice(len(self.sizes), total, p=self.shares)
        return random.permutation(total)

    def _window(self, order: NDArray[np.int64], state: State) -> tuple[list[Item], State, bool]:
        """The items of a window, the state after it, and whether it is the epoch's last."""
        items = list(state.carried)
        wanted = self.look_ahead * self.batch * self.length
        tokens = sum(end - begin for _, _, begin, end in items)
        counts, drawn = list(state.counts), state.drawn
        cropped, dropped = state.lost
        last = False
        while tokens < wanted:
            place = drawn * self.world_size + self.rank
            if place >= len(order):
                last = True
                break
            drawn += 1
            if self.shares is None:
                source = int(np.searchsorted(self._starts, order[place], "right")) - 1
                document = int(order[place] - self._starts[source])
            else:
                source = int(order[place])
                document = self._weighted(source, counts[source])
                counts[source] += 1
            size, spans = self.readers[source].measure(document)
            bounds = self._cut(source, document, size, spans)
            kept = sum(end - begin for begin, end in bounds)
            dropped += size > 0 and not bounds
            cropped += size - kept if bounds else 0
            items += [(source, document, begin, end) for begin, end in bounds]
            tokens += kept
        after = replace(
            state, drawn=drawn, counts=tuple(counts), lost_here=(int(cropped), int(dropped))
        )
        return items, after, last

    def _weighted(self, source: int, number: int) -> int:
        """The ``number``-th document that this rank draws from a source."""
        size = int(self.sizes[source])
        round_, place = divmod(number * self.world_size + self.rank, size)
        key = (source, round_)
        if self._rounds.get(source, (None,))[0] != key:
            random = np.random.default_rng([self.seed, source, round_, 1])
            self._rounds[source] = (key, random.permutation(size))
        return int(self._rounds[source][1][place])

    def _cut(
        self, source: int, document: int, size: int, spans: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """The parts of a document that rows take: whole, or cut beside its images."""
        if size <= self.length:
            return [(0, size)] if size else []
        if self.overlong == "drop":
            return []
        if self.overlong == "error":
            raise ValueError(
                f"length: a row of {self.length} is too short for document {document} of source"
                f" {source}, which takes {size} places; overlong='split', 'crop' or 'drop' takes it"
            )
        parts, begin = [], 0
        while begin < size:
            end = min(begin + self.length, size)
            for first, past in spans:
                if first < end < past:
                    end = first
            if end == begin:
                if self.overlong == "crop":  # an image before anything else: nothing is left
                    break
                past = next(past for first, past in spans if first == begin)
                raise ValueError(
                    f"length: a row of {self.length} is too short for an image of document"
                    f" {document} of source {source}, which takes {past - begin} places from"
                    f" position {begin} on; overlong='drop' leaves the document out"
                )
            parts.append((begin, end))
            begin = end
            if self.overlong == "crop":
                break
        return parts

    def _rows(
        self, items: list[Item], state: State, last: bool
    ) -> tuple[list[tuple[Item, ...]], list[Item]]:
        """The rows of a window that make whole batches, and the items of the rows left over."""
        offsets = np.zeros(len(items) + 1, np.int64)
        np.cumsum([end - begin for _, _, begin, end in items], out=offsets[1:])
        seed = int(np.random.default_rng([self.seed, state.epoch, state.drawn]).integers(2**62))
        plan = _native.Packing(offsets, self.length, METHODS.index(self.method), seed)
        pieces: list[Item] = []
        for number, first, size in zip(
            plan.document.tolist(), plan.begin.tolist(), plan.length.tolist(), strict=True
        ):
            source, document, begin, _ = items[number]
            pieces.append((source, document, begin + first, begin + first + size))
        bounds = plan.row_begin.tolist()
        rows = [tuple(pieces[a:b]) for a, b in pairwise(bounds)]
        kept = len(rows) // self.batch * self.batch
        if last or kept == len(rows):
            return rows, []
        if self.method == "in_order":
            return rows[:kept], _joined([piece for row in rows[kept:] for piece in row])
        # The emptiest rows wait: in the next window they may be filled.
        filled = np.diff(np.append(0, np.cumsum(plan.length))[plan.row_begin])
        fullest = np.argsort(-filled, kind="stable")
        waiting = set(fullest[kept:].tolist())
        in_row = np.repeat(np.arange(len(rows)), np.diff(plan.row_begin))
        left = sorted(
            number
            for number, row in zip(plan.document.tolist(), in_row.tolist(), strict=True)
            if row in waiting
        )
        return [rows[n] for n in np.sort(fullest[:kept])], [items[number] for number in left]


def _joined(pieces: list[Item]) -> list[Item]:
    """Pieces end to end, those that go on where the one before ended made one."""
    made: list[Item] = []
    for source, document, begin, end in pieces:
        if made and made[-1][:2] == (source, document) and made[-1][3] == begin:
            made[-1] = (source, document, made[-1][2], end)
        else:
            made.append((source, document, begin, end))
    return made
