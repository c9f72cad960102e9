"""Packed rows beside padded ones: the same model, documents and steps, tokens a second and loss.

Documents are the docstrings of the standard library: most are short, so rows with one document
each are mostly padding. Packed rows hold several, which do not see each other.

    python examples/packed_training.py
"""

from __future__ import annotations

import argparse
import ast
import sysconfig
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tokfrag import Tokenizer, pack
from tokfrag.stream import Packed

LENGTH = 256


def docstrings(most: int) -> list[str]:
    found = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                found.append(ast.get_docstring(node) or "")
    return [text for text in found if text][:most]


class Model(nn.Module):
    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(LENGTH, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, packed: Packed) -> torch.Tensor:
        x = self.tokens(torch.from_numpy(packed.ids))
        x = x + self.positions(torch.from_numpy(packed.position_ids))
        forbidden = ~torch.from_numpy(packed.attention_mask())
        return self.out(self.blocks(x, mask=forbidden.repeat_interleave(4, dim=0)))


def padded(documents: list[np.ndarray]) -> Packed:
    """A document a row: packing with nothing beside it."""
    rows = [pack([document], LENGTH) for document in documents]
    whole = pack([np.resize(document, LENGTH) for document in documents], LENGTH, method="in_order")
    return Packed(
        np.concatenate([row.ids for row in rows]),
        np.concatenate([[0], *(r.cu_seqlens[1:] + n * LENGTH for n, r in enumerate(rows))]),
        max(row.max_seqlen for row in rows),
        np.concatenate([row.position_ids for row in rows]),
        whole.document_ids,
        np.concatenate([row.loss_mask for row in rows]),
    )


def train(
    kind: str, documents: list[np.ndarray], vocabulary: int, steps: int, width: int
) -> tuple[float, float]:
    """Give the tokens a second and the loss of the last steps, nats a token."""
    torch.manual_seed(0)
    model = Model(vocabulary, width)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    random = np.random.default_rng(0)
    losses, tokens, begun = [], 0, time.process_time()
    for step in range(steps):
        batch = [documents[i] for i in random.choice(len(documents), 32, replace=False)]
        rows = pack(batch, LENGTH, seed=step) if kind == "packed" else padded(batch)
        labels = torch.from_numpy(rows.labels())[:, 1:]
        logits = model(rows)[:, :-1]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        tokens += int((labels >= 0).sum())
    return tokens / (time.process_time() - begun), float(np.mean(losses[-10:]))


def main(arguments: list[str] | None = None) -> dict[str, tuple[float, float]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--width", type=int, default=64)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    texts = docstrings(3000)
    tokenizer = Tokenizer.train(texts, 1024)
    documents = [row[:LENGTH] for row in tokenizer.encode_batch(texts)]
    found = {}
    for kind in ("padded", "packed"):
        speed, loss = train(kind, documents, tokenizer.vocab_size, chosen.steps, chosen.width)
        found[kind] = speed, loss
        print(f"{kind}: {speed:,.0f} tokens a second of processor time, loss {loss:.3f}")
    print(f"packed is {found['packed'][0] / found['padded'][0]:.1f} times as fast")
    return found


if __name__ == "__main__":
    main()
