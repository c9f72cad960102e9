"""Segment images too large for one pass: train on windows, answer window by window, merge.

A small convolutional network learns from windows; ``map_fragments`` then slides it over each whole
image and merges overlapping answers under a gaussian weight. The answer on the uncut image stands
beside it: where windows overlap by the network's receptive field, the two are the same.

Without ``--data``: generated volumes (3-D). With ``--data membrane30.npz``: 2-D slices, the last
fifth held out.

With ``--card FILE.png``: how large a window, and does overlap pay? Three cuts are compared, and the
answer is drawn.

    python examples/sliding_window_segmentation.py --data membrane30.npz --window 128
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tokfrag import FragmentGrid, extract
from tokfrag.compare import compare
from tokfrag.compare.tasks.volume import VolumeTask
from tokfrag.fragments import map_fragments


def network(axes: int, channels: int) -> nn.Sequential:
    conv = (nn.Conv2d, nn.Conv3d)[axes - 2]
    return nn.Sequential(
        conv(1, channels, 3, padding=1),
        nn.ReLU(),
        conv(channels, channels, 3, padding=2, dilation=2),
        nn.ReLU(),
        conv(channels, channels, 3, padding=1),
        nn.ReLU(),
        conv(channels, 1, 1),
    )


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="npz with image and label")
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--card", type=Path, help="compare windows, and draw the answer")
    parser.add_argument("--budget", default="40 GFLOP", help="of a training in that comparison")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more

    task = VolumeTask(chosen.data)
    split = task.split()
    if chosen.card:
        half = chosen.window // 2
        windows = [f"patch:{chosen.window}+shift", f"patch:{chosen.window}/{half}+shift+gaussian"]
        report = compare(task, [*windows, f"patch:{half}+shift"], budget=chosen.budget, seeds=2)
        print(report.table())
        report.to_card(chosen.card, force=True)
    mean, std = split.train.x.mean(), split.train.x.std()
    train_x = torch.from_numpy((split.train.x - mean) / std)
    test_x = torch.from_numpy((split.test.x - mean) / std)
    train_y = torch.from_numpy(split.train.y > 0).float()
    truth = split.test.y[:, 0] > 0

    axes = train_x.ndim - 2
    shape = tuple(train_x.shape[2:])
    cutting = FragmentGrid(shape, chosen.window, edge="shift")
    x, y = extract(train_x, cutting).flatten(0, 1), extract(train_y, cutting).flatten(0, 1)

    torch.manual_seed(0)
    model = network(axes, chosen.channels)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, chosen.steps)
    for _ in range(chosen.steps):
        batch = torch.randint(len(x), (4,))
        loss = nn.functional.binary_cross_entropy_with_logits(model(x[batch]), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()

    model.eval()
    found = {"the larger class": float(max(np.mean(truth), np.mean(~truth)))}
    with torch.no_grad():
        whole = torch.cat([model(image[None]) for image in test_x])
        found["uncut"] = float(np.mean((whole[:, 0] > 0).numpy() == truth))
        for name, stride in (("no overlap", chosen.window), ("half overlap", chosen.window // 2)):
            grid = FragmentGrid(shape, chosen.window, stride, edge="shift")
            merged = map_fragments(model, test_x, grid, batch_size=4, window="gaussian")
            found[name] = float(np.mean((merged[:, 0] > 0).numpy() == truth))
            seams = float((merged - whole).abs().mean())
            print(f"{name}: {grid.n} windows an image, {seams:.4f} from the uncut answer")
    for name, accuracy in found.items():
        print(f"{name:18} {accuracy:.2%}")
    return found


if __name__ == "__main__":
    main()
