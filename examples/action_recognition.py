"""Recognise an action from its fragments, with and without how they change.

A clip is cut along time into overlapping fragments; each becomes a vector, and a recurrent layer
reads them in order. With ``+ difference`` every channel is joined by its change from frame to
frame, which is what tells actions apart that pass through the same poses.

Without ``--data``: moving digits, eight directions. With ``--data msraction3d.npz``: skeletons
(``joints``, ``length``, ``action``, ``subject``), split by subject as is usual: odd ones to learn.

With ``--card FILE.png``: which cut? The three of them, one training recipe, three seeds, a rate for
each; the answer is drawn.

    python examples/action_recognition.py --data msraction3d.npz --epochs 60
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tokfrag import FragmentGrid, extract
from tokfrag.compare import ArrayTask, Report, compare
from tokfrag.compare.body import Body
from tokfrag.compare.tasks.motion import MotionTask


def skeletons(path: Path, frames: int):
    """Sequences ``(clips, 60, frames)`` of joints' coordinates, resampled to one length."""
    with np.load(path) as held:
        joints, lengths = held["joints"], held["length"]
        actions, subjects = held["action"], held["subject"]
    parts = np.split(joints.reshape(len(joints), -1), np.cumsum(lengths)[:-1])
    # A frame of zeros is one where the camera saw nobody.
    parts = [part[part.any(axis=1)] for part in parts]
    keep = np.array([i for i, part in enumerate(parts) if len(part) > 1])
    clips = np.empty((len(keep), joints[0].size, frames), np.float32)
    for clip, i in zip(clips, keep, strict=True):
        times = np.linspace(0, len(parts[i]) - 1, frames)
        clip[:] = [np.interp(times, np.arange(len(parts[i])), joint) for joint in parts[i].T]
    learn = subjects[keep] % 2 == 1
    # One scale for all joints: each on its own, the still ones would become noise.
    clips = (clips - clips[learn].mean((0, 2), keepdims=True)) / clips[learn].std()
    return clips, actions[keep] - 1, learn


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


def accuracy(
    fragments: torch.Tensor, y: torch.Tensor, learn: torch.Tensor, epochs: int, seed: int
) -> float:
    torch.manual_seed(seed)
    model = Reader(fragments[0, 0].numel(), int(y.max()) + 1, 96)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
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


def which_cut(x: np.ndarray, y: np.ndarray, learn: np.ndarray, budget: str) -> Report:
    """The cuts of this example, judged on the official part, beside each other."""
    # Channels as one axis: the change is along the other, which is time.
    x, units = x.transpose(0, 2, 1)[:, None], x.shape[1]
    task = ArrayTask(x[learn], y[learn], name="actions", test=(x[~learn], y[~learn]))
    size, stride = (8, 4) if x.shape[2] >= 16 else (4, 2)
    patch = f"patch:{size}x{units}/{stride}x{units}"
    body = Body("recurrent", width=64, depth=1)
    return compare(task, ["whole", patch, f"{patch}+diff"], model=body, budget=budget, seeds=3)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--frames", type=int, default=40, help="of a resampled skeleton clip")
    parser.add_argument("--clips", type=int, default=800, help="of moving digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--card", type=Path, help="compare the cuts, and draw the answer")
    parser.add_argument("--budget", default="600 steps", help="of a training in that comparison")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more

    clips, actions, learns = (
        skeletons(chosen.data, chosen.frames) if chosen.data else moving_digits(chosen.clips)
    )
    if chosen.card:
        report = which_cut(clips, actions.astype(np.int64), learns, chosen.budget)
        print(report.table())
        report.to_card(chosen.card, force=True)
    x, y = torch.from_numpy(clips), torch.from_numpy(actions.astype(np.int64))
    learn = torch.from_numpy(learns)
    change = x.diff(dim=-1, prepend=x[..., :1])
    # Frames hardly differ: unscaled, their change would not be seen beside the positions.
    changed = torch.cat((x, change / change[learn].std()), 1)
    length = x.shape[-1]
    size, stride = (8, 4) if length >= 16 else (4, 2)
    found = {}
    for name, source, window, step in (
        ("one whole fragment", x, length, length),
        (f"fragments {size}/{stride}", x, size, stride),
        (f"fragments {size}/{stride} + difference", changed, size, stride),
    ):
        fragments = extract(source, FragmentGrid((length,), window, step))
        found[name] = accuracy(fragments, y, learn, chosen.epochs, chosen.seed)
        print(f"{name:30}  {found[name]:.1%} of {int((~learn).sum())} clips")
    return found


if __name__ == "__main__":
    main()
