"""Fuzz the Python side: files from elsewhere, WordPiece and grids against their twins.

``readers.py SECONDS SEED``. Stops at the first exception that is none of ours, with its turn and
seed; the same arguments give the same turns.
"""

from __future__ import annotations

import argparse
import base64
import json
import pickle
import random
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tokfrag import FragmentGrid, Tokenizer, WordCounts, extract, merge
from tokfrag.fragments import UncoveredWarning
from tokfrag.reference import extraction, merging, wordpiece as wordpiece_twin
from tokfrag.tokens.formats.bert_vocab import read_bert
from tokfrag.tokens.specification import Pipeline, Specification, WordPieceModel

REFUSALS = (ValueError, TypeError, IndexError, OverflowError)
PARTS = [" ", "a", "B", "the", "'s", "12", "\n", "é", "你", "\N{SLIGHTLY SMILING FACE}", "\u0301"]
PARTS += ["ab", "abc", "d", "!", "[MASK]", "\x00", "\u3000", "ß"]
PIECES = "[UNK] [SEP] [CLS] [PAD] [MASK] ab abc ##cd ##d a ##b ! # 你 ##你 the ##s é ##\u0301 ss"
VOCAB = {token: number for number, token in enumerate(PIECES.split())}
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]},
}


def text(rng: random.Random, most: int = 30) -> str:
    return "".join(rng.choice(PARTS) for _ in range(rng.randrange(most)))


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Some bytes changed, put in, taken out or cut off."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 9)]
        elif kind == 3:
            del changed[at:]
        else:
            changed[at : at + 8] = rng.choice([0, 1 << 40, 2**64 - 1]).to_bytes(8, "little")
    return bytes(changed)


def mangled(rng: random.Random, value: object) -> object:
    """JSON of which a part is something else."""
    odd: list[object] = [None, -1, 2**70, 1.5, "", "\ud800", [], {}, [[[]]], True, "a" * 300]
    if rng.random() < 0.08:
        return rng.choice(odd)
    if isinstance(value, dict):
        return {key: mangled(rng, item) for key, item in value.items()}
    if isinstance(value, list):
        return [mangled(rng, item) for item in value]
    return value


class Readers:
    """The drivers; each is given a random generator and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tokenizer.json"
        self.tok = Tokenizer.train(["hello world ab abc"], vocab_size=262)
        counts = WordCounts()
        counts.add("to be or not to be")
        counts.save(self.file)
        self.counts = self.file.read_bytes()
        lines = (f"{base64.b64encode(bytes([b])).decode()} {b}" for b in range(256))
        self.tiktoken = "\n".join(lines).encode()

    def huggingface(self, rng: random.Random) -> None:
        whole = json.loads(json.dumps(TOKENIZER))
        whole["model"]["vocab"] = {chr(0x100 + i): i for i in range(4)} | {"a": 4, "b": 5, "ab": 6}
        data = json.dumps(mangled(rng, whole)).encode()
        self.file.write_bytes(damaged(rng, data) if rng.random() < 0.3 else data)
        Tokenizer.from_file(self.file).encode(text(rng))

    def tiktoken_file(self, rng: random.Random) -> None:
        self.file.write_bytes(damaged(rng, self.tiktoken))
        made = Tokenizer.from_tiktoken(self.file, pattern="cl100k")
        written = text(rng)
        assert made.decode(made.encode(written)) == written

    def vocabulary_file(self, rng: random.Random) -> None:
        self.file.write_bytes(damaged(rng, "\n".join(VOCAB).encode()))
        Tokenizer.from_specification(read_bert(self.file)).encode(text(rng))

    def word_counts(self, rng: random.Random) -> None:
        self.file.write_bytes(damaged(rng, self.counts))
        WordCounts.load(self.file).items()

    def pickles(self, rng: random.Random) -> None:
        """Their arrays: the rest of a pickle is code, and as safe as its maker."""
        make, (state, settings) = self.tok.text_pipeline.model.__reduce__()
        parts = list(state)
        at = rng.choice([1, 2])
        raw = damaged(rng, parts[at].tobytes())
        parts[at] = np.frombuffer(raw[: len(raw) // 8 * 8], parts[at].dtype)
        made = pickle.loads(pickle.dumps(make(tuple(parts), settings)))
        assert made.decode(made.encode("hello")) == b"hello"

    def wordpiece(self, rng: random.Random) -> None:
        written = text(rng)
        lowercase = rng.random() < 0.5
        model = WordPieceModel(tuple(VOCAB.items()), lowercase=lowercase, strip_accents=lowercase)
        made = Tokenizer.from_specification(Specification(model, Pipeline()))
        ids = made.encode(written).tolist()
        twin = wordpiece_twin.encode(
            written, VOCAB, specials=[], lowercase=lowercase, strip=None, clean=True, chinese=True
        )
        assert ids == twin, (written, ids, twin)

    def grids(self, rng: random.Random) -> None:
        rank = rng.randrange(1, 4)
        shape = tuple(rng.randrange(1, 40 if rank == 1 else 8) for _ in range(rank))
        size = tuple(rng.randrange(1, length + 1) for length in shape)
        stride = tuple(rng.randrange(1, taps + 2) for taps in size)
        grid = FragmentGrid(shape, size, stride, edge=rng.choice(["pad", "drop", "shift"]))
        dtype = rng.choice([np.float32, np.float64, np.uint8, np.int16])
        x = np.random.default_rng(rng.randrange(2**32)).integers(0, 99, (1, 2, *shape))
        cut = extract(x.astype(dtype), grid)
        assert np.array_equal(cut, extraction.extract(x.astype(dtype), grid)), grid
        assert np.array_equal(merge(cut, grid), merging.merge(cut, grid)), grid


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("seconds", type=float)
    arguments.add_argument("seed", type=int)
    given = arguments.parse_args()
    warnings.simplefilter("ignore", UncoveredWarning)
    with tempfile.TemporaryDirectory() as folder:
        readers = Readers(Path(folder))
        drivers: list[Callable[[random.Random], None]] = [
            readers.huggingface,
            readers.tiktoken_file,
            readers.vocabulary_file,
            readers.word_counts,
            readers.pickles,
            readers.wordpiece,
            readers.grids,
        ]
        end = time.monotonic() + given.seconds
        turn = refused = 0
        while time.monotonic() < end:
            driver = drivers[turn % len(drivers)]
            try:
                driver(random.Random(given.seed * 1_000_003 + turn))
            except REFUSALS:
                refused += 1
            except BaseException:
                print(f"readers.py: {driver.__name__}, turn {turn} of seed {given.seed}")
                raise
            turn += 1
    print(f"readers.py: {turn} turns, {refused} refused, seed {given.seed}")


if __name__ == "__main__":
    main()
