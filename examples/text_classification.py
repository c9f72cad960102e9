"""Classify texts by the sum of their tokens' vectors: byte-pair ids in an embedding bag.

Only the vectors that a batch holds are updated, so the table can be large.

Without ``--data``: which of four standard-library packages does a piece of source code come from?
With ``--data FILE``: lines of ``label text`` (SST-2, MR, Subj, TREC as harvardnlp keeps them);
``--valid FILE`` and ``--test FILE`` beside it, or a tenth of the lines each. The validation part
says after which epoch to stop; the test part is looked at once.

With ``--card FILE.png``: is this vocabulary the right one? Bytes, smaller vocabularies and it are
compared on the same texts, and the answer is drawn.

    python examples/text_classification.py --data train.gz --valid dev.gz --test test.gz
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
from tokfrag.compare import ArrayTask, Report, compare

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


def part_off(texts: list[str], labels: np.ndarray, seed: int):
    """A tenth of the texts, drawn, and the rest: ``(held, kept)``, each texts and labels."""
    order = np.random.default_rng(seed).permutation(len(texts))
    tenth = max(1, len(texts) // 10)
    parts = order[:tenth], order[tenth:]
    return [([texts[i] for i in part], labels[part]) for part in parts]


def share_right(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


def vocabularies(
    train: tuple[list[str], np.ndarray],
    test: tuple[list[str], np.ndarray],
    vocabulary: int,
    budget: str,
) -> Report:
    """The same network on bytes, on smaller vocabularies, and on the whole one."""
    sizes = sorted({max(512, vocabulary // 16), max(512, vocabulary // 4), vocabulary})
    task = ArrayTask(*train, name="texts", test=test)
    return compare(task, ["bytes", *(f"bpe:{size}" for size in sizes)], budget=budget, seeds=2)


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--valid", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--card", type=Path, help="compare vocabularies, and draw the answer")
    parser.add_argument("--budget", default="20 GFLOP", help="of a training in that comparison")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more

    train = read_lines(chosen.data) if chosen.data else source_code()
    test, train = (read_lines(chosen.test), train) if chosen.test else part_off(*train, seed=0)
    valid, train = (read_lines(chosen.valid), train) if chosen.valid else part_off(*train, seed=1)
    texts = train[0]
    if chosen.card:
        # Chosen on the part for validation: the test part is looked at once, below.
        report = vocabularies(train, valid, chosen.vocabulary, chosen.budget)
        print(report.table())
        report.to_card(chosen.card, force=True)

    tokenizer = Tokenizer.train(iter(texts), chosen.vocabulary, pattern="gpt2")
    most = int(np.percentile(tokenizer.count(texts), 99))
    (x, y), (valid_x, valid_y), (test_x, test_y) = (
        (features(tokenizer, texts, most), torch.from_numpy(labels))
        for texts, labels in (train, valid, test)
    )

    torch.manual_seed(0)
    size = 1 + tokenizer.vocab_size + PAIRS
    model = nn.EmbeddingBag(size, int(y.max()) + 1, mode="sum", sparse=True, padding_idx=0)
    nn.init.zeros_(model.weight)
    optimiser = torch.optim.SparseAdam(model.parameters(), lr=0.005)
    best = accuracy = 0.0
    for epoch in range(1, chosen.epochs + 1):
        for batch in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        found = share_right(model, valid_x, valid_y)
        print(f"epoch {epoch}: accuracy {found:.1%} on {len(valid_y)} texts for validation")
        if found > best:
            best, accuracy = found, share_right(model, test_x, test_y)
    print(f"where validation was best: accuracy {accuracy:.1%} on {len(test_y)} texts for testing")
    majority = float((test_y == y.mode().values).double().mean())
    print(f"always the most frequent label: {majority:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
