"""A small vision-language model: text tokens and image patches in one packed sequence.

Each document is a picture of a handwritten digit (four patches), a question about it, and the
answer. Which question it is stands in the text, which digit it is in the picture: a model that
reads tokens alone, or patches alone, cannot know the answer. Documents are packed into rows, and
attention is causal inside a document.

    python examples/vision_language.py
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from tokfrag import Tokenizer, pack, patchify
from tokfrag.stream import Layout, Packed, expand_placeholders

LAYOUT = Layout(patch=4, mean=(0.5,), std=(0.5,))
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
QUESTIONS = {
    "What digit is it?": lambda digit: NAMES[digit],
    "What digit is next?": lambda digit: NAMES[(digit + 1) % 10],
    "Is it even?": lambda digit: "no" if digit % 2 else "yes",
}
ROW = 128


class Model(nn.Module):
    """Transformer blocks over places that hold a token or a patch."""

    def __init__(self, vocabulary: int, width: int, depth: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.patches = nn.Linear(LAYOUT.patch_values, width)
        self.positions = nn.Embedding(ROW, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, packed: Packed, patches: torch.Tensor, placeholder: int) -> torch.Tensor:
        ids = torch.from_numpy(packed.ids)
        x = self.tokens(ids)
        x = x.masked_scatter((ids == placeholder)[..., None], self.patches(patches))
        x = x + self.positions(torch.from_numpy(packed.position_ids))
        forbidden = ~torch.from_numpy(packed.attention_mask())
        return self.out(self.blocks(x, mask=forbidden.repeat_interleave(4, dim=0)))


def documents(tokenizer: Tokenizer, digits: np.ndarray, kind: str, seed: int, placeholder: int):
    """Ids of each document, and how many of them come before the answer."""
    random = np.random.default_rng(seed)
    made, begins = [], []
    for digit in digits:
        question = list(QUESTIONS)[random.integers(len(QUESTIONS))]
        asked = "" if kind == "fragments" else question
        head = [] if kind == "tokens" else [placeholder]
        answer = tokenizer.encode(f" {QUESTIONS[question](int(digit))}.").tolist()
        counts = [LAYOUT.patch] * len(head)  # four patches of 4 x 4 in 8 x 8
        ids = expand_placeholders([*head, *tokenizer.encode(asked).tolist()], placeholder, counts)
        made.append(np.concatenate([ids, answer]))
        begins.append(len(ids))
    return made, np.array(begins)


def answers(packed: Packed, begins: np.ndarray) -> torch.Tensor:
    """True at the places of answers."""
    before = begins[np.maximum(packed.document_ids, 0)]
    return torch.from_numpy(packed.loss_mask & (packed.position_ids >= before))


def run(kind: str, data, epochs: int, width: int) -> float:
    """Train on one kind of input; give the share of test documents answered right."""
    (train_x, train_y), (test_x, test_y) = data
    texts = [f"{q} {q.join(NAMES)} yes. no." for q in QUESTIONS] * 4
    tokenizer = Tokenizer.train(texts, 300)
    placeholder = tokenizer.vocab_size
    torch.manual_seed(0)
    model = Model(tokenizer.vocab_size + 1, width, depth=3)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def forward(images, digits, seed):
        docs, begins = documents(tokenizer, digits, kind, seed, placeholder)
        packed = pack(docs, ROW, seed=seed)
        # Patches in the order of their places: documents as they stand in the rows.
        kept = packed.document_ids[packed.position_ids == 0]
        order = kept[kept >= 0]
        cut = patchify([images[i] for i in order], LAYOUT, dtype="float32")
        patches = torch.from_numpy(cut.values) if kind != "tokens" else torch.empty(0, 16)
        logits = model(packed, patches, placeholder)[:, :-1]
        mask = answers(packed, begins)[:, 1:]
        return logits, torch.from_numpy(packed.ids)[:, 1:], mask, packed.document_ids[:, 1:]

    steps = epochs * (len(train_x) // 200)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=max(steps, 2))
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(train_x))
        for number, batch in enumerate(np.array_split(order, len(order) // 200)):
            logits, ids, mask, _ = forward(train_x[batch], train_y[batch], epoch * 1000 + number)
            loss = nn.functional.cross_entropy(logits[mask], ids[mask])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        logits, ids, mask, owner = forward(test_x, test_y, 10**6)
    wrong = defaultdict(bool)
    for document, right in zip(owner[mask.numpy()], (logits.argmax(-1) == ids)[mask], strict=True):
        wrong[int(document)] |= not bool(right)
    return 1 - sum(wrong.values()) / len(wrong)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=64)
    chosen = parser.parse_args(arguments)
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 8, 8, 1) / 16 * 255).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(y))
    data = [(images[part], y[part]) for part in (order[:1400], order[1400:])]
    found = {}
    for kind in ("tokens", "fragments", "tokens + fragments"):
        found[kind] = run(kind, data, chosen.epochs, chosen.width)
        print(f"{kind}: {found[kind]:.1%} of the answers right")
    return found


if __name__ == "__main__":
    main()
