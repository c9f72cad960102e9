"""Byte-pair training, GPT-2's pattern, two threads; merges are compared first.

    TOKFRAG_DATA=... [TOKFRAG_TEXTS=big.json] pytest bench/bench_training.py

``TOKFRAG_TEXTS`` names a JSON list of texts (100 MB and more, mixed, is what to measure); without
it, english.txt in parts. ``extra_info`` has the memory that a training of its own process adds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from peers import data_folder, describe

VOCAB_SIZE = 32768

# Each is run in a process of its own: {texts} is a list of str; prints seconds, megabytes that it
# added at its peak, and a digest of the merges.
COMMON = """
import hashlib, json, resource, sys, time
texts = json.load(open(sys.argv[1]))
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def now():
    with open("/proc/self/statm") as f: return int(f.read().split()[1]) * 4096 / 2**20
{before}
before, began = now(), time.perf_counter()
{train}
seconds, added = time.perf_counter() - began, peak() - before
{after}
digest = hashlib.sha256(repr([tuple(m) for m in merges]).encode()).hexdigest()
print(json.dumps([seconds, added, digest]))
"""


class Steps(NamedTuple):
    """What a peer does before the clock runs, what is timed, and how it gives its merges."""

    before: str
    train: str
    after: str = "merges = []"


PEERS = {
    "tokfrag": Steps(
        """
from tokfrag.reference.bpe_training import byte_alphabet
from tokfrag.tokens.training.byte_pair import train_vocabulary
from tokfrag.tokens.training.word_counts import WordCounts
""",
        """
counts = WordCounts("gpt2")
counts.add(texts, threads=2)
vocabulary = train_vocabulary(counts, {size}, threads=2)
""",
        """
alphabet = byte_alphabet()
spell = lambda token: "".join(alphabet[byte] for byte in token)
merges = [(spell(a), spell(b)) for a, b in vocabulary.merge_pairs]
""",
    ),
    "tokenizers": Steps(
        "from tokenizers import Tokenizer, models, pre_tokenizers, trainers",
        """
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
trainer = trainers.BpeTrainer(vocab_size={size}, show_progress=False,
                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
tokenizer.train_from_iterator(texts, trainer)
""",
        """merges = json.loads(tokenizer.to_str())["model"]["merges"]""",
    ),
    "ffbpe": Steps(
        "import ffbpe",
        """
counter = ffbpe.PreTokenizer([]).word_counter()
counter.add_source(texts, max_records=4096, max_bytes=1 << 26, prefetch=1)
trainer = ffbpe.BpeTrainer([], initial_alphabet="byte_level", tie_break="smallest_pair_id")
trainer.add_word_counter(counter)
trainer.train({size})
""",
    ),
    "gigabpe": Steps(
        """
import tempfile
from gigabpe import train_bpe
file = tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", newline="")
file.write("".join(texts))
file.flush()
""",
        """
merges = train_bpe([file.name], {size}, pretokenizer="bytelevel", threads=2)[1]
""",
        "",
    ),
    "rustbpe": Steps(
        "import rustbpe",
        """
tokenizer = rustbpe.Tokenizer()
pattern = (r"'(?:[sdmt]|ll|ve|re)| ?\\p{{L}}+| ?\\p{{N}}+"
           r"| ?[^\\s\\p{{L}}\\p{{N}}]+|\\s+(?!\\S)|\\s+")
tokenizer.train_from_iterator(iter(texts), {size}, pattern=pattern)
""",
    ),
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("TOKFRAG_TEXTS")
    if given:
        return Path(given)
    text = (data_folder() / "english.txt").read_text(encoding="utf-8")
    path = tmp_path_factory.mktemp("texts") / "texts.json"
    path.write_text(json.dumps([text[at : at + 4000] for at in range(0, len(text), 4000)]))
    return path


def train(peer: str, texts: Path) -> tuple[float, float, str]:
    before, timed, after = PEERS[peer]
    code = COMMON.format(before=before, train=timed.format(size=VOCAB_SIZE), after=after)
    command = [sys.executable, "-c", code, str(texts)]
    environment = {**os.environ, "RAYON_NUM_THREADS": "2", "TOKFRAG_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    seconds, megabytes, digest = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes, digest


@pytest.mark.benchmark(group="train 32k")
@pytest.mark.parametrize("peer", PEERS)
def test_train(benchmark: Any, texts: Path, peer: str) -> None:
    pytest.importorskip(peer)
    seconds, megabytes, digest = benchmark.pedantic(train, (peer, texts), rounds=1)
    if peer == "tokfrag" and not os.environ.get("TOKFRAG_TEXTS"):
        pytest.importorskip("tokenizers")
        assert digest == train("tokenizers", texts)[2]
    benchmark.extra_info["digest"] = digest
    describe(
        benchmark,
        peer,
        seconds=seconds,
        added_megabytes=megabytes,
        bytes=texts.stat().st_size,
    )
