"""Packed training batches from token shards and other sources, resumable in mid-epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.stream.packing import METHODS, Method, Packed, pack
from tokfrag.tokens.shards.reading import TokenShards

Item = tuple[int, int, int, int]  # source, document, first id, one past the last

_STATE_VERSION = 1


@dataclass(frozen=True)
class _State:
    """Where the stream is: with the arguments, all that the next batch depends on.

    ``drawn`` counts the documents drawn by this rank since the epoch began, as of the current
    window's beginning; ``counts`` the documents of each source, over all epochs, where sources are
    weighted. ``carried`` items open the window; ``given`` batches of it are out.
    """

    epoch: int = 0
    drawn: int = 0
    counts: tuple[int, ...] = ()
    carried: tuple[Item, ...] = ()
    given: int = 0


@dataclass
class PackedLoader:
    """Batches of packed rows, the same for any number of workers.

    Documents are drawn in an order that depends on the seed and the epoch alone, dealt to ranks in
    turn, and packed a window at a time: as many as fill ``look_ahead`` batches. Rows that fill no
    batch hand their documents on to the next window; only an epoch's last batch may have fewer
    rows.

    Parameters
    ----------
    sources : sequence of TokenShards, or of sequences of (tokens,) integer arrays
        A document longer than a row is split.
    length, batch : int
        Places in a row, rows in a batch.
    weights : sequence of float, optional
        The share of each source among the documents drawn; sources begin anew as often as needed,
        and an epoch draws as many documents as all sources hold. Without weights every document
        comes once an epoch.
    seed : int
    rank, world_size : int
        The part of one process among several.
    workers : int
        0: batches are made when asked for. More: a thread makes them ahead, with so many threads.
    epochs : int, optional
        How many; None: without end.
    method : "best_fit", "first_fit" or "in_order"
    pad_id : int
    look_ahead : int
        Batches in a window: more waste less and wait longer.

    Raises
    ------
    ValueError
        A number out of range, no documents, weights that are not one a source.

    Examples
    --------
    >>> loader = PackedLoader([[[1, 2, 3], [4, 5], [6]]], length=4, batch=1, seed=1)
    >>> batches = iter(loader)
    >>> first = next(batches)
    >>> again = PackedLoader([[[1, 2, 3], [4, 5], [6]]], length=4, batch=1, seed=1)
    >>> again.load_state_dict(loader.state_dict())
    >>> [packed.ids.tolist() for packed in again] == [packed.ids.tolist() for packed in batches]
    True
    """

    sources: Sequence[Any]
    length: int
    batch: int
    weights: Sequence[float] | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    rank: int = field(default=0, kw_only=True)
    world_size: int = field(default=1, kw_only=True)
    workers: int = field(default=0, kw_only=True)
    epochs: int | None = field(default=1, kw_only=True)
    method: Method = field(default="best_fit", kw_only=True)
    pad_id: int = field(default=0, kw_only=True)
    look_ahead: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        least = {"length": 1, "batch": 1, "seed": 0, "world_size": 1, "workers": 0, "look_ahead": 2}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name}: got {getattr(self, name)}, takes {low} or more")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank: got {self.rank}, takes 0 to {self.world_size - 1}")
        if self.epochs is not None and self.epochs < 0:
            raise ValueError(f"epochs: got {self.epochs}, takes 0 or more, or None")
        if self.method not in METHODS:
            raise ValueError(f"method: got {self.method!r}, takes {', '.join(map(repr, METHODS))}")
        self._readers = [_Reader(source, n) for n, source in enumerate(self.sources)]
        self._sizes = np.array([len(reader) for reader in self._readers], np.int64)
        if self._sizes.sum() == 0:
            raise ValueError("sources: hold no document")
        self._shares = None if self.weights is None else self._checked(self.weights)
        self._state = self._begin(0)

    def _checked(self, weights: Sequence[float]) -> NDArray[np.float64]:
        shares = np.asarray(weights, np.float64)
        right = shares.shape == self._sizes.shape and np.isfinite(shares).all()
        if not right or (shares < 0).any() or shares.sum() == 0:
            raise ValueError(
                f"weights: got {weights!r}, takes {len(self._sizes)} numbers of at least 0, not all"
                " 0: one a source"
            )
        if (self._sizes[shares > 0] == 0).any():
            raise ValueError("weights: a source without documents has a weight")
        made: NDArray[np.float64] = shares / shares.sum()
        return made

    def __iter__(self) -> Iterator[Packed]:
        if self.workers == 0:
            for packed, state in self._batches(self._state):
                self._state = state
                yield packed
            self._state = self._begin(0)
            return
        ready: Queue[Any] = Queue(maxsize=max(2, self.workers))
        stop: list[bool] = []
        Thread(target=self._make_ahead, args=(ready, stop), daemon=True).start()
        try:
            while (made := ready.get()) is not None:
                if isinstance(made, BaseException):
                    raise made
                packed, self._state = made
                yield packed
            self._state = self._begin(0)
        finally:
            stop.append(True)
            while not ready.empty():  # a full queue would keep the thread waiting for ever
                ready.get_nowait()

    def _make_ahead(self, ready: Queue[Any], stop: list[bool]) -> None:
        try:
            for made in self._batches(self._state):
                if stop:
                    return
                ready.put(made)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    def state_dict(self) -> dict[str, Any]:
        """Give where the loader is: after the last batch that was taken.

        Returns
        -------
        dict
            Plain numbers, strings and lists of them, for a checkpoint; small, however large the
            sources.
        """
        return {"version": _STATE_VERSION, **self._facts(), **asdict(self._state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a loader with the same sources and arguments was; ``workers`` may differ.

        Parameters
        ----------
        state : dict
            Of :meth:`state_dict`.

        Raises
        ------
        ValueError
            The state is of another loader: names what differs.
        """
        if state.get("version") != _STATE_VERSION:
            raise ValueError(f"state: version {state.get('version')!r}, takes {_STATE_VERSION}")
        for name, value in self._facts().items():
            if state.get(name) != value:
                raise ValueError(f"state: {name} is {state.get(name)!r}, this loader has {value!r}")
        self._state = _State(
            int(state["epoch"]),
            int(state["drawn"]),
            tuple(int(n) for n in state["counts"]),
            tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in state["carried"]),
            int(state["given"]),
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "documents": self._sizes.tolist(),
            "weights": None if self._shares is None else self._shares.tolist(),
            "length": self.length,
            "batch": self.batch,
            "seed": self.seed,
            "rank": self.rank,
            "world_size": self.world_size,
            "method": self.method,
            "look_ahead": self.look_ahead,
        }

    def _begin(self, epoch: int) -> _State:
        return _State(epoch, counts=() if self._shares is None else (0,) * len(self._sizes))

    def _batches(self, state: _State) -> Iterator[tuple[Packed, _State]]:
        while self.epochs is None or state.epoch < self.epochs:
            order = self._order(state)
            while True:
                items, after, last = self._window(order, state)
                rows, left = self._packed(items, state, last)
                after = replace(after, carried=tuple(left), given=0)
                count = -(-len(rows) // self.batch)
                for number in range(state.given, count):
                    begin = number * self.batch
                    state = replace(state, given=number + 1)
                    done = number + 1 == count
                    if done:
                        state = self._next_epoch(after) if last else after
                    yield rows.rows(begin, min(begin + self.batch, len(rows))), state
                if count == 0:
                    state = self._next_epoch(after) if last else after
                if last:
                    break

    def _next_epoch(self, state: _State) -> _State:
        return replace(self._begin(state.epoch + 1), counts=state.counts)

    def _order(self, state: _State) -> NDArray[np.int64]:
        """The epoch's documents by number over all sources, or, if weighted, its sources."""
        random = np.random.default_rng([self.seed, state.epoch])
        total = int(self._sizes.sum())
        if self._shares is not None:
            return random.choice(len(self._sizes), total, p=self._shares)
        return random.permutation(total)

    def _window(self, order: NDArray[np.int64], state: _State) -> tuple[list[Item], _State, bool]:
        """The items of a window, the state after it, and whether it is the epoch's last."""
        items = list(state.carried)
        wanted = self.look_ahead * self.batch * self.length
        tokens = sum(end - begin for _, _, begin, end in items)
        starts = np.cumsum(self._sizes) - self._sizes
        counts, drawn = list(state.counts), state.drawn
        while tokens < wanted:
            place = drawn * self.world_size + self.rank
            if place >= len(order):
                return items, replace(state, drawn=drawn, counts=tuple(counts)), True
            drawn += 1
            if self._shares is None:
                source = int(np.searchsorted(starts, order[place], "right")) - 1
                document = int(order[place] - starts[source])
            else:
                source = int(order[place])
                document = self._weighted(source, counts[source])
                counts[source] += 1
            size = self._readers[source].size(document)
            items += [
                (source, document, begin, min(begin + self.length, size))
                for begin in range(0, size, self.length)
            ]
            tokens += size
        return items, replace(state, drawn=drawn, counts=tuple(counts)), False

    def _weighted(self, source: int, number: int) -> int:
        """The ``number``-th document that this rank draws from a source."""
        size = int(self._sizes[source])
        round_, place = divmod(number * self.world_size + self.rank, size)
        key = (source, round_)
        if self._rounds.get(source, (None,))[0] != key:
            random = np.random.default_rng([self.seed, source, round_, 1])
            self._rounds[source] = (key, random.permutation(size))
        return int(self._rounds[source][1][place])

    _rounds: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    def _packed(self, items: list[Item], state: _State, last: bool) -> tuple[Packed, list[Item]]:
        """The rows of a window that make whole batches, and the items of the rows left over."""
        documents = [self._readers[source].ids(n, a, b) for source, n, a, b in items]
        packed = pack(
            documents,
            self.length,
            method=self.method,
            seed=int(np.random.default_rng([self.seed, state.epoch, state.drawn]).integers(2**62)),
            pad_id=self.pad_id,
            threads=self.workers or None,
        )
        kept = len(packed) // self.batch * self.batch
        if last or kept == len(packed):
            return packed, []
        if self.method == "in_order":  # a document may go on in a row that stays
            return packed.rows(0, kept), self._cut(items, packed, kept)
        # The emptiest rows wait: in the next window they may be filled.
        fullest = np.argsort(-packed.loss_mask.sum(1), kind="stable")
        left = np.unique(packed.document_ids[fullest[kept:]])
        rows = packed.select(np.sort(fullest[:kept]))
        return rows, [items[number] for number in left if number >= 0]

    def _cut(self, items: list[Item], packed: Packed, kept: int) -> list[Item]:
        """Cut the items down to their tokens in the rows from ``kept`` on."""
        done = np.bincount(
            packed.document_ids[:kept][packed.loss_mask[:kept]], minlength=len(items)
        )
        return [
            (source, number, begin + int(used), end)
            for (source, number, begin, end), used in zip(items, done, strict=True)
            if begin + used < end
        ]


class _Reader:
    """The documents of one source."""

    def __init__(self, source: Any, number: int) -> None:
        self._source = source
        self._ends: NDArray[np.int64] | None = None
        if isinstance(source, TokenShards):
            self._ends = np.concatenate([[0], source.document_ends])
        elif not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
            raise TypeError(
                f"sources: number {number} is a {type(source).__name__}, takes TokenShards or"
                " sequences of documents"
            )

    def __len__(self) -> int:
        return len(self._source) if self._ends is None else len(self._ends) - 1

    def size(self, document: int) -> int:
        if self._ends is None:
            return len(self._source[document])
        return int(self._ends[document + 1] - self._ends[document])

    def ids(self, document: int, begin: int, end: int) -> Any:
        if self._ends is None:
            return self._source[document][begin:end]
        first = int(self._ends[document])
        return self._source[first + begin : first + end]


__all__ = ["PackedLoader"]
