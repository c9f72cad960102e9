"""Shares of the memory floor, on every instruction set: ``python bench/floor_shares.py``.

Out of cache a work is held against reading all of its inputs once and writing all of its outputs
once, in the same run: ``share`` is the time of these two over the work's. In cache, where calls are
short, its numbers a second say how fast the loops are: numbers of fragments for extract, merge and
their gradients, numbers of data for features. Times are processor time of one thread, medians of
rounds in which work, reading and writing take turns: other processes disturb them little, but for
the caches and the memory that they share. Gradients are whole calls of ``torch.autograd.grad``.

``--isa baseline,v3,v4`` runs everything again in a process for each of these instruction sets.
``--threads 1,2`` adds how many times as fast two threads are, by the clock on the wall: on an idle
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any, Literal

import numpy as np

from peers import need
from tokfrag import FragmentGrid, extract, merge
from tokfrag.fragments import fragment_features

torch = need("torch")

Window = Literal["uniform", "gaussian"]


@dataclass(frozen=True)
class Shape:
    """Data out of cache and in it, and how they are cut."""

    large: tuple[tuple[int, int], tuple[int, ...]]  # batch and channels, space
    small: tuple[tuple[int, int], tuple[int, ...]]
    size: int
    stride: int

    def grid(self, space: tuple[int, ...]) -> FragmentGrid:
        """The windows of data like these."""
        return FragmentGrid(space, self.size, self.stride)


SHAPES = {
    "image": Shape(((4, 3), (992, 992)), ((1, 1), (192, 192)), 64, 32),
    "volume": Shape(((1, 1), (160, 160, 160)), ((1, 1), (48, 48, 48)), 32, 16),
    "series": Shape(((1, 16), (499_968,)), ((1, 4), (16_384,)), 256, 64),
    "ViT": Shape(((8, 3), (992, 992)), ((1, 1), (128, 128)), 16, 16),
}
TYPES = ("float32", "float16", "bfloat16", "uint8")
FIVE = ("mean", "std", "min", "max", "diff_energy")
LAGS = (1, 2, 3)
SMALL_CALLS = 100


@dataclass(frozen=True)
class Job:
    """A call, by how many threads it is made, and what it reads and writes."""

    call: Callable[[int], Any]
    reads: Any
    writes: Any
    numbers: int


def job(work: str, shape: Shape, type_name: str, space: Any) -> Job:
    """The work on data of this type, checked."""
    planes, extents = space
    kind = getattr(torch, type_name)
    grid = shape.grid(extents)
    values = torch.arange(int(np.prod(planes) * np.prod(extents))) * 7919 % 251
    x = (values.reshape(*planes, *extents) if type_name == "uint8" else values / 251).to(kind)
    x = x.reshape(*planes, *extents)
    if work.startswith("features"):
        return features_job(x, grid, work == "features with lags")
    fragments = extract(x, grid)
    if work == "extract":
        out = torch.empty_like(fragments)
        made = Job(lambda n: extract(x, grid, out=out, threads=n), x, out, out.numel())
        made.call(1)
        origin = grid.origins[-1]
        place = tuple(slice(o, o + shape.size) for o in origin)
        assert torch.equal(out[:, -1], x[(slice(None), slice(None), *place)])
        return made
    window: Window = "gaussian" if work.endswith("gaussian") else "uniform"
    if work.startswith("merge"):
        out = torch.empty_like(x)
        merged = Job(
            lambda n: merge(fragments, grid, window=window, out=out, threads=n),
            fragments,
            out,
            fragments.numel(),
        )
        merged.call(1)
        torch.testing.assert_close(out, x, rtol=1e-2, atol=1e-2 if out.is_floating_point() else 1)
        return merged
    return gradient_job(work, x, fragments, grid, window)


def features_job(x: Any, grid: FragmentGrid, lagged: bool) -> Job:
    """Five features of a series, and three lags; of other data four."""
    names = FIVE if len(grid.shape) == 1 else FIVE[:4]
    names = (*names, "lag_corr") if lagged else names
    lags = LAGS if lagged else ()

    def call(threads: int) -> Any:
        return fragment_features(x, grid, names, lags=lags, threads=threads)

    out = call(1)
    window = x[(..., *(slice(size) for size in grid.size))]
    mean = window.double().flatten(2).mean(-1)
    torch.testing.assert_close(out[:, 0, :, 0].double(), mean, rtol=1e-2, atol=1e-2)
    return Job(call, x, out, x.numel())


def gradient_job(work: str, x: Any, fragments: Any, grid: FragmentGrid, window: Window) -> Job:
    """The gradient of extract or merge, as torch asks for it."""

    def forward(given: Any, threads: int) -> Any:
        if work == "backward of extract":
            return extract(given, grid, threads=threads)
        return merge(given, grid, window=window, threads=threads)

    given = (x if work == "backward of extract" else fragments).clone().requires_grad_()
    above = (fragments if work == "backward of extract" else x).clone()
    made = {1: forward(given, 1)}

    def call(threads: int) -> Any:
        if threads not in made:
            made[threads] = forward(given, threads)
        (gradient,) = torch.autograd.grad(made[threads], given, above, retain_graph=True)
        return gradient

    out = call(1)
    # What is linear has the product of both sides in common.
    torch.testing.assert_close(
        (out.double() * given.detach().double()).sum(),
        (made[1].detach().double() * above.double()).sum(),
        rtol=1e-2,
        atol=1.0,
    )
    return Job(call, above, out, fragments.numel())


WORKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "extract": (tuple(SHAPES), TYPES),
    "merge uniform": (tuple(SHAPES), TYPES),
    "merge gaussian": (tuple(SHAPES), TYPES),
    "features": (("series", "image", "volume"), TYPES),
    "features with lags": (("series",), TYPES),
    "backward of extract": (tuple(SHAPES), ("float32", "float16")),
    "backward of merge uniform": (tuple(SHAPES), ("float32", "float16")),
    "backward of merge gaussian": (tuple(SHAPES), ("float32", "float16")),
}


def words(tensor: Any) -> Any:
    """The memory of a tensor as 64-bit words (but for a few bytes)."""
    memory = tensor.detach().reshape(-1).view(torch.uint8).numpy()
    return memory[: memory.size // 8 * 8].view(np.uint64)


def seconds(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    """What one call takes."""
    began = clock()
    call()
    return clock() - began


def measured(work: str, name: str, type_name: str, rounds: int, threads: int) -> dict[str, float]:
    """The figures of one line."""
    shape = SHAPES[name]
    large = job(work, shape, type_name, shape.large)
    read, written = words(large.reads), words(large.writes)
    turns: list[Callable[[], Any]] = [lambda: large.call(1), read.sum, lambda: written.fill(0)]
    for turn in turns:
        turn()
    taken = [[seconds(turn, process_time) for turn in turns] for _ in range(rounds)]
    own, reading, writing = (median(column) for column in zip(*taken, strict=True))
    found = {"ms": own * 1e3, "share": median((r + w) / t for t, r, w in taken)}
    found["floor"] = (read.nbytes + written.nbytes) / (reading + writing) / 1e9
    if threads > 1:
        large.call(threads)
        walls = [
            [seconds(lambda n=n: large.call(n), perf_counter) for n in (1, threads)]  # type: ignore[misc]
            for _ in range(rounds)
        ]
        found["threads"] = median(one / more for one, more in walls)
    small = job(work, shape, type_name, shape.small)

    def calls() -> None:
        for _ in range(SMALL_CALLS):
            small.call(1)

    calls()
    best = median(seconds(calls, process_time) for _ in range(rounds))
    found["numbers"] = small.numbers * SMALL_CALLS / best / 1e9
    return found


def lines(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """The lines of the table that are asked for."""
    for work, (names, types) in WORKS.items():
        for name in names:
            for type_name in types:
                wanted = (
                    any(part in work for part in arguments.works.split(",")),
                    name in arguments.shapes.split(","),
                    type_name in arguments.types.split(","),
                )
                if all(wanted):
                    yield work, name, type_name


def of_this_process(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The figures of all lines, on the instruction set of this process."""
    torch.set_num_threads(1)
    threads = max(int(count) for count in arguments.threads.split(","))
    found = {}
    for work, name, type_name in lines(arguments):
        line = f"{work}, {name}, {type_name}"
        print(line, file=sys.stderr, flush=True)
        found[line] = measured(work, name, type_name, arguments.rounds, threads)
    return found


