"""Corpora, engines that are under fire, and what a folder holds in the end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tokfrag import Tokenizer
from tokfrag.scale import corpora
from tokfrag.scale.parts import CheckPart, record_path
from tokfrag.tokens.shards.shard_writer import shard_writer

FIRE = 60.0  # seconds after which a test under fire has failed
PART_BYTES = 1 << 20
OPTIONS: dict[str, Any] = {
    "part_bytes": PART_BYTES,
    "end_of_text": "<end>",
    "begin_of_text": 0,
    "progress": False,
}


def tokenizer() -> Tokenizer:
    tokens = [bytes([byte]) for byte in range(256)] + [b"ab", b" w", b"or", b" wor"]
    return Tokenizer(tokens, pattern="cl100k", special_tokens={"<end>": 300})


def corpus(folder: Path) -> list[Path]:
    """A text, JSON lines and a table, each of several parts, and two small texts of one."""
    (folder / "a.txt").write_text(
        "".join(f"Word {n} here, more words 再见。x\n" for n in range(70_000))
    )
    lines = (json.dumps({"text": f"row {n} " + "ab " * (n % 60)}) + "\n" for n in range(20_000))
    (folder / "b.jsonl").write_text("".join(lines))
    rows = [f"{n * n} row {n} " + "words " * (n % 40) for n in range(20_000)]
    table = pa.table({"id": list(range(len(rows))), "text": rows})
    pq.write_table(table, folder / "c.parquet", row_group_size=2500, compression="none")
    (folder / "d.txt").write_text("the last")
    (folder / "e.txt").write_text("")
    return [folder / name for name in ("a.txt", "b.jsonl", "c.parquet", "d.txt", "e.txt")]


def sums(folder: Path) -> dict[str, str]:
    """The hash of every file: nothing half-written is among them."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


@dataclass(frozen=True)
class Fired:
    """A work whose worker is killed in the middle of some parts, each as often as it is listed.

    Every attempt at a part that is not done is a line of ``log/attempts``. (Engines may give out a
    part that is: its worker was killed before it could say so.)
    """

    work: Callable[[Any], Any]
    log: str
    kills: tuple[int, ...] = ()
    seconds: float = 0.0

    def __call__(self, part: Any) -> Any:
        folder = Path(self.log)
        if not record_path(Path(self.work.out), part.number).exists():  # type: ignore[attr-defined]
            with (folder / "attempts").open("a") as file:
                file.write(f"{part.number} {os.getpid()}\n")
        time.sleep(self.seconds)
        for turn, number in enumerate(self.kills):
            if number == part.number and _first(folder / f"kill-{turn}"):
                self._die(part)
        return self.work(part)

    def _die(self, part: Any) -> None:
        out = Path(self.work.out)  # type: ignore[attr-defined]
        with shard_writer(out, part.name, "uint16") as writer:
            encode = corpora.Encoder(tokenizer(), corpora.Edges(None, None), "text", "text", 1)
            ids, ends = encode.way.encode_batch(["half"], encode.way.sought(())), [0]
            writer.write(ids.ids, ids.offsets[1:] + ends)
            writer._bare.flush()
            os.kill(os.getpid(), signal.SIGKILL)


def _first(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@dataclass
class UnderFire:
    """An engine whose workers are killed."""

    engine: Any
    log: Path
    kills: tuple[int, ...] = ()
    seconds: float = 0.0
    begun: list[Any] = field(default_factory=list)

    def run(self, work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        if isinstance(work, CheckPart):  # a look at what is done is no attempt at it
            yield from self.engine.run(work, parts)
            return
        self.log.mkdir(exist_ok=True)
        yield from self.engine.run(Fired(work, str(self.log), self.kills, self.seconds), parts)

    def attempts(self) -> list[int]:
        return attempts(self.log)


def attempts(log: Path) -> list[int]:
    """The numbers of the parts that were begun, as often as they were."""
    return [int(line.split()[0]) for line in (log / "attempts").read_text().splitlines()]


DRIVER = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from scale_cases import OPTIONS, UnderFire, tokenizer
from tokfrag.scale import LocalEngine, encode_corpus
folder, out, log, seconds = Path(sys.argv[2]), *sys.argv[3:5], float(sys.argv[5])
names = ("a.txt", "b.jsonl", "c.parquet", "d.txt", "e.txt")
engine = UnderFire(LocalEngine(2), Path(log), seconds=seconds)
encode_corpus(tokenizer(), [folder / n for n in names], out, engine=engine, **OPTIONS)
"""


def driver(paths: list[Path], out: Path, log: Path, seconds: float) -> subprocess.Popen[bytes]:
    places = [json.dumps(sys.path), str(paths[0].parent), str(out), str(log), str(seconds)]
    return subprocess.Popen([sys.executable, "-c", DRIVER, *places], stderr=subprocess.PIPE)


def killed_driver(paths: list[Path], out: Path, log: Path) -> None:
    """Begin a corpus with two processes of this machine; kill the caller after two parts."""
    process = driver(paths, out, log, 0.3)
    stop = time.monotonic() + FIRE
    while len(list(out.glob("0*.json"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < stop
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=FIRE)
