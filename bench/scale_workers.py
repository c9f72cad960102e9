"""Two workers of an engine against one, on an idle machine: ``python bench/scale_workers.py``.

A corpus of text files is encoded in parts of 64 MB, by one worker and by two, in turn. Engines are
started, and have done a part, before the clock runs. Printed are the medians of seconds, their
ratio, and the CPU time of the parts alone: where two workers need more of it than one, they
disturb each other (memory, caches, a clock that falls); where they do not, the rest of the ratio is
the engine's. ``--engines local`` counts the start of two interpreters too: the call starts them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from peers import data_folder
from timed_work import Timed
from tokfrag import Tokenizer
from tokfrag.scale import DaskEngine, LocalEngine, RayEngine, encode_corpus

PART = 64 << 20


class Clock:
    """An engine that adds up what its parts took."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.cpu = engine, 0.0

    def run(self, work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        for done, seconds in self.engine.run(Timed(work), parts):
            self.cpu += seconds
            yield done


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


def timed(tok: Tokenizer, files: list[Path], out: Path, engine: Any) -> tuple[float, float]:
    """Seconds, and those of the CPU in the parts, of encoding the files."""
    shutil.rmtree(out, ignore_errors=True)
    clock = Clock(engine)
    began = perf_counter()
    encode_corpus(tok, files, out, engine=clock, part_bytes=PART, progress=False)
    return perf_counter() - began, clock.cpu


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", nargs="+", default=["ray", "dask"])
    parser.add_argument("--parts", type=int, default=8)
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
        small = folder / "small.txt"
        small.write_bytes(text[:100_000].rsplit(b" ", 1)[0])
        print("engine | 1 worker s | 2 workers s | ratio | CPU of 2 over 1")
        for engine in chosen.engines:
            found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
            for _ in range(chosen.rounds):
                for workers in (1, 2):
                    with ExitStack() as stack:
                        own = started(engine, workers, stack)
                        timed(tok, [small], folder / "warm", own)
                        found[workers].append(timed(tok, files, folder / "out", own))
            one, two = ([median(column) for column in zip(*found[n], strict=True)] for n in (1, 2))
            print(
                f"{engine} | {one[0]:.2f} | {two[0]:.2f} | {one[0] / two[0]:.2f}"
                f" | {two[1] / one[1]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
