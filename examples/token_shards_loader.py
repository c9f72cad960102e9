"""Feed a language model from a file of token ids: text files, shards, a torch ``DataLoader``.

The files are encoded once into a memory-mapped file; the loader then draws windows of it in an
order that a seed fixes, without ever holding the ids in memory.

    python examples/token_shards_loader.py book.txt notes.txt
"""

from __future__ import annotations

import argparse
import pydoc_data.topics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from tokfrag import Tokenizer
from tokfrag.tokens import TokenShards


class Windows(IterableDataset):
    """Batches of ids and the ids that follow, ``(batch, length)`` each, without end."""

    def __init__(self, shards: TokenShards, batch: int, length: int):
        self.shards, self.batch, self.length = shards, batch, length

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.shards.batches(self.batch, self.length, seed=0, epochs=None)


class Bigrams(nn.Module):
    """The next token from the last two: enough to see a loader work."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.mix = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        now = self.table(ids)
        before = torch.cat((torch.zeros_like(now[:, :1]), now[:, :-1]), 1)
        return self.head(self.mix(torch.cat((before, now), -1)).relu())


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="default: Python's own manual")
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=200)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more

    with tempfile.TemporaryDirectory() as folder:
        files = chosen.files
        if not files:
            files = [Path(folder) / "manual.txt"]
            files[0].write_text("\n\n".join(pydoc_data.topics.topics.values()), "utf-8")
        tokenizer = Tokenizer.train(files, chosen.vocabulary)
        shards = TokenShards(tokenizer.encode_files(files, Path(folder) / "ids"))
        text_bytes = sum(path.stat().st_size for path in files)
        each = text_bytes / len(shards)
        print(f"{len(shards)} tokens, {each:.2f} bytes each")

        torch.manual_seed(0)
        model = Bigrams(tokenizer.vocab_size, 96)
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
        loader = iter(DataLoader(Windows(shards, 16, 64), batch_size=None))
        bits = float("nan")
        for step in range(1, chosen.steps + 1):
            ids, following = next(loader)
            logits = model(ids)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            bits = loss.item() / 0.6931 / each
            if step % 50 == 0 or step == chosen.steps:
                print(f"step {step}: {bits:.3f} bits per byte")
        return bits


if __name__ == "__main__":
    main()
