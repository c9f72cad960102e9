"""Windows through MONAI's predictors and back: coordinates, conditions, process_fn, gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tokfrag.fragments.extraction import extract
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import merge
from tokfrag.fragments.streams.cutting import Run, run_grid, runs, spans
from tokfrag.fragments.streams.results import WeightedOutputs, resized
from tokfrag.fragments.streams.sliding import map_fragments
from tokfrag.fragments.streams.stitching import output_grid


class SlidingWindows:
    """Windows through the predictor and back: streamed, or whole where a gradient is wanted.

    Examples
    --------
    >>> grid = FragmentGrid((8,), 4, 2, edge="shift")
    >>> source = torch.arange(8.0).reshape(1, 1, 8)
    >>> SlidingWindows(source, grid, "uniform", 2, None, False).run(lambda x: 2 * x).tolist()
    [[[0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]]]
    """

    def __init__(
        self,
        source: Tensor,
        grid: FragmentGrid,
        window: Any,
        batch_size: int,
        device: torch.device | str | None,
        progress: bool,
    ) -> None:
        self._source, self._grid, self._window = source, grid, window
        self._batch_size, self._device, self._progress = batch_size, device, progress

    def run(self, predict: Callable[[Tensor], Any]) -> Any:
        """The merged outputs.

        Parameters
        ----------
        predict : callable
            Takes (count, channels, *size) windows; returns a tensor, a sequence or a mapping.

        Returns
        -------
        (batch, channels, *spatial) tensor, or a tuple or dict of them
            As what ``predict`` returns; with a gradient where its outputs have one.
        """
        first = self._first_outputs(predict) if torch.is_grad_enabled() else None
        if first is not None and any(part.requires_grad for part in _parts(first)):
            return self._with_gradient(predict, first)

        def resumed(windows: Tensor) -> Any:
            nonlocal first
            outputs, first = first, None  # the first batch has been through the predictor
            return predict(windows) if outputs is None else outputs

        return map_fragments(
            resumed,
            self._source,
            self._grid,
            batch_size=self._batch_size,
            window=self._window,
            reduce="mean",
            halo="scale",
            device=self._device,
            progress=self._progress,
            threads=torch.get_num_threads(),  # as MONAI's own operators
        )

    def _windows(self, first: int) -> Tensor:
        """A batch of windows, differentiable in the source."""
        last = min(first + self._batch_size, self._source.shape[0] * self._grid.n)
        windows = [
            extract(
                self._source[_place(run, spans(grid, run))],
                run_grid(grid, run.length),
            )[0]
            for grid in [self._grid]
            for run in runs(grid, first, last)
        ]
        batch = windows[0] if len(windows) == 1 else torch.cat(windows)
        return batch.to(self._source.device if self._device is None else self._device)

    def _first_outputs(self, predict: Callable[[Tensor], Any]) -> Any:
        return predict(self._windows(0))

    def _with_gradient(self, predict: Callable[[Tensor], Any], first: Any) -> Any:
        """Every output kept, for the gradient needs them all, and merged at once."""
        batches = [first]
        total = self._source.shape[0] * self._grid.n
        for begin in range(self._batch_size, total, self._batch_size):
            batches.append(predict(self._windows(begin)))
        weights = [b.weights if isinstance(b, WeightedOutputs) else None for b in batches]
        parts = [_parts(batch) for batch in batches]
        merged = [
            self._merged([batch[k] for batch in parts], weights) for k in range(len(parts[0]))
        ]
        outputs = first.outputs if isinstance(first, WeightedOutputs) else first
        if isinstance(outputs, Mapping):
            return dict(zip(outputs, merged, strict=True))
        return merged[0] if isinstance(outputs, Tensor) else tuple(merged)

    def _merged(self, batches: list[Tensor], weights: list[Any]) -> Tensor:
        """The mean of one output over the windows that hold a position."""
        size = tuple(batches[0].shape[2:])
        grid = output_grid(self._grid, size)
        shape = (self._source.shape[0], grid.n, -1, *size)
        if weights[0] is None:
            window = resized(self._window, self._grid.size, size)
            fragments = torch.cat(batches).reshape(shape)
            return merge(_wide(fragments), grid, window=window)
        # As the streamed way: each batch by its own weights, over those of the first call.
        numbers = [
            torch.from_numpy(np.asarray(resized(own, self._grid.size, size))) for own in weights
        ]
        weighed = [
            _wide(batch) * own.to(batch.device, torch.float32)
            for batch, own in zip(batches, numbers, strict=True)
        ]
        total = merge(torch.cat(weighed).reshape(shape), grid, reduce="sum")
        ones = np.broadcast_to(np.ones(1), (1, grid.n, 1, *size))
        held = merge(ones, grid, window=numbers[0].numpy(), reduce="sum")
        return total / torch.from_numpy(held).to(total)


def _place(run: Run, spans: tuple[slice, ...]) -> tuple[slice, ...]:
    return (slice(run.batch, run.batch + 1), slice(None), *spans)


def _parts(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, WeightedOutputs):
        outputs = outputs.outputs
    if isinstance(outputs, Mapping):
        return list(outputs.values())
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _wide(fragments: Tensor) -> Tensor:
    """Sums are kept in float32, or in float64 for float64."""
    return fragments if fragments.dtype == torch.float64 else fragments.float()


class Predictor:
    """Calls the predictor with what MONAI passes along: coordinates, condition, other arguments."""

    def __init__(
        self,
        predictor: Callable[..., Any],
        grid: FragmentGrid,
        condition: Tensor | None,
        with_coord: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._predictor, self._grid, self._condition = predictor, grid, condition
        self._with_coord, self._args, self._kwargs = with_coord, args, kwargs
        self._done = 0

    def __call__(self, windows: Tensor) -> Any:
        arguments: list[Any] = [windows]
        options = dict(self._kwargs)
        if self._with_coord or self._condition is not None:
            places = self._places(len(windows))
            if self._with_coord:
                arguments.append(places)
            if self._condition is not None:
                cut = [self._condition[tuple(place)] for place in places]
                options["condition"] = torch.cat(cut).to(windows.device)
        outputs = self._predictor(*arguments, *self._args, **options)
        self._done += len(windows)  # not before: a call that ran out of memory is repeated
        return outputs

    def _places(self, count: int) -> list[list[slice]]:
        """Where each window of a batch lies: batch, channels, then the spatial axes."""
        places = []
        for run in runs(self._grid, self._done, self._done + count):
            for k in range(run.length):
                place = (*run.place[:-1], run.place[-1] + k)
                inside = spans(self._grid, run._replace(place=place, length=1))
                places.append([slice(run.batch, run.batch + 1), slice(None), *inside])
        return places


class Processed:
    """Calls `process_fn` on what the predictor returns."""

    def __init__(
        self,
        predict: Callable[[Tensor], Any],
        process_fn: Callable[..., Any],
        window: Any,
        roi: tuple[int, ...],
        dtype: torch.dtype,
    ) -> None:
        self._predict, self._process, self._roi = predict, process_fn, roi
        whole = np.ones(roi) if isinstance(window, str) else window
        self._weights = torch.from_numpy(whole).to(dtype)

    def __call__(self, windows: Tensor) -> WeightedOutputs:
        outputs = self._predict(windows)
        kind = type(outputs)
        keys = list(outputs) if isinstance(outputs, Mapping) else None
        parts = outputs.values() if isinstance(outputs, Mapping) else outputs
        parts = (parts,) if isinstance(parts, Tensor) else tuple(parts)
        parts, weights = self._process(parts, windows, self._weights.to(windows.device))
        numbers = torch.as_tensor(weights).detach().cpu().double().numpy()
        if numbers.size != prod(self._roi) or numbers.shape[-len(self._roi) :] != self._roi:
            raise ValueError(
                f"process_fn: got weights of shape {numbers.shape} back, takes {self._roi}"
            )
        if keys is not None:
            outputs = dict(zip(keys, parts, strict=True))
        else:
            outputs = parts[0] if issubclass(kind, Tensor) else tuple(parts)
        return WeightedOutputs(outputs, numbers.reshape(self._roi))