def of_process(isa: str, given: Sequence[str]) -> dict[str, dict[str, float]]:
    """The figures of all lines, by a process of their own."""
    command = [sys.executable, __file__, *given, "--json"]
    environment = os.environ | {"TOKFRAG_ISA": isa}
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    figures: dict[str, dict[str, float]] = json.loads(run.stdout)
    return figures


def table(sets: dict[str, dict[str, dict[str, float]]], threads: str) -> str:
    """A Markdown table: for every instruction set what the columns' heads say."""
    most = threads.split(",")[-1]
    heads = ["ms", "share", "G numbers/s in cache"]
    keys = ["ms", "share", "numbers"]
    if int(most) > 1:
        heads.append(f"{most} threads")
        keys.append("threads")
    floors = [round(line["floor"]) for figures in sets.values() for line in figures.values()]
    named = [f"{head} {isa}".strip() for isa in sets for head in heads]
    rows = [
        f"Reading and writing at {min(floors)} to {max(floors)} GB/s; shares of 1 are the floor.",
        "",
        f"| work, shape, type | {' | '.join(named)} |",
        "|---" * (1 + len(named)) + "|",
    ]
    for line in next(iter(sets.values())):
        cells = [f"{figures[line][key]:.2f}" for figures in sets.values() for key in keys]
        rows.append(f"| {line} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--works", default="extract,merge,features,backward", help="words of works")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", default="1", help="1, or 1,2")
    parser.add_argument("--isa", help="instruction sets: baseline,v3,v4")
    parser.add_argument("--json", action="store_true", help="figures instead of a table")
    arguments = parser.parse_args()
    if arguments.isa is None:
        figures = of_this_process(arguments)
        print(json.dumps(figures) if arguments.json else table({"": figures}, arguments.threads))
        return
    given = [f"--{name}={getattr(arguments, name)}" for name in ("works", "shapes", "types")]
    given += [f"--rounds={arguments.rounds}", f"--threads={arguments.threads}"]
    print(
        table({isa: of_process(isa, given) for isa in arguments.isa.split(",")}, arguments.threads)
    )


if __name__ == "__main__":
    main()
