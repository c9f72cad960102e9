"""Two workers of an engine against one, on an idle machine: ``python bench/scale_workers.py``.

A corpus of text files is encoded in parts of 64 MB, by one worker and by two, in turn. Engines are
started, and each of their workers has done a part, before the clock runs. Every engine has two
lines: workers that keep to a core each, as on machines that are full of workers, and workers that
float: one that has two cores to itself uses a part of the second (a helper thread hashes and
writes), so that there is less for a second worker to gain.

Printed are the medians of seconds, their ratio, the seconds in which no part is done (before the
first, after the last) by one and two workers, and the CPU time of the parts: where two workers need
more of it than one, they disturb each other (memory, caches, a clock that falls).
``--engines local`` counts the start of two interpreters too: the call starts them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from peers import data_folder
from timed_work import Meeting, Timed
from tokfrag import Tokenizer
from tokfrag.scale import DaskEngine, LocalEngine, RayEngine, encode_corpus

PART = 64 << 20


class Clock:
    """An engine that adds up what its parts took, and how long it ran."""

    def __init__(self, engine: Any, cores: Path | None) -> None:
        self.engine = engine
        self.cores = None if cores is None else str(cores)
        self.cpu = self.seconds = 0.0

    def run(self, work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        began = perf_counter()
        for done, seconds in self.engine.run(Timed(work, self.cores), parts):
            self.cpu += seconds
            yield done
        self.seconds += perf_counter() - began


@dataclass(frozen=True)
class Gathered:
    """An engine whose workers wait for one another with their first part."""

    engine: Any
    folder: Path
    workers: int

    def run(self, work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        yield from self.engine.run(Meeting(work, str(self.folder), self.workers), parts)


def started(name: str, workers: int, stack: ExitStack) -> Any:
    """An engine that runs already, where it can."""
    if name == "ray":
        import ray

        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            object_store_memory=100 << 20,
        )
        stack.callback(ray.shutdown)
        return RayEngine()
    if name == "dask":
        import distributed

        cluster = stack.enter_context(
            distributed.LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1")
        )
        return DaskEngine(client=stack.enter_context(distributed.Client(cluster)))
    return LocalEngine(workers)


def timed(
    tok: Tokenizer, files: list[Path], folder: Path, engine: Any, cores: Path | None
) -> tuple[float, float, float]:
    """Seconds of encoding the files; those without a part; those of the CPU in the parts."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    clock = Clock(engine, cores)
    began = perf_counter()
    encode_corpus(tok, files, folder / "out", engine=clock, part_bytes=PART, progress=False)
    seconds = perf_counter() - began
    return seconds, seconds - clock.seconds, clock.cpu


def warm(tok: Tokenizer, folder: Path, engine: Any, workers: int) -> None:
    """Let every worker do a part."""
    shutil.rmtree(folder / "warm", ignore_errors=True)
    (folder / "warm" / "met").mkdir(parents=True)
    files = [folder / "warm" / f"{number}.txt" for number in range(workers)]
    for file in files:
        file.write_text("a part for every worker")
    met = Gathered(engine, folder / "warm" / "met", workers)
    encode_corpus(tok, files, folder / "warm" / "out", engine=met, part_bytes=1, progress=False)


def cores_folder(folder: Path, *, kept: bool) -> Path | None:
    """An empty folder for claims of cores, if workers are to keep to one."""
    shutil.rmtree(folder / "cores", ignore_errors=True)
    (folder / "cores").mkdir()
    return folder / "cores" if kept else None


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", nargs="+", default=["ray", "dask"])
    parser.add_argument("--parts", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # of the workers
    tok = Tokenizer.from_gpt2(
        data_folder() / "vocab" / "gpt2_vocab.bpe", data_folder() / "vocab" / "gpt2_encoder.json"
    )
    text = (data_folder() / "english.txt").read_bytes().decode("utf-8", "ignore").encode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for number in range(chosen.parts):
            files.append(folder / f"{number}.txt")
            files[-1].write_bytes((text * (PART // len(text) + 1))[: PART - 1].rsplit(b" ", 1)[0])
        print("engine | workers | 1 s | 2 s | ratio | without a part 1, 2 s | CPU of 2 over 1")
        for engine, kept in product(chosen.engines, (True, False)):
            found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
            for _, workers in product(range(chosen.rounds), (1, 2)):
                with ExitStack() as stack:
                    own = started(engine, workers, stack)
                    warm(tok, folder, own, workers)
                    cores = cores_folder(folder, kept=kept)
                    found[workers].append(timed(tok, files, folder, own, cores))
            one, two = ([median(column) for column in zip(*found[n], strict=True)] for n in (1, 2))
            print(
                f"{engine} | {'a core each' if kept else 'floating'} | {one[0]:.2f} | {two[0]:.2f}"
                f" | {one[0] / two[0]:.2f} | {one[1]:.2f}, {two[1]:.2f} | {two[2] / one[2]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
