"""Two views of one picture in one network: quantised pixels as tokens, and overlapping fragments.

The token branch looks every pixel's level up and adds where it is; the fragment branch maps each
window to a vector. Their sums are put side by side. Each branch alone is printed beside the two.

With ``--card FILE.png``: is it worth it? Tokens, fragments and both in one network are compared at
equal cost over three seeds, and the answer is drawn.

    python examples/token_fragment_fusion.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from tokfrag import FragmentGrid, extract
from tokfrag.compare import compare


class TokenBranch(nn.Module):
    def __init__(self, levels: int, positions: int, width: int):
        super().__init__()
        # One vector for each pair of a level and a place.
        self.table = nn.EmbeddingBag(levels * positions, width, mode="sum")
        self.register_buffer("first", torch.arange(positions) * levels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens + self.first).relu()


class FragmentBranch(nn.Module):
    def __init__(self, grid: FragmentGrid, width: int):
        super().__init__()
        self.grid = grid
        units = grid.size[0] * grid.size[1]
        self.inside = nn.Sequential(nn.Flatten(2), nn.Linear(units, 32), nn.ReLU(), nn.Flatten(1))
        self.join = nn.Linear(32 * grid.n, width)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.join(self.inside(extract(pictures, self.grid))).relu()


class Fused(nn.Module):
    def __init__(self, tokens: TokenBranch | None, fragments: FragmentBranch | None, width: int):
        super().__init__()
        self.tokens, self.fragments = tokens, fragments
        branches = (tokens is not None) + (fragments is not None)
        self.head = nn.Linear(branches * width, 10)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        views = []
        if self.tokens is not None:
            views.append(self.tokens(pictures.flatten(1).long().clamp(max=15)))
        if self.fragments is not None:
            views.append(self.fragments(pictures / 8 - 1))
        return self.head(torch.cat(views, 1))


def fit(model: Fused, x: torch.Tensor, y: torch.Tensor, epochs: int) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--card", type=Path, help="compare all three, and draw the answer")
    parser.add_argument("--budget", default="50 GFLOP", help="of a training in that comparison")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more

    if chosen.card:
        both = "pixels:16@concat++patch:4/2"
        cuts = ["pixels:16@concat", "patch:4/2", both]
        report = compare("digits", cuts, budget=chosen.budget, seeds=3)
        print(report.table())
        report.to_card(chosen.card, force=True)
    digits = load_digits()
    pictures = torch.from_numpy(digits.images).float()[:, None]
    labels = torch.from_numpy(digits.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    pictures, labels = pictures[order], labels[order]
    grid = FragmentGrid((8, 8), size=4, stride=2)
    accuracy = {}
    for name in ("tokens", "fragments", "tokens + fragments"):
        torch.manual_seed(0)
        tokens = TokenBranch(16, 64, chosen.width) if "tokens" in name else None
        fragments = FragmentBranch(grid, chosen.width) if "fragments" in name else None
        model = Fused(tokens, fragments, chosen.width)
        fit(model, pictures[:1400], labels[:1400], chosen.epochs)
        with torch.no_grad():
            right = model(pictures[1400:]).argmax(1) == labels[1400:]
        accuracy[name] = float(right.double().mean())
        print(f"{name:18}  {accuracy[name]:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
