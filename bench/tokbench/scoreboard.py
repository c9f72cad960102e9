"""Engines x vocabularies x texts x regimes, as huggingface/tokbench has them, in one table.

    python bench/tokbench/scoreboard.py [--rounds 5] [--megabytes 1] [--json build/scoreboard.json]

Each engine runs in a process of its own, on one thread, and takes its own processor time; rounds go
around the engines, so that what else the machine does hits all of them. Every vocabulary is written
by ``Tokenizer.save`` and read by all. A cell is shown only if its ids are those of ``tokenizers``.

``cold``: the first call of a process on that text; ``warm``: the best round on the same text;
the others are texts that have not come before, after another text: ``single``: rows of 140 bytes,
one a call; ``rows 32`` and ``rows 512``: as many of them a call; ``4 KiB``: longer, one a call.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from engines import PACKAGES  # noqa: E402

FILES = {
    "gpt2": "r50k_base.tiktoken",
    "cl100k": "cl100k_base.tiktoken.gz",
    "o200k": "o200k_base.tiktoken.gz",
    "llama3": "llama3_tokenizer.model.gz",
}
CORPORA = ("english", "code", "chinese_pure", "multilingual")
# Of a regime of new texts: bytes a text, texts, texts a call.
UNSEEN = {"single": (140, 3000, 1), "rows 32": (140, 3200, 32), "rows 512": (140, 3072, 512)}
UNSEEN |= {"4 KiB": (4096, 100, 1)}
REGIMES = ("cold", "warm", *UNSEEN)
ONE_THREAD = dict.fromkeys(("TOKFRAG_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"), "1")


class Engine:
    """A process that answers :func:`engines.serve`'s orders."""

    def __init__(self, name: str, vocabulary: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "engines.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD,
        )
        self.loaded = self.ask("load", name, str(vocabulary))

    def ask(self, *order: Any) -> Any:
        """Its answer, or a dict that says what it refused."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"refused": "the process ended"}

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def refused(answer: Any) -> bool:
    """Whether an answer is a refusal."""
    return isinstance(answer, dict)


def rows_of(text: str) -> dict[str, list[str]]:
    """The texts of each regime of new ones, none of them twice; fewer where the text is short."""
    characters_a_byte = len(text) / max(1, len(text.encode()))
    share = min(1.0, len(text.encode()) / sum(size * count for size, count, _ in UNSEEN.values()))
    found: dict[str, list[str]] = {}
    at = 0
    for regime, (size, count, at_once) in UNSEEN.items():
        step = max(1, int(size * characters_a_byte))
        # Whole calls.
        rows = max(1, int(count * share) // at_once) * at_once
        ends = range(at, min(at + step * rows, len(text)), step)
        found[regime] = [text[begin : begin + step] for begin in ends]
        at += step * rows
    return found


def texts_of(data: Path, size: int) -> dict[str, tuple[str, str]]:
    """Of each corpus the text to encode, and another of the same kind."""
    found = {}
    for corpus in CORPORA:
        raw = (data / f"{corpus}.txt").read_bytes()
        parts = raw[:size], raw[size:]
        found[corpus] = tuple(part.decode("utf-8", "ignore") for part in parts)
    return found  # type: ignore[return-value]


def write_vocabularies(data: Path, folder: Path) -> dict[str, Path]:
    """Each vocabulary as a ``tokenizer.json``."""
    from tokfrag import Tokenizer

    paths = {}
    for family, name in FILES.items():
        source = data / "vocab" / name
        plain = folder / f"{family}.tiktoken"
        content = source.read_bytes()
        plain.write_bytes(gzip.decompress(content) if source.suffix == ".gz" else content)
        paths[family] = folder / f"{family}.json"
        Tokenizer.from_tiktoken(plain, pattern=family).save(paths[family])
    return paths


def measure(path: Path, first: str, second: str, rounds: int) -> dict[str, Any]:
    """Raw seconds of every engine on one vocabulary and text."""
    running = {name: Engine(name, path) for name in PACKAGES}
    wanted = running["tokenizers"].ask("ids", [first])
    rows = rows_of(second)
    cells: dict[str, Any] = {}
    for name, engine in running.items():
        cell: dict[str, Any] = {"loaded": engine.loaded}
        cells[name] = cell
        if refused(engine.loaded):
            continue
        engine.ask("time", ["word"], 1)
        cell["cold"] = [engine.ask("time", [first], 1)]
        ids = engine.ask("ids", [first])
        cell["state"] = "refused" if refused(ids) else "right" if ids == wanted else "differs"
        cell["warm"] = []
        for regime, texts in rows.items():
            cell[regime] = [engine.ask("time", texts, UNSEEN[regime][2])]
    for _ in range(rounds):
        for name, cell in cells.items():
            # The reference is a hundred times slower than the rest: once is enough.
            if cell.get("state") == "right" and not (name == "tokenizers" and cell["warm"]):
                cell["warm"].append(running[name].ask("time", [first], 1))
    for engine in running.values():
        engine.close()
    return cells


def speed(cell: dict[str, Any], regime: str, handled: int) -> float | None:
    """Megabytes a second of the best round."""
    seconds = [value for value in cell.get(regime, ()) if not refused(value) and value > 0]
    if cell.get("state") != "right" or not seconds:
        return None
    best: float = min(seconds)
    return handled / best / 1e6


def print_table(results: dict[str, Any], out: IO[str]) -> None:
    """A block a regime: a line a vocabulary and text, a column an engine, MB/s."""
    names = "".join(name.rjust(13) for name in PACKAGES)
    for regime in REGIMES:
        print(f"\n{regime}, MB/s".ljust(28) + names, file=out)
        for key, entry in results.items():
            line = key.ljust(27)
            for name in PACKAGES:
                cell = entry["engines"][name]
                value = speed(cell, regime, entry["bytes"][regime])
                shown = cell.get("state", "refused") if value is None else f"{value:.1f}"
                line += shown.rjust(13)
            print(line, file=out)
    print("\ncells".ljust(28) + names, file=out)
    states = {
        name: [entry["engines"][name].get("state", "refused") for entry in results.values()]
        for name in PACKAGES
    }
    for state in ("right", "differs", "refused"):
        counts = [states[name].count(state) for name in PACKAGES]
        print(state.ljust(27) + "".join(str(count).rjust(13) for count in counts), file=out)


def bytes_of(first: str, rows: dict[str, list[str]]) -> dict[str, int]:
    """How many bytes each regime encodes."""
    whole = dict.fromkeys(("cold", "warm"), len(first.encode()))
    return whole | {regime: len("".join(texts).encode()) for regime, texts in rows.items()}


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), model)
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": load,
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }


def main() -> None:
    """Measure, print and keep what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("--vocabularies", nargs="*", default=list(FILES), choices=list(FILES))
    parser.add_argument("--texts", nargs="*", default=list(CORPORA), choices=list(CORPORA))
    parser.add_argument("--json", type=Path, help="where to keep the raw rounds")
    args = parser.parse_args()
    data = Path(os.environ["TOKFRAG_DATA"])
    texts = texts_of(data, int(args.megabytes * 1e6))
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_vocabularies(data, Path(folder))
        for family in args.vocabularies:
            for corpus in args.texts:
                first, second = texts[corpus]
                results[f"{family} {corpus}"] = {
                    "bytes": bytes_of(first, rows_of(second)),
                    "engines": measure(paths[family], first, second, args.rounds),
                }
    print(json.dumps(machine()))
    print_table(results, sys.stdout)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=1))


if __name__ == "__main__":
    main()
