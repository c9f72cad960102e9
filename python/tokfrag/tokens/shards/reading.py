"""Read token shards: memory-mapped, sliced like one array, dealt out as training batches."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.formats.json_place import Place
from tokfrag.tokens.shards.index import ShardIndex, shard_digest

_CHECKED_ENDS = 1 << 20
_STATE_VERSION = 1
_FACTS = ("tokens", "length", "seed", "windows a step")  # of batches, which a state repeats


class TokenShards:
    """The ids that ``encode_files`` wrote, as one long array that stays on disk.

    Parameters
    ----------
    path : str or os.PathLike
        The folder, or one file of bare ids (``layout="bin"``).
    dtype : "uint16" or "uint32"
        Of a file of bare ids; a folder's index says its own.

    Raises
    ------
    ValueError
        The folder is unfinished, a file has not the size that the index says, or where documents
        end does not ascend.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "train.bin"
    >>> np.arange(10, dtype=np.uint16).tofile(file)
    >>> shards = TokenShards(file)
    >>> len(shards), shards[2:5].tolist()
    (10, [2, 3, 4])
    >>> x, y = next(shards.batches(2, 3, seed=0))
    >>> tuple(x.shape), bool((x + 1 == y).all())
    ((2, 3), True)
    """

    def __init__(self, path: str | os.PathLike[str], *, dtype: str = "uint16") -> None:
        self._path = Path(path)
        self._given_dtype = dtype
        if self._path.is_dir():
            self._index: ShardIndex | None = ShardIndex.read(self._path)
            self._dtype: np.dtype[Any] = np.dtype(self._index.dtype)
            self._open_folder(self._index)
        else:
            if dtype not in ("uint16", "uint32"):
                raise ValueError(f"dtype: got {dtype!r}, takes 'uint16' or 'uint32'")
            self._index = None
            self._dtype = np.dtype(dtype)
            size = self._path.stat().st_size
            if size % self._dtype.itemsize:
                raise ValueError(f"{path}: {size} bytes are no whole number of {dtype}")
            self._parts = [_mapped(self._path, self._dtype)]
            self._ends: list[NDArray[np.int64]] = []
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])
        self._documents = np.cumsum([0, *(len(ends) for ends in self._ends)])
        self._state: dict[str, Any] = {"version": _STATE_VERSION}  # of the batches taken last
        self._resumed: dict[str, Any] | None = None  # where the next batches begin

    def _open_folder(self, index: ShardIndex) -> None:
        if not index.complete:
            missing = sum(not shard.done for shard in index.shards)
            raise ValueError(
                f"{self._path}: {missing} of {len(index.shards)} shards are not written; the same"
                " call of encode_files goes on with them"
            )
        self._parts, self._ends = [], []
        for shard in index.shards:
            for suffix, kind, count in (
                (".bin", self._dtype, shard.tokens),
                (".ends", np.dtype(np.int64), shard.documents),
            ):
                path = self._path / f"{shard.name}{suffix}"
                size = path.stat().st_size
                if size != count * kind.itemsize:
                    raise ValueError(
                        f"{path}: {size} bytes, the index says {count * kind.itemsize}"
                    )
                (self._parts if suffix == ".bin" else self._ends).append(_mapped(path, kind))
            _check_ends(self._ends[-1], shard.tokens, path, goes_on=index.version > 1)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (os.fspath(self._path), self._given_dtype)

    def __len__(self) -> int:
        """How many tokens there are."""
        return int(self._starts[-1])

    def __repr__(self) -> str:
        return f"TokenShards({os.fspath(self._path)!r}, {len(self)} tokens, {self._dtype})"

    @property
    def dtype(self) -> np.dtype[Any]:
        """How the ids are stored."""
        return self._dtype

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> NDArray[Any]: ...
    def __getitem__(self, index: int | slice) -> int | NDArray[Any]:
        """One id, or the ids of a slice: a view of the file where the slice lies in one shard."""
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            if step == 1:
                return self._between(begin, max(begin, end))
            if step < 0:
                covered = self._between(min(end, begin) + 1, begin + 1)
                return covered[::step]
            return self._between(begin, max(begin, end))[::step]
        place = range(len(self))[index]
        part = int(np.searchsorted(self._starts, place, "right")) - 1
        return int(self._parts[part][place - int(self._starts[part])])

    def _between(self, begin: int, end: int) -> NDArray[Any]:
        first = int(np.searchsorted(self._starts, begin, "right")) - 1
        pieces = []
        for part in range(max(first, 0), len(self._parts)):
            start = int(self._starts[part])
            if start >= end:
                break
            piece = self._parts[part][max(0, begin - start) : end - start]
            if len(piece):
                pieces.append(piece)
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([np.empty(0, self._dtype), *pieces])

    # Documents.

    @property
    def document_ends(self) -> NDArray[np.int64]:
        """``(documents,)`` int64: where each document ends, its end-of-text token included."""
        if self._index is None:
            raise ValueError(f"{self._path}: a file of bare ids does not say where documents end")
        shifted = [ends + start for ends, start in zip(self._ends, self._starts, strict=False)]
        return np.concatenate([np.empty(0, np.int64), *shifted])

    def document(self, number: int) -> NDArray[Any]:
        """Read the ids of one document.

        Parameters
        ----------
        number : int
            From 0; negative numbers count from the end.

        Returns
        -------
        (tokens,) array, uint16 or uint32
            With its end-of-text token; a view of the file where the document lies in one shard.

        Raises
        ------
        ValueError
            Of a file of bare ids, which does not say where documents end.
        IndexError
            If there is no document of that number.
        """
        if self._index is None:
            raise ValueError(f"{self._path}: a file of bare ids does not say where documents end")
        place = range(int(self._documents[-1]))[number]
        return self._between(self._end_of(place - 1) if place else 0, self._end_of(place))

    def _end_of(self, place: int) -> int:
        """Where a document ends."""
        part = int(np.searchsorted(self._documents, place, "right")) - 1
        return int(self._ends[part][place - int(self._documents[part])] + self._starts[part])

    @property
    def skipped(self) -> tuple[int, list[str]]:
        """How many documents and files were left out when it was written, and where they stood."""
        shards = self._index.shards if self._index else ()
        places = [place for shard in shards for place in shard.places]
        return sum(shard.skipped for shard in shards), places

    def verify(self) -> None:
        """Read every file of a folder and compare it with the checksums of the index.

        Raises
        ------
        ValueError
            A shard differs; names the first.
        """
        for shard in self._index.shards if self._index else ():
            if shard_digest(self._path, shard) != shard.sha256:
                raise ValueError(f"{self._path}: shard {shard.name} is not what was written")

    # Training.

    def windows(self, length: int, *, phase: int = 0) -> TokenWindows:
        """Make the dataset of windows that lie side by side, each with the ids that follow its own.

        Parameters
        ----------
        length : int
            Ids in a window.
        phase : int
            Where the first window begins.

        Returns
        -------
        TokenWindows
            Its items are ``(x, y)``, each ``(length,)`` int64; the ids of ``y`` lie one place on.
        """
        return TokenWindows(self, length, phase=phase)

    def batches(
        self,
        batch: int,
        length: int,
        seed: int = 0,
        *,
        epochs: int | None = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[tuple[Any, Any]]:
        """Training batches: ids, and for each the id that follows it.

        In an epoch every window of ``length`` ids comes once, in an order that depends on the seed
        and the epoch alone; so does where the windows begin, so that epochs cut the text at
        different places. What does not fill a batch is left out.

        Parameters
        ----------
        batch, length : int
            The shape of ``x`` and ``y``.
        seed : int
            Of the order, 0 or more.
        epochs : int, optional
            How many; None: without end.
        rank, world_size : int
            The part of a process among several: every ``world_size``-th batch, from ``rank`` on.

        Yields
        ------
        x, y
            ``(batch, length)`` int64: torch tensors if torch is imported, else arrays.

        Raises
        ------
        ValueError
            A number is out of range, or there are too few tokens for one batch.
        """
        for name, value, least in (
            ("batch", batch, 1),
            ("length", length, 1),
            ("seed", seed, 0),
            ("world_size", world_size, 1),
        ):
            if value < least:
                raise ValueError(f"{name}: got {value}, takes {least} or more")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank: got {rank}, takes 0 to {world_size - 1}")
        if epochs is not None and epochs < 0:
            raise ValueError(f"epochs: got {epochs}, takes 0 or more, or None")
        whole = batch * world_size * length + 1
        if len(self) < whole:
            raise ValueError(f"batch: the first takes {whole} tokens, there are {len(self)}")
        values = map(int, (len(self), length, seed, batch * world_size))
        facts = dict(zip(_FACTS, values, strict=True))
        epoch, step = self._begin(facts)
        return self._deal(facts, batch, epochs, rank, epoch, step)

    def state_dict(self) -> dict[str, Any]:
        """Give where the batches are: after the last that was taken of any :meth:`batches`.

        Returns
        -------
        dict
            Some numbers, for a checkpoint.
        """
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next :meth:`batches` go on where those were that gave the state.

        It takes the same arguments; ``batch`` and ``world_size`` may differ if their product, the
        windows of one step, is the same.

        Parameters
        ----------
        state : dict
            Of :meth:`state_dict`.

        Raises
        ------
        ValueError
            The state is none, or of other tokens.
        """
        root = Place(state, "state")
        version = root.get("version", int)
        if version != _STATE_VERSION:
            raise ValueError(f"state: version {version}, takes {_STATE_VERSION}")
        begun = set(state) != {"version"}
        if begun:
            root.only("version", *_FACTS, "epoch", "step")
            for name in (*_FACTS, "epoch", "step"):
                if root.get(name, int) < 0:
                    raise root.at(name).refusal(f"got {state[name]}, takes 0 or more")
            if state["tokens"] != len(self):
                raise ValueError(f"state: of {state['tokens']} tokens, these are {len(self)}")
        self._state = dict(state)
        self._resumed = dict(state) if begun else None

    def _begin(self, facts: dict[str, int]) -> tuple[int, int]:
        """The epoch and the step in it with which batches of these arguments begin."""
        state, self._resumed = self._resumed, None
        if state is None:
            return 0, 0
        for name, value in facts.items():
            if state.get(name) != value:
                self._resumed = state
                raise ValueError(f"state: {name} {state.get(name)!r}, these batches have {value}")
        return state["epoch"], state["step"]

    def _deal(
        self,
        facts: dict[str, int],
        batch: int,
        epochs: int | None,
        rank: int,
        epoch: int,
        step: int,
    ) -> Iterator[tuple[Any, Any]]:
        length, seed, whole = facts["length"], facts["seed"], facts["windows a step"]
        while epochs is None or epoch < epochs:
            random = np.random.default_rng([seed, epoch])
            slack = min(length, len(self) - whole * length)
            windows = self.windows(length, phase=int(random.integers(slack)))
            order = random.permutation(len(windows))
            for done in range(step, len(order) // whole):
                first = done * whole + rank * batch
                rows = np.empty((batch, length + 1), np.int64)
                for row, number in enumerate(order[first : first + batch]):
                    rows[row] = windows.ids(int(number))
                self._state = {
                    "version": _STATE_VERSION,
                    **facts,
                    "epoch": epoch,
                    "step": done + 1,
                }
                yield _as_tensors(rows)
            epoch, step = epoch + 1, 0


class TokenWindows:
    """A dataset of ``(x, y)`` for ``torch.utils.data.DataLoader``; pickles by path.

    ``x`` is ``(length,)`` int64, ``y`` the same one token on.
    """

    def __init__(self, shards: TokenShards, length: int, *, phase: int = 0) -> None:
        if length < 1:
            raise ValueError(f"length: got {length}, takes 1 or more")
        if phase < 0:
            raise ValueError(f"phase: got {phase}, takes 0 or more")
        self._shards = shards
        self._length = length
        self._phase = phase

    def __len__(self) -> int:
        return max(0, (len(self._shards) - 1 - self._phase) // self._length)

    def ids(self, number: int) -> NDArray[Any]:
        """The ``length + 1`` ids of a window."""
        begin = self._phase + range(len(self))[number] * self._length
        return self._shards[begin : begin + self._length + 1]

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        return _as_tensors(self.ids(number).astype(np.int64))


def _as_tensors(rows: NDArray[np.int64]) -> tuple[Any, Any]:
    torch = sys.modules.get("torch")
    if torch is not None:
        rows = torch.from_numpy(rows)
    return rows[..., :-1], rows[..., 1:]


def _mapped(path: Path, kind: np.dtype[Any]) -> NDArray[Any]:
    # An empty file cannot be mapped.
    if path.stat().st_size == 0:
        return np.empty(0, kind)
    return np.memmap(path, kind, "r")


def _check_ends(ends: NDArray[np.int64], tokens: int, path: Path, *, goes_on: bool) -> None:
    """Refuse ends of documents that do not rise to the number of tokens.

    ``goes_on``: whether a document may go on in the next shard.
    """
    before = 0
    for at in range(
        0, len(ends), _CHECKED_ENDS
    ):  # in parts: a mapped file may be larger than memory
        part = ends[at : at + _CHECKED_ENDS]
        if part[0] < before or (np.diff(part) < 0).any():
            raise ValueError(f"{path}: is damaged: ends of documents do not ascend")
        before = int(part[-1])
    if before > tokens or (before < tokens and not goes_on):
        raise ValueError(f"{path}: is damaged: ends at token {before}, the index says {tokens}")


def _open(path: str, dtype: str) -> TokenShards:
    return TokenShards(path, dtype=dtype)
