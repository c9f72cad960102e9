"""A small vision-language model: text tokens and image patches in one packed sequence.

Each document is a picture of a handwritten digit (four patches), a question about it, and the
answer. Which question it is stands in the text, which digit it is in the picture: a model that
reads tokens alone, or patches alone, cannot know the answer. Documents are packed into rows, and
attention is causal inside a document.

With ``--card FILE.png``: does it take both? The question's bytes as tokens, the picture's patches
as fragments, and the two in one network are compared at equal cost, and the answer is drawn.

    python examples/vision_language.py
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from tokfrag import Tokenizer, pack, patchify
from tokfrag.compare import ArrayTask, FittedCut, Recipe, Report, Samples, compare, parse_cut
from tokfrag.compare.cuts.fused import Fused
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


def question_of(x: np.ndarray) -> list[bytes]:
    """What is asked: the bytes in the four columns beside a sample's picture."""
    return [sample[0, :, 8:].astype(np.uint8).tobytes().rstrip(b"\0") for sample in x]


def picture_of(x: np.ndarray) -> np.ndarray:
    """What is shown: the first eight columns."""
    return x[:, :, :, :8]


class View:
    """One part of a sample, cut as a shipped cut does it."""

    def __init__(self, name: str, family: str) -> None:
        self.name, self.family = name, family

    def fit(self, train: Samples) -> FittedCut:
        part, cut = (question_of, "bytes") if self.family == "tokens" else (picture_of, "patch:4")
        fitted = parse_cut(cut).fit(Samples(part(train.x)))
        boxes = (((0, 8), (8, 12)),) if self.family == "tokens" else fitted.boxes
        return replace(fitted, cut=lambda x: fitted.cut(part(x)), decode=None, boxes=boxes)


def decide(images: np.ndarray, digits: np.ndarray, budget: str) -> Report:
    """Compare what is asked, what is shown, and both in one network."""
    random = np.random.default_rng(0)
    asked = [list(QUESTIONS)[i] for i in random.integers(len(QUESTIONS), size=len(digits))]
    x = np.zeros((len(digits), 1, 8, 12), np.float32)
    x[:, 0, :, :8] = images.reshape(-1, 8, 8)
    for sample, question in zip(x, asked, strict=True):
        sample[0, :, 8:] = np.frombuffer(question.encode().ljust(32, b"\0"), np.uint8).reshape(8, 4)
    answers = [QUESTIONS[question](int(d)) for question, d in zip(asked, digits, strict=True)]
    tokens, fragments = View("question", "tokens"), View("picture", "fragments")
    task = ArrayTask(x, answers, name="questions on digits")
    cuts = [tokens, fragments, Fused((tokens, fragments))]
    recipe = Recipe(batch=16, rate=4e-3, width=32)
    return compare(task, cuts, budget=budget, seeds=2, recipe=recipe)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--card", type=Path, help="compare tokens, fragments, both; draw it")
    parser.add_argument("--budget", default="60 GFLOP", help="of a training in that comparison")
    chosen = parser.parse_args(arguments)
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 8, 8, 1) / 16 * 255).astype(np.uint8)
    if chosen.card:
        report = decide(images, y, chosen.budget)
        print(report.table())
        report.to_card(chosen.card, force=True)
    order = np.random.default_rng(0).permutation(len(y))
    data = [(images[part], y[part]) for part in (order[:1400], order[1400:])]
    found = {}
    for kind in ("tokens", "fragments", "tokens + fragments"):
        found[kind] = run(kind, data, chosen.epochs, chosen.width)
        print(f"{kind}: {found[kind]:.1%} of the answers right")
    return found


if __name__ == "__main__":
    main()
