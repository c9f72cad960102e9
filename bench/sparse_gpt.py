"""One table of a small GPT: dense, pruned by six methods, trained sparse.

    python bench/sparse_gpt.py [--width 256] [--depth 2] [--steps 250] [--sparsity 0.5 0.75 0.9]

Trains a GPT on bytes of Python's own library, prunes copies of it in one shot, freezes one of them
(floats and codes of eight bits under bitmaps), trains others sparse from the start, and prints for
each: bits per byte on held-out modules, bytes of the checkpoint, bytes read at once (32 windows)
and generated one by one, per second of processor time. One thread.
"""

from __future__ import annotations

import argparse
import copy
import math
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tokfrag.sparse import SparseLinear, SparseTraining, freeze, sparsify

LENGTH, BATCH = 128, 16
METHODS = ("magnitude", "wanda", "sparsegpt", "cd", "admm")
Cache = list[tuple[Tensor, Tensor]]


class Block(nn.Module):
    """Causal attention and a two-layer network, each added to its input."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, length, width = x.shape
        parts = self.qkv(self.norm_1(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm_2(x)))), (k, v)


class GPT(nn.Module):
    """Embedding with positions, blocks, norm, head; ``generate`` keeps keys and values."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.table = nn.Embedding(256, width)
        self.places = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256)

    def forward(self, ids: Tensor) -> Tensor:
        return self.read(ids, 0, None)[0]

    def read(self, ids: Tensor, begin: int, past: Cache | None) -> tuple[Tensor, Cache]:
        """Logits after ``ids`` from place ``begin`` on, and keys and values of each block."""
        x = self.table(ids) + self.places[begin : begin + ids.shape[1]]
        seen: Cache = []
        for number, block in enumerate(self.blocks):
            x, pair = block(x, None if past is None else past[number])
            seen.append(pair)
        return self.head(self.norm(x)), seen

    @torch.no_grad()
    def generate(self, count: int) -> list[int]:
        """The likeliest bytes after a line break, one at a time."""
        ids = [10]
        past: Cache | None = None
        for place in range(count):
            logits, past = self.read(torch.tensor([[ids[-1]]]), place, past)
            ids.append(int(logits[0, -1].argmax()))
        return ids


def texts() -> tuple[Tensor, Tensor]:
    """Bytes to train on and bytes held out: nine and one of every ten modules."""
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for index, path in enumerate(sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))):
        parts[index % 10 == 9].append(path.read_bytes())
    train, held = (torch.frombuffer(bytearray(b"".join(p)), dtype=torch.uint8) for p in parts)
    return train.long(), held.long()


def draw(text: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of windows and the bytes that follow."""
    starts = torch.randint(0, len(text) - LENGTH - 1, (BATCH,), generator=generator)
    windows = torch.stack([text[s : s + LENGTH + 1] for s in starts.tolist()])
    return windows[:, :-1], windows[:, 1:]


def train(
    model: nn.Module,
    text: Tensor,
    steps: int,
    masks: Callable[[torch.optim.Optimizer], SparseTraining] | None = None,
) -> nn.Module:
    """Adam, warmed up and slowed down; ``masks`` makes what moves the non-zeros."""
    rate = 2e-3
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    training = None if masks is None else masks(optimizer)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 20, 2 * (1 - step / steps))
        x, y = draw(text, generator)

        def loss(logits: Tensor, y: Tensor = y) -> Tensor:
            return nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())

        optimizer.zero_grad()
        loss(model(x)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if training is not None:
            training.step(x, loss=loss)
    return model


def sparse_twin(model: nn.Module, sparsity: float) -> nn.Module:
    """A copy whose linear layers are sparse from the start, at random places."""
    model = copy.deepcopy(model)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, name = path.rpartition(".")
            layer = SparseLinear(module.in_features, module.out_features, sparsity=sparsity)
            setattr(model.get_submodule(parent), name, layer)
    return model


def row(name: str, model: nn.Module, held: Tensor) -> None:
    """Measure a model and print its line of the table."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    windows = held[: (len(held) - 1) // LENGTH * LENGTH].view(-1, LENGTH)[:256]
    following = held[1 : 1 + windows.numel()].view(-1, LENGTH)
    total, read, made = 0.0, [], []
    with torch.no_grad():
        model(windows[:32])  # races are run once
        model.generate(2)
        for x, y in zip(windows.split(32), following.split(32), strict=True):
            begin = time.process_time()
            logits = model(x)
            read.append(x.numel() / (time.process_time() - begin))
            total += nn.functional.cross_entropy(
                logits.flatten(0, 1), y.flatten(), reduction="sum"
            ).item()
        for _ in range(3):
            begin = time.process_time()
            model.generate(100)
            made.append(100 / (time.process_time() - begin))
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    bits = total / windows.numel() / math.log(2)
    print(
        f"| {name} | {bits:.3f} | {size / 1e6:.2f} | {max(read):.0f} | {max(made):.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.5, 0.75, 0.9])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    text, held = texts()
    fresh = GPT(options.width, options.depth)
    begin = time.process_time()
    dense = train(copy.deepcopy(fresh), text, options.steps)
    weights = sum(p.numel() for p in dense.parameters())
    print(f"{weights / 1e6:.2f} M weights, trained in {time.process_time() - begin:.0f} s\n")
    print("| model | bits a byte | MB | bytes read a second | generated a second |")
    print("|---|---|---|---|---|")
    row("dense", dense, held)
    generator = torch.Generator().manual_seed(2)
    calibration = [draw(text, generator)[0] for _ in range(4)]
    for sparsity in options.sparsity:
        for method in METHODS:
            pruned = copy.deepcopy(dense)
            sparsify(pruned, calibration, sparsity=sparsity, method=method, replace=True)
            row(f"{sparsity:.0%} {method}", pruned, held)
        for values in ("float32", "int8"):  # of the last, "admm"
            frozen = copy.deepcopy(pruned)
            freeze(frozen, values=values)
            row(f"{sparsity:.0%} {METHODS[-1]}, frozen {values}", frozen, held)
        for method, first in (("rigl", sparsity), ("magnitude", 0.0)):
            model = sparse_twin(fresh, first)

            def masks(
                optimizer: torch.optim.Optimizer,
                model: nn.Module = model,
                method: str = method,
                sparsity: float = sparsity,
            ) -> SparseTraining:
                return SparseTraining(
                    model,
                    optimizer,
                    method=method,
                    steps=3 * options.steps // 4,
                    every=max(1, options.steps // 25),
                    sparsity=sparsity if method == "magnitude" else None,
                )

            train(model, text, options.steps, masks)
            row(f"{sparsity:.0%} trained, {method}", model, held)


if __name__ == "__main__":
    main()
