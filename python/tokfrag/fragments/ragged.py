"""Series of different lengths: cut, computed on and merged, with offsets that say what is whose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag.fragments.arguments import one_integer
from tokfrag.fragments.axes import Edge
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.features import fragment_features
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import merge
from tokfrag.fragments.shapes import FEATURES, Feature
from tokfrag.fragments.streams.results import refuse_labels
from tokfrag.fragments.windows import Reduce, Window


class RaggedFragments(NamedTuple):
    """Rows of all series, one after the other; series ``k`` begins at row ``offsets[k]``."""

    values: Any
    offsets: NDArray[np.int64]


class RaggedSeries:
    """Series of different lengths and of the same channels, type and kind.

    Parameters
    ----------
    series : sequence of (channels, length) or (length,) arrays or tensors; or one, with `offsets`
        All series, one after the other.
    offsets : (count + 1,) integers, optional
        Where each begins in `series`, and where the last one ends: 0 first, ascending.

    Raises
    ------
    ValueError, TypeError
        Series of different channels, types or kinds; offsets that do not fit. The message names it.

    Examples
    --------
    >>> series = RaggedSeries([np.arange(5.0), np.arange(2.0)])
    >>> fragments, offsets = series.extract(2)
    >>> fragments[:, 0].tolist(), offsets.tolist()
    ([[0.0, 1.0], [2.0, 3.0], [4.0, 0.0], [0.0, 1.0]], [0, 3, 4])
    >>> [len(part[0]) for part in series.map_fragments(lambda f: f + 1, 2, batch_size=3)]
    [5, 2]
    """

    def __init__(self, series: Any, offsets: Any = None) -> None:
        if offsets is not None:
            series = _arrays.from_protocols(series)
            _arrays.check_array(series, "series")
            self.values = _rows(series, "series")
            self.offsets = _checked_offsets(offsets, self.values.shape[1])
            return
        if _arrays.is_tensor(series) or isinstance(series, np.ndarray):
            raise TypeError("series: got one array, takes a sequence of them, or offsets too")
        if not isinstance(series, Iterable):
            raise TypeError(f"series: got {type(series).__name__}, takes a sequence of arrays")
        parts = []
        for k, part in enumerate(series):
            part = _arrays.from_protocols(part)
            _arrays.check_array(part, f"series[{k}]")
            parts.append(_rows(part, f"series[{k}]"))
        if not parts:
            raise ValueError("series: got none, takes at least one")
        first = parts[0]
        for k, part in enumerate(parts):
            alike = _arrays.is_tensor(part) == _arrays.is_tensor(first)
            if not alike or part.shape[0] != first.shape[0] or part.dtype != first.dtype:
                raise ValueError(
                    f"series[{k}]: got {part.shape[0]} channels of {part.dtype}, takes "
                    f"{first.shape[0]} of {first.dtype}, and the kind of the first"
                )
        self.values = _joined(parts, 1)
        self.offsets = np.cumsum([0, *(part.shape[1] for part in parts)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, k: int) -> Any:
        k = one_integer(k, "series")
        if not -len(self) <= k < len(self):
            raise IndexError(f"series: got {k}, there are {len(self)}")
        k %= len(self)
        return self.values[:, int(self.offsets[k]) : int(self.offsets[k + 1])]

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def extract(
        self,
        size: int,
        stride: int | None = None,
        *,
        edge: Edge = "pad",
        threads: int | None = None,
    ) -> RaggedFragments:
        """The fragments of every series, as :func:`tokfrag.extract` cuts them.

        Parameters
        ----------
        size, stride, edge :
            As `tokfrag.FragmentGrid` takes them. ``edge="shift"`` takes series of `size` at least.
        threads : int, optional
            At most so many threads.

        Returns
        -------
        RaggedFragments
            ``values`` are ``(n, channels, size)``.
        """
        grids = self._grids(size, stride, edge)
        parts = [
            extract(part[None], grid, threads=threads)[0]
            for part, grid in zip(self, grids, strict=True)
        ]
        return _ragged(parts)

    def fragment_features(
        self,
        size: int,
        stride: int | None = None,
        features: Sequence[Feature | str] = FEATURES,
        *,
        lags: Sequence[int] = (1,),
        edge: Edge = "pad",
        threads: int | None = None,
    ) -> RaggedFragments:
        """Features of the windows of every series, as :func:`tokfrag.fragment_features` has them.

        Parameters
        ----------
        size, stride, edge :
            As `tokfrag.FragmentGrid` takes them.
        features, lags, threads :
            As `tokfrag.fragment_features` takes them.

        Returns
        -------
        RaggedFragments
            ``values`` are ``(n, channels, features)``.
        """
        grids = self._grids(size, stride, edge)
        parts = [
            fragment_features(part[None], grid, features, lags=lags, threads=threads)[0]
            for part, grid in zip(self, grids, strict=True)
        ]
        return _ragged(parts)

    def map_fragments(
        self,
        model: Callable[[Any], Any],
        size: int,
        stride: int | None = None,
        *,
        batch_size: int,
        edge: Edge = "pad",
        window: Window | None = None,
        reduce: Reduce | None = None,
    ) -> RaggedSeries:
        """Run ``model`` on the fragments of all series and merge what it returns, series by series.

        Batches are full, whatever the lengths: the fragments of several series go together. Only
        the fragments of the series of a batch exist at once.

        Parameters
        ----------
        model : callable
            From ``(count, channels, size)`` to ``(count, channels_out, size)``, of the kind of the
            series. It is called as it is.
        size, stride, edge :
            As `tokfrag.FragmentGrid` takes them.
        batch_size : int
            Fragments a call.
        window, reduce :
            As `tokfrag.map_fragments` takes them: labels are not averaged unasked.

        Returns
        -------
        RaggedSeries
            Of the lengths of this one.

        Raises
        ------
        ValueError, TypeError
            An argument, or an output of the model, that does not fit; the message names it.
        """
        batch_size = one_integer(batch_size, "batch_size", least=1)
        weights: Window = "gaussian" if reduce in (None, "mean", "sum") else "uniform"
        weights = weights if window is None else window
        grids = self._grids(size, stride, edge)
        waiting: list[Any] = []  # fragments that no batch has taken
        outputs: list[Any] = []  # what the model made of those before
        merged: list[Any] = []
        done = 0  # series whose fragments all wait, or are outputs

        def run(least: int) -> None:
            nonlocal waiting
            cut = _joined(waiting, 0) if waiting else None
            while cut is not None and len(cut) >= max(1, least):
                batch, cut = cut[:batch_size], cut[batch_size:]
                output = _arrays.from_protocols(model(batch))
                shape = tuple(getattr(output, "shape", ()))
                known = outputs[0].shape[1] if outputs else None
                fits = len(shape) == 3 and shape[::2] == (len(batch), size)
                if not fits or known not in (None, shape[1]):
                    takes = f"({len(batch)}, {known or 'channels'}, {size})"
                    raise ValueError(f"model: got an output of shape {shape}, takes {takes}")
                if reduce is None:
                    refuse_labels(output.dtype, self.values)
                outputs.append(output)
            waiting = [] if cut is None or not len(cut) else [cut]

        def finish() -> None:
            while len(merged) < done and sum(map(len, outputs)) >= grids[len(merged)].n:
                grid = grids[len(merged)]
                if not outputs and grid.n == 0:
                    merged.append(None)
                    continue
                ready = _joined(outputs, 0)
                outputs[:] = [ready[grid.n :]]
                options: dict[str, Any] = {"window": weights, "reduce": reduce or "mean"}
                whole = merge(ready[: grid.n][None], grid, **options)
                merged.append(whole[0])

        for part, grid in zip(self, grids, strict=True):
            waiting.append(extract(part[None], grid)[0])
            done += 1
            run(batch_size)
            finish()
        run(1)
        finish()
        made = [part for part in merged if part is not None]
        if not made:
            raise ValueError("series: got no positions to run the model on, takes at least one")
        return RaggedSeries(_joined(made, 1), self.offsets)

    def _grids(self, size: int, stride: int | None, edge: Edge) -> list[FragmentGrid]:
        known: dict[int, FragmentGrid] = {}
        lengths = np.diff(self.offsets).tolist()
        for length in lengths:
            if length not in known:
                known[length] = FragmentGrid((length,), size, stride, edge=edge)
        return [known[length] for length in lengths]


def _rows(series: Any, name: str) -> Any:
    """(channels, length)."""
    if series.ndim not in (1, 2):
        raise ValueError(
            f"{name}: got shape {tuple(series.shape)}, takes (channels, length) or (length,)"
        )
    return series[None] if series.ndim == 1 else series


def _checked_offsets(offsets: Any, total: int) -> NDArray[np.int64]:
    if _arrays.is_tensor(offsets):
        offsets = offsets.cpu().numpy()
    given = np.asarray(offsets)
    if given.ndim != 1 or given.dtype.kind not in "iu" or len(given) < 2:
        raise ValueError(f"offsets: got {offsets!r}, takes (count + 1,) integers")
    checked = given.astype(np.int64)
    if checked[0] != 0 or checked[-1] != total or (np.diff(checked) < 0).any():
        raise ValueError(f"offsets: got {offsets!r}, takes ascending ones from 0 to {total}")
    return checked


def _ragged(parts: list[Any]) -> RaggedFragments:
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return RaggedFragments(_joined(parts, 0), offsets)


def _joined(parts: list[Any], axis: int) -> Any:
    if len(parts) == 1:
        return parts[0]
    if _arrays.is_tensor(parts[0]):
        import torch

        return torch.cat(parts, axis)
    return np.concatenate(parts, axis)
