"""Classify texts by the sum of their tokens' vectors: byte-pair ids in an embedding bag.

Only the vectors that a batch holds are updated, so the table can be large.

Without ``--data``: which of four standard-library packages does a piece of source code come from?
With ``--data FILE``: lines of ``label text`` (SST-2, MR, Subj, TREC as harvardnlp keeps them);
``--test FILE`` beside it, or every tenth line.

    python examples/text_classification.py --data stsa.binary.train.gz --test stsa.binary.test.gz
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tokfrag import Tokenizer

PAIRS = 1 << 18  # vectors for pairs, found by hashing
PACKAGES = ("asyncio", "email", "unittest", "xml")


def read_lines(path: Path) -> tuple[list[str], np.ndarray]:
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    lines = [line.split(" ", 1) for line in raw.decode("latin-1").splitlines() if " " in line]
    return [text for _, text in lines], np.array([int(label) for label, _ in lines])


def source_code() -> tuple[list[str], np.ndarray]:
    """Pieces of 20 lines of the standard library, and the number of their package."""
    texts, labels = [], []
    for label, package in enumerate(PACKAGES):
        spec = importlib.util.find_spec(package)
        for file in sorted(Path(spec.origin).parent.rglob("*.py")):
            lines = file.read_text("utf-8").splitlines()
            for begin in range(0, len(lines) - 19, 20):
                # A package's own name would give it away.
                texts.append("\n".join(lines[begin : begin + 20]).replace(package, ""))
                labels.append(label)
    return texts, np.array(labels)


def features(tokenizer: Tokenizer, texts: list[str], most: int) -> torch.Tensor:
    """Ids of tokens and of neighbouring pairs (hashed), ``(texts, 2 * most)``; 0 is for nothing."""
    ids, _ = tokenizer.encode_batch(texts).to_padded(most, pad_id=-1)
    ids = np.asarray(ids)
    after = np.roll(ids, -1, axis=1)
    pairs = 1 + tokenizer.vocab_size + (ids * 31337 + after) % PAIRS
    pairs[(ids < 0) | (after < 0)] = 0
    return torch.from_numpy(np.concatenate((ids + 1, pairs), axis=1))


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=3)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more

    texts, labels = read_lines(chosen.data) if chosen.data else source_code()
    if chosen.test:
        test_texts, test_labels = read_lines(chosen.test)
    else:
        order = np.random.default_rng(0).permutation(len(texts))
        held, kept = order[: len(texts) // 10], order[len(texts) // 10 :]
        test_texts, test_labels = [texts[i] for i in held], labels[held]
        texts, labels = [texts[i] for i in kept], labels[kept]

    tokenizer = Tokenizer.train(iter(texts), chosen.vocabulary, pattern="gpt2")
    most = int(np.percentile(tokenizer.count(texts), 99))
    x, test_x = features(tokenizer, texts, most), features(tokenizer, test_texts, most)
    y, test_y = torch.from_numpy(labels), torch.from_numpy(test_labels)

    torch.manual_seed(0)
    size = 1 + tokenizer.vocab_size + PAIRS
    model = nn.EmbeddingBag(size, int(y.max()) + 1, mode="sum", sparse=True, padding_idx=0)
    nn.init.zeros_(model.weight)
    optimiser = torch.optim.SparseAdam(model.parameters(), lr=0.005)
    accuracy = 0.0
    for epoch in range(1, chosen.epochs + 1):
        for batch in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            accuracy = float((model(test_x).argmax(1) == test_y).double().mean())
        print(f"epoch {epoch}: accuracy {accuracy:.1%} on {len(test_x)} texts")
    majority = float((test_y == y.mode().values).double().mean())
    print(f"always the most frequent label: {majority:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
