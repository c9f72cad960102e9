"""Packed training batches from token shards, images and other sources, resumable in mid-epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokfrag.stream.packed import Packed
from tokfrag.stream.packing import METHODS, Method
from tokfrag.stream.planning import Planner
from tokfrag.stream.sources import ImageSource, Tokens
from tokfrag.stream.workers import Recipe, made_by_processes, made_by_threads, made_here

_STATE_VERSION = 2
_OVERLONG = ("split", "crop", "drop", "error")


@dataclass(repr=False)
class PackedLoader:
    """Batches of packed rows, the same for any number of workers.

    Documents are drawn in an order that depends on the seed and the epoch alone, dealt to ranks in
    turn, and packed a window at a time: as many as fill ``look_ahead`` batches. Rows that fill no
    batch hand their documents on to the next window; only an epoch's last batch may have fewer
    rows.

    Parameters
    ----------
    sources : sequence of TokenShards, ImageSource, or sequences of (tokens,) integer arrays
        Image sources of one loader have one layout, placeholder, scale and dtype.
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
        How many make batches ahead; 0: batches are made when asked for.
    worker_kind : "thread" or "process"
        Threads cost nothing to start and are enough for tokens, whose packing is native. Processes
        are for images opened or changed by Python code; sources are copied to them as
        ``multiprocessing`` is set to. Either reads sources at several places at once.
    epochs : int, optional
        How many; None: without end.
    method : "best_fit", "first_fit" or "in_order"
        ``in_order`` cuts anywhere, and takes no image sources.
    pad_id : int
        With image sources, not their placeholder.
    look_ahead : int
        Batches in a window: more waste less and wait longer.
    overlong : "split", "crop", "drop" or "error"
        What becomes of a document longer than a row. Parts end beside images, never inside one;
        what was cropped or dropped is counted in :attr:`lost`.
    mrope : bool
        Whether ``position_ids`` go by time, row and column: ``(3, rows, length)``, see
        :func:`tokfrag.stream.mrope_positions`.
    pin_memory : bool
        Whether batches lie in memory from which a device copies while the caller goes on.

    Raises
    ------
    ValueError
        A number out of range, no documents, weights that are not one a source, image sources that
        differ; while iterating: an image that fits no row or no patches, placeholders that are not
        as many as images, or without ``epochs`` an epoch that fills no row.

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
    worker_kind: Literal["thread", "process"] = field(default="thread", kw_only=True)
    epochs: int | None = field(default=1, kw_only=True)
    method: Method = field(default="best_fit", kw_only=True)
    pad_id: int = field(default=0, kw_only=True)
    look_ahead: int = field(default=8, kw_only=True)
    overlong: Literal["split", "crop", "drop", "error"] = field(default="split", kw_only=True)
    mrope: bool = field(default=False, kw_only=True)
    pin_memory: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        least = {"length": 1, "batch": 1, "seed": 0, "world_size": 1, "workers": 0, "look_ahead": 2}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name}: got {getattr(self, name)}, takes {low} or more")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank: got {self.rank}, takes 0 to {self.world_size - 1}")
        if self.epochs is not None and self.epochs < 0:
            raise ValueError(f"epochs: got {self.epochs}, takes 0 or more, or None")
        choices = {"method": METHODS, "overlong": _OVERLONG, "worker_kind": ("thread", "process")}
        for name, taken in choices.items():
            if getattr(self, name) not in taken:
                raise ValueError(
                    f"{name}: got {getattr(self, name)!r}, takes {', '.join(map(repr, taken))}"
                )
        if self.pin_memory and not _can_pin():
            raise ValueError("pin_memory: got True, takes False where torch finds no accelerator")
        readers = [
            source if isinstance(source, ImageSource) else Tokens(source, f"sources: number {n}")
            for n, source in enumerate(self.sources)
        ]
        self._check_images([reader for reader in readers if isinstance(reader, ImageSource)])
        sizes = np.array([len(reader) for reader in readers], np.int64)
        if sizes.sum() == 0:
            raise ValueError("sources: hold no document")
        self._planner = Planner(
            readers,
            None if self.weights is None else _shares(self.weights, sizes),
            self.length,
            self.batch,
            self.seed,
            self.rank,
            self.world_size,
            self.epochs,
            self.method,
            self.overlong,
            self.look_ahead,
        )
        self._recipe = Recipe(readers, self.length, self.pad_id, self.mrope)
        self._state = self._planner.begin(0)

    def _check_images(self, sources: list[ImageSource]) -> None:
        if sources and self.method == "in_order":
            raise ValueError(
                "method: 'in_order' would cut images in two, takes 'best_fit' or 'first_fit' here"
            )
        if any(source.placeholder == self.pad_id for source in sources):
            raise ValueError(f"pad_id: got {self.pad_id}, the placeholder of images, takes another")
        for name in ("plan", "placeholder", "scale", "shift", "dtype"):
            values = [getattr(source, name) for source in sources]
            if any(str(value) != str(values[0]) for value in values):
                shown = "layout" if name == "plan" else name
                raise ValueError(f"sources: image sources differ in {shown}, one loader takes one")

    def __repr__(self) -> str:
        documents = int(self._planner.sizes.sum())
        return (
            f"PackedLoader({len(self.sources)} sources, {documents} documents, batches of"
            f" {self.batch} rows of {self.length})"
        )

    @property
    def lost(self) -> dict[str, int]:
        """What was left out so far: places ``"cropped"`` and documents ``"dropped"``.

        A window is counted with the first of its batches.
        """
        return dict(zip(("cropped", "dropped"), self._state.lost_here, strict=True))

    def __iter__(self) -> Iterator[Packed]:
        plans = self._planner.batches(self._state)
        if self.workers == 0:
            ready = made_here(self._recipe, plans)
        elif self.worker_kind == "thread":
            ready = made_by_threads(self._recipe, plans, self.workers)
        else:
            ready = made_by_processes(self._recipe, plans, self.workers)
        with closing(ready):
            for packed, state in ready:
                made = packed.pin_memory() if self.pin_memory else packed
                self._state = state
                yield made
        self._state = self._planner.begin(0, self._planner.lost_at_end)

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
            The state is of another loader, or damaged: names what differs.
        """
        if not isinstance(state, dict):
            raise ValueError(f"state: got {type(state).__name__}, takes a dict")
        if state.get("version") != _STATE_VERSION:
            raise ValueError(f"state: version {state.get('version')!r}, takes {_STATE_VERSION}")
        for name, value in self._facts().items():
            if state.get(name) != value:
                raise ValueError(f"state: {name} is {state.get(name)!r}, this loader has {value!r}")
        self._state = self._planner.checked_state(state)

    def _facts(self) -> dict[str, Any]:
        shares = self._planner.shares
        return {
            "documents": self._planner.sizes.tolist(),
            "weights": None if shares is None else shares.tolist(),
            "length": self.length,
            "batch": self.batch,
            "seed": self.seed,
            "rank": self.rank,
            "world_size": self.world_size,
            "method": self.method,
            "overlong": self.overlong,
            "look_ahead": self.look_ahead,
        }


def _shares(weights: Sequence[float], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = np.asarray(weights, np.float64)
    right = shares.shape == sizes.shape and np.isfinite(shares).all()
    if not right or (shares < 0).any() or shares.sum() == 0:
        raise ValueError(
            f"weights: got {weights!r}, takes {len(sizes)} numbers of at least 0, not all 0: one a"
            " source"
        )
    if (sizes[shares > 0] == 0).any():
        raise ValueError("weights: a source without documents has a weight")
    made: NDArray[np.float64] = shares / shares.sum()
    return made


def _can_pin() -> bool:
    import torch

    return torch.accelerator.is_available()


__all__ = ["PackedLoader"]
