"""Recognise an action from its fragments, with and without how they change.

A clip is cut along time into overlapping fragments; each becomes a vector, and a recurrent layer
reads them in order. With ``+ difference`` every channel is joined by its change from frame to
frame, which is what tells actions apart that pass through the same poses.

Without ``--data``: moving digits, eight directions. With ``--data msraction3d.npz``: skeletons
(``joints``, ``length``, ``action``, ``subject``), split by subject as is usual: odd ones to learn.

    python examples/action_recognition.py --data msraction3d.npz --epochs 60
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tokfrag import FragmentGrid, extract
from tokfrag.compare.tasks.motion import MotionTask


def skeletons(path: Path, frames: int):
    """Sequences ``(clips, 60, frames)``, seen from the hip and resampled to one length."""
    held = np.load(path)
    ends = np.cumsum(held["length"])
    keep = np.flatnonzero(held["length"] > 1)
    clips = np.empty((len(keep), 60, frames), np.float32)
    for clip, i in zip(clips, keep, strict=True):
        joints = held["joints"][ends[i] - held["length"][i] : ends[i]]
        joints = (joints - joints[:, :1]).reshape(len(joints), 60)
        times = np.linspace(0, len(joints) - 1, frames)
        clip[:] = [np.interp(times, np.arange(len(joints)), joint) for joint in joints.T]
    clips = (clips - clips.mean((0, 2), keepdims=True)) / (clips.std((0, 2), keepdims=True) + 1e-6)
    return clips, held["action"][keep] - 1, held["subject"][keep] % 2 == 1


def moving_digits(clips: int):
    """The comparison's motion task, each frame's pixels as channels."""
    split = MotionTask(clips=clips).split()
    x = np.concatenate((split.train.x, split.test.x))[:, 0]
    learn = np.arange(len(x)) < len(split.train)
    x = np.ascontiguousarray(x.reshape(len(x), x.shape[1], -1).transpose(0, 2, 1))
    return x, np.concatenate((split.train.y, split.test.y)), learn


class Reader(nn.Module):
    """``(batch, n, units)`` fragments to classes: a map, a recurrent layer, its states' mean."""

    def __init__(self, units: int, classes: int, width: int):
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(units, width), nn.ReLU(), nn.Dropout(0.3))
        self.over = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, fragments: torch.Tensor) -> torch.Tensor:
        states, _ = self.over(self.inside(fragments.flatten(2)))
        return self.head(states.mean(1))


def accuracy(fragments: torch.Tensor, y: torch.Tensor, learn: torch.Tensor, epochs: int) -> float:
    torch.manual_seed(0)
    model = Reader(fragments[0, 0].numel(), int(y.max()) + 1, 96)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    x, labels = fragments[learn], y[learn]
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        right = model(fragments[~learn]).argmax(1) == y[~learn]
    return float(right.double().mean())


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--frames", type=int, default=40, help="of a resampled skeleton clip")
    parser.add_argument("--clips", type=int, default=800, help="of moving digits")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more

    clips, actions, learns = (
        skeletons(chosen.data, chosen.frames) if chosen.data else moving_digits(chosen.clips)
    )
    x, y = torch.from_numpy(clips), torch.from_numpy(actions.astype(np.int64))
    learn = torch.from_numpy(learns)
    change = x.diff(dim=-1, prepend=x[..., :1])
    changed = torch.cat((x, change / change.std()), 1)  # frames hardly differ: the same scale
    length = x.shape[-1]
    size, stride = (8, 4) if length >= 16 else (4, 2)
    found = {}
    for name, source, window, step in (
        ("one whole fragment", x, length, length),
        (f"fragments {size}/{stride}", x, size, stride),
        (f"fragments {size}/{stride} + difference", changed, size, stride),
    ):
        fragments = extract(source, FragmentGrid((length,), window, step))
        found[name] = accuracy(fragments, y, learn, chosen.epochs)
        print(f"{name:30}  {found[name]:.1%} of {int((~learn).sum())} clips")
    return found


if __name__ == "__main__":
    main()
