"""tokfrag beside another release of Hugging Face's tokenizers, in an environment of its own.

    python bench/next_tokenizers.py /path/to/that/environment/bin/python

Rows of each corpus are encoded in turn by both, three times; ids are compared first. Figures are
bytes a second of processor time, one thread, medians. The peer runs in a process of its own, is
given the same rows, and takes its own time; its result stays an object of its own (no list).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import IO, Any

ROUNDS = 3
BYTES = 600_000
CORPORA = ("english", "code", "chinese", "multilingual")

PEER = """
import hashlib, json, sys, time
import tokenizers
print(json.dumps(tokenizers.__version__), flush=True)
tok = None
for line in sys.stdin:
    order = json.loads(line)
    if "load" in order:
        tok = tokenizers.Tokenizer.from_file(order["load"])
        print("null", flush=True)
        continue
    rows = order["rows"]
    begin = time.process_time()
    try:
        encoded = tok.encode_batch(rows, add_special_tokens=False)
    except Exception as error:
        print(json.dumps([None, str(error)]), flush=True)
        continue
    spent = time.process_time() - begin
    digest = hashlib.sha256()
    for row in encoded:
        digest.update(b"".join(id.to_bytes(4, "little") for id in row.ids) + b";")
    print(json.dumps([spent, digest.hexdigest()]), flush=True)
"""


class Peer:
    """The other library, in its own interpreter."""

    def __init__(self, python: str) -> None:
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [python, "-c", PEER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.version = self._answer()

    def ask(self, **order: Any) -> Any:
        self._pipe(self._process.stdin).write(json.dumps(order) + "\n")
        self._pipe(self._process.stdin).flush()
        return self._answer()

    def _answer(self) -> Any:
        return json.loads(self._pipe(self._process.stdout).readline())

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def compare(peer: Peer, path: Path, tokenizer: Any, name: str, data: Path) -> None:
    peer.ask(load=str(path))
    for corpus in CORPORA:
        text = (data / f"{corpus}.txt").read_bytes()[:BYTES].decode("utf-8", "ignore")
        rows = text.split("\n")
        size = len(text.encode())
        ours, theirs = [], []
        for _ in range(ROUNDS):
            begin = time.process_time()
            batch = tokenizer.encode_batch(rows, allowed_special="all", threads=1)
            ours.append(time.process_time() - begin)
            spent, wanted = peer.ask(rows=rows)
            if spent is None:
                print(f"{name:10} tokenizers {peer.version} refuses: {wanted}", flush=True)
                return
            theirs.append(spent)
        digest = hashlib.sha256()
        for row in batch:
            digest.update(row.astype("<u4").tobytes() + b";")
        equal = "same ids" if digest.hexdigest() == wanted else "OTHER IDS"
        speed, peer_speed = (size / median(times) / 1e6 for times in (ours, theirs))
        print(
            f"{name:10} {corpus:13} tokfrag {speed:6.1f} MB/s  tokenizers {peer.version}"
            f" {peer_speed:6.2f} MB/s  {speed / peer_speed:5.1f}x  {equal}",
            flush=True,
        )


def main() -> None:
    import tempfile

    from tokfrag import Tokenizer

    data = Path(os.environ["TOKFRAG_DATA"])
    peer = Peer(sys.argv[1])
    vocabularies = data / "vocab"
    gpt2 = Tokenizer.from_file(vocabularies / "gpt2_tokenizer.json.gz")
    llama3 = Tokenizer.from_tiktoken(vocabularies / "llama3_tokenizer.model.gz", pattern="llama3")
    bert = Tokenizer.from_wordpiece(vocabularies / "bert-base-uncased-vocab.txt")
    with tempfile.TemporaryDirectory() as folder:
        for name, tokenizer in (("gpt2", gpt2), ("llama3", llama3), ("WordPiece", bert)):
            path = Path(folder) / f"{name}.json"
            tokenizer.save(path)
            compare(peer, path, tokenizer, name, data)


if __name__ == "__main__":
    main()
