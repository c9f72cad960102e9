"""Engines x vocabularies x texts x regimes, as huggingface/tokbench has them, in one table.

    python bench/tokbench/scoreboard.py [--quick] [--json build/scoreboard.json]

Each engine runs in a process of its own, on one thread, and takes its own processor time; rounds go
around the engines, so that what else the machine does hits all of them. Every vocabulary is written
by ``Tokenizer.save`` and read by all. A cell is shown only if its ids are those of ``tokenizers``.

``cold``: the first call of a process on that text, the median of several processes; ``warm``: the
best round on the same text; the others are texts that have not come before, after another text, the
median of five parts: ``single``: rows of 140 bytes, one a call; ``rows 32`` and ``rows 512``: as
many of them a call; ``4 KiB``: longer, one a call. Below each block stand tokfrag's ratios to the
best of the others with the right ids, the smallest and the geometric mean.

``--quick`` takes less text and fewer rounds: five minutes on an idle machine.
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
from itertools import pairwise
from math import prod
from pathlib import Path
from statistics import median
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
PARTS = 5  # of the rows of a regime, each timed by itself
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
        # Whole calls, as many in each part.
        calls = max(1, int(count * share) // at_once)
        rows = max(1, calls // PARTS * PARTS) * at_once
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


def parts_of(rows: list[str], at_once: int) -> list[list[str]]:
    """Rows in parts of whole calls; as many as there are calls where those are few."""
    calls = -(-len(rows) // at_once)
    n_parts = max(1, min(PARTS, calls))
    ends = [calls * part // n_parts * at_once for part in range(n_parts + 1)]
    return [rows[begin:end] for begin, end in pairwise(ends)]


def cold_seconds(name: str, path: Path, text: str) -> Any:
    """Seconds of the first call on a text in a fresh process, or a refusal."""
    engine = Engine(name, path)
    answer = engine.loaded
    if not refused(answer):
        engine.ask("time", ["word"], 1)
        answer = engine.ask("time", [text], 1)
    engine.close()
    return answer


def measure(path: Path, first: str, second: str, rounds: int) -> dict[str, Any]:
    """Raw seconds of every engine on one vocabulary and text, and bytes where they differ."""
    running = {name: Engine(name, path) for name in PACKAGES}
    wanted = running["tokenizers"].ask("ids", [first])
    rows = rows_of(second)
    cells: dict[str, Any] = {}
    for name, engine in running.items():
        cell: dict[str, Any] = {"loaded": engine.loaded}
        cells[name] = cell
        if refused(engine.loaded):
            continue
        ids = engine.ask("ids", [first])
        cell["state"] = "refused" if refused(ids) else "right" if ids == wanted else "differs"
        cell |= {regime: [] for regime in REGIMES}
    measured = [name for name, cell in cells.items() if cell.get("state") == "right"]
    # The reference is a hundred times slower than the rest: once is enough.
    quick = [name for name in measured if name != "tokenizers"]
    for turn in range(rounds):
        for name in measured if turn == 0 else quick:
            cells[name]["cold"].append(cold_seconds(name, path, first))
            cells[name]["warm"].append(running[name].ask("time", [first], 1))
    for regime, texts in rows.items():
        for part in parts_of(texts, UNSEEN[regime][2]):
            size = len("".join(part).encode())
            for name in measured:
                spent = running[name].ask("time", part, UNSEEN[regime][2])
                cells[name][regime].append(spent if refused(spent) else [spent, size])
    for engine in running.values():
        engine.close()
    return cells


def speed(cell: dict[str, Any], regime: str, handled: int) -> float | None:
    """Megabytes a second: of the best round if warm, else the median."""
    if cell.get("state") != "right":
        return None
    found = []
    for answer in cell[regime]:
        if refused(answer):
            continue
        spent, size = answer if isinstance(answer, list) else (answer, handled)
        if spent > 0:
            found.append(size / spent / 1e6)
    if not found:
        return None
    return float(max(found) if regime == "warm" else median(found))


def ratios(results: dict[str, Any], regime: str) -> list[float]:
    """Our speed over that of the best of the others, a vocabulary and text each."""
    found = []
    for entry in results.values():
        speeds = {
            name: speed(cell, regime, entry["bytes"]) for name, cell in entry["engines"].items()
        }
        ours = speeds.pop("tokfrag")
        others = [value for value in speeds.values() if value is not None]
        if ours is not None and others:
            found.append(ours / max(others))
    return found


def print_table(results: dict[str, Any], out: IO[str]) -> None:
    """A block a regime: a line a vocabulary and text, a column an engine, MB/s."""
    names = "".join(name.rjust(13) for name in PACKAGES)
    for regime in REGIMES:
        print(f"\n{regime}, MB/s".ljust(28) + names, file=out)
        for key, entry in results.items():
            line = key.ljust(27)
            for name in PACKAGES:
                cell = entry["engines"][name]
                value = speed(cell, regime, entry["bytes"])
                shown = cell.get("state", "refused") if value is None else f"{value:.1f}"
                line += shown.rjust(13)
            print(line, file=out)
        found = ratios(results, regime)
        if found:
            mean = prod(found) ** (1 / len(found))
            line = f"ours over the best of the others: least {min(found):.2f}, mean {mean:.2f}"
            print(line, file=out)
    print("\ncells".ljust(28) + names, file=out)
    states = {
        name: [entry["engines"][name].get("state", "refused") for entry in results.values()]
        for name in PACKAGES
    }
    for state in ("right", "differs", "refused"):
        counts = [states[name].count(state) for name in PACKAGES]
        print(state.ljust(27) + "".join(str(count).rjust(13) for count in counts), file=out)


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
    parser.add_argument("--quick", action="store_true", help="0.3 MB of text and three rounds")
    parser.add_argument("--rounds", type=int, help="7, or 3 if quick")
    parser.add_argument("--megabytes", type=float, help="of each text: 1, or 0.3 if quick")
    parser.add_argument("--vocabularies", nargs="*", default=list(FILES), choices=list(FILES))
    parser.add_argument("--texts", nargs="*", default=list(CORPORA), choices=list(CORPORA))
    parser.add_argument("--json", type=Path, help="where to keep the raw rounds")
    parser.add_argument("--print", type=Path, help="only print the table of kept rounds")
    args = parser.parse_args()
    if args.print:
        kept = json.loads(args.print.read_text())
        print(json.dumps(kept["machine"]))
        print_table(kept["results"], sys.stdout)
        return
    rounds = args.rounds or (3 if args.quick else 7)
    megabytes = args.megabytes or (0.3 if args.quick else 1.0)
    data = Path(os.environ["TOKFRAG_DATA"])
    texts = texts_of(data, int(megabytes * 1e6))
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_vocabularies(data, Path(folder))
        for family in args.vocabularies:
            for corpus in args.texts:
                first, second = texts[corpus]
                results[f"{family} {corpus}"] = {
                    "bytes": len(first.encode()),
                    "engines": measure(paths[family], first, second, rounds),
                }
                # What is there is kept, however the rest ends.
                print(f"{family} {corpus}", file=sys.stderr, flush=True)
                if args.json:
                    keep(args.json, results)
    print(json.dumps(machine()))
    print_table(results, sys.stdout)


def keep(path: Path, results: dict[str, Any]) -> None:
    """Write the raw rounds, and what they ran on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "results": results}, indent=1))


if __name__ == "__main__":
    main()
