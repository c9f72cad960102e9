"""A small language model, dense and sparse: what sparsity saves and what it costs.

    python examples/sparse_lm.py [FILE] [--transformer] [--vocab 512] [--steps 600]

Trains Embedding, LSTM, Dense (or a small Transformer) on FILE, by default the reference manual that
comes with Python; prunes it at 50, 70 and 90 % by magnitude and by coordinate descent; fine-tunes
the non-zeros of the latter; and prints, beside the dense model, bits per byte on held-out text,
bytes of weights, bytes of optimiser state, tokens per second and a line of generated text.
"""

from __future__ import annotations

import argparse
import copy
import math
import pydoc_data.topics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tokfrag.sparse import sparsify

LENGTH, BATCH = 64, 32


class Recurrent(nn.Module):
    """Embedding, LSTM, Dense."""

    def __init__(self, vocabulary: int, hidden: int = 384) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, hidden // 3)
        self.rnn = nn.LSTM(hidden // 3, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.rnn(self.table(ids))[0])


class Block(nn.Module):
    """Causal attention and a two-layer network, each added to its input."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.norm_1(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm_2(x))))


class Transformer(nn.Module):
    """Embedding with positions, blocks, Dense."""

    def __init__(self, vocabulary: int, width: int = 192, depth: int = 3) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width) for _ in range(depth)])
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.blocks(self.table(ids) + self.places[: ids.shape[1]]))


def tokenize(text: str, vocabulary: int) -> tuple[Tensor, int, Callable[[list[int]], str]]:
    """Token ids, the size of the vocabulary, and the way back; 256: bytes."""
    if vocabulary > 256:
        from tokfrag import Tokenizer

        tokenizer = Tokenizer.train([text], vocabulary)
        ids = torch.from_numpy(tokenizer.encode(text).astype("int64"))
        return ids, tokenizer.vocab_size, tokenizer.decode
    data = text.encode()
    ids = torch.frombuffer(bytearray(data), dtype=torch.uint8).long()
    return ids, 256, lambda out: bytes(out).decode(errors="replace")


def draw(ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of windows and the tokens that follow."""
    starts = torch.randint(0, len(ids) - LENGTH - 1, (BATCH,), generator=generator)
    windows = torch.stack([ids[s : s + LENGTH + 1] for s in starts.tolist()])
    return windows[:, :-1], windows[:, 1:]


def train(model: nn.Module, ids: Tensor, steps: int, rate: float) -> int:
    """Adam, warmed up and then slowed down; returns the bytes of its state."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, foreach=True)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 20, 2 * (1 - step / steps))
        x, y = draw(ids, generator)
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    state = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, Tensor)]
    return sum(t.numel() * t.element_size() for t in state)


@torch.no_grad()
def evaluate(model: nn.Module, ids: Tensor, bytes_per_token: float) -> tuple[float, float]:
    """Bits per byte on held-out text, and tokens per second."""
    model.eval()
    windows = ids[: (len(ids) - 1) // LENGTH * LENGTH].view(-1, LENGTH)[:256]
    following = ids[1 : 1 + windows.numel()].view(-1, LENGTH)
    model(windows[:BATCH])
    begin, total = time.perf_counter(), 0.0
    for x, y in zip(windows.split(BATCH), following.split(BATCH), strict=True):
        total += nn.functional.cross_entropy(
            model(x).flatten(0, 1), y.flatten(), reduction="sum"
        ).item()
    seconds = time.perf_counter() - begin
    model.train()
    return total / windows.numel() / math.log(2) / bytes_per_token, windows.numel() / seconds


@torch.no_grad()
def generate(model: nn.Module, prompt: Tensor, count: int) -> list[int]:
    """Samples ``count`` tokens after a prompt."""
    generator = torch.Generator().manual_seed(0)
    ids = prompt.tolist()
    for _ in range(count):
        logits = model(torch.tensor([ids[-LENGTH:]]))[0, -1]
        ids.append(int(torch.multinomial((logits / 0.8).softmax(0), 1, generator=generator)))
    return ids[len(prompt) :]


def weight_bytes(model: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="text; default: Python's manual")
    parser.add_argument("--transformer", action="store_true")
    parser.add_argument("--width", type=int, help="default: 384, with --transformer 192")
    parser.add_argument("--vocab", type=int, default=512, help="256: raw bytes")
    parser.add_argument("--steps", type=int, default=600, help="of dense training; a sixth to tune")
    parser.add_argument("--method", default="cd", help="of sparsify, beside magnitude")
    options = parser.parse_args(arguments)

    text = (
        options.file.read_text(encoding="utf-8", errors="replace")
        if options.file
        else "\n".join(pydoc_data.topics.topics.values())
    )
    ids, vocabulary, decode = tokenize(text, options.vocab)
    bytes_per_token = len(text.encode()) / len(ids)
    cut = int(0.9 * len(ids))
    training, held = ids[:cut], ids[cut:]
    print(f"{len(text):,} characters, {len(ids):,} tokens, vocabulary {vocabulary}")

    torch.manual_seed(0)
    kind, usual = (Transformer, 192) if options.transformer else (Recurrent, 384)
    dense = kind(vocabulary, options.width or usual)
    state = train(dense, training, options.steps, 2e-3)
    print(f"{'model':<24}{'bits/byte':>10}{'weights kB':>12}{'Adam kB':>10}{'tokens/s':>10}")

    bits_per_byte: dict[str, float] = {}

    def row(name: str, model: nn.Module, state_bytes: int | None) -> None:
        bits, speed = evaluate(model, held, bytes_per_token)
        bits_per_byte[name] = bits
        shown = "-" if state_bytes is None else f"{state_bytes / 1e3:.0f}"
        print(
            f"{name:<24}{bits:>10.3f}{weight_bytes(model) / 1e3:>12.0f}{shown:>10}{speed:>10.0f}",
            flush=True,
        )

    row("dense", dense, state)
    generator = torch.Generator().manual_seed(2)
    calibration = [draw(training, generator)[0] for _ in range(16)]
    for sparsity in (0.5, 0.7, 0.9):
        share = f"{100 * sparsity:.0f} %"
        pruned = copy.deepcopy(dense)
        sparsify(pruned, calibration, sparsity=sparsity, method="magnitude", replace=True)
        row(f"{share} magnitude", pruned, None)
        pruned = copy.deepcopy(dense)
        sparsify(pruned, calibration, sparsity=sparsity, method=options.method, replace=True)
        row(f"{share} {options.method}", pruned, None)
        state = train(pruned, training, max(1, options.steps // 6), 5e-4)
        row(f"{share} {options.method}, tuned", pruned, state)
    prompt = held[:LENGTH]
    print("\nafter", repr(decode(prompt.tolist()[-16:])))
    for name, model in (("dense", dense), ("90 % sparse", pruned)):
        print(f"{name}: {decode(generate(model, prompt, 60))!r}")
    return bits_per_byte


if __name__ == "__main__":
    main()
