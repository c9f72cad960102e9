"""Are the features of a network that was trained before worth more than cuts trained on the spot?

A small convolutional network learns to tell even digits from odd ones. Then it is frozen, and its
features stand beside patches in a comparison: which digit is it, learnt from 200 others? The same
network with its first, random weights stands there too, to tell what was learnt from what its shape
alone gives.

    python examples/frozen_features.py --page page.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from tokfrag.compare import ArrayTask, FrozenFeatures, Report, compare


def convolutions() -> nn.Sequential:
    """Pictures of 8 x 8 to 64 numbers."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip


def even_or_odd(x: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Module:
    """The network trained on another question."""
    body, head = convolutions(), nn.Linear(64, 2)
    optimiser = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(head(body(x[batch])), y[batch] % 2)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return body


def main(arguments: list[str] | None = None) -> Report:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10, help="of even or odd")
    parser.add_argument("--budget", default="400 steps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", type=Path, default=Path("frozen_features.html"))
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more
    torch.manual_seed(0)

    bunch = load_digits()
    x, y = bunch.images[:, None].astype(np.float32) / 16, bunch.target
    # Three parts with no digit in two: to train the features, to learn from, to be judged on.
    order = np.random.default_rng(0).permutation(len(x))
    before, learn, judge = order[560:], order[:200], order[200:560]
    random = convolutions()
    trained = even_or_odd(torch.from_numpy(x[before]), torch.from_numpy(y[before]), chosen.epochs)
    report = compare(
        ArrayTask(x[learn], y[learn], name="digits", test=(x[judge], y[judge])),
        [
            "patch:4",
            "patch:2",
            FrozenFeatures(trained, name="features:even or odd"),
            FrozenFeatures(random, name="features:random"),
        ],
        budget=chosen.budget,
        seeds=chosen.seeds,
    )
    print(report.table())
    report.to_html(chosen.page, force=True)
    print(f"wrote {chosen.page}")
    return report


if __name__ == "__main__":
    main()
