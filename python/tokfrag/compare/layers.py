"""Layers of the shipped bodies: attention, first layers of ids and values, how to join pieces."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.contracts import PieceSpec

#: How many weighings of the pieces the attention join gives to the head.
QUERIES = 4


class Attention(nn.Module):
    """Multi-head attention, written out so that its cost can be counted."""

    def __init__(self, width: int, heads: int, *, causal: bool):
        super().__init__()
        if width % heads:
            raise ValueError(f"width: got {width}; it takes a multiple of the {heads} heads")
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``(batch, n, width)`` to the same; ``mask`` tells which pieces are real."""
        batch, n, width = x.shape
        q, k, v = self.qkv(x).view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if self.causal:
            ahead = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(ahead, -torch.inf)
        elif mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -torch.inf)
        mixed = scores.softmax(-1) @ v
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, n, width))
        return joined


class Block(nn.Module):
    """Attention and a two-layer network, each added to what comes in."""

    def __init__(self, width: int, heads: int, *, causal: bool = False):
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``(batch, n, width)`` to the same; ``mask`` tells which pieces are real."""
        x = x + self.attention(self.norm_attention(x), mask)
        x = x + self.mlp(self.norm_mlp(x))
        return x


class Blocks(nn.Module):
    """Blocks one after the other, all of the same width."""

    def __init__(self, width: int, depth: int, heads: int, *, causal: bool = False):
        super().__init__()
        self.depth = depth
        self.heads = heads
        self.stack = nn.ModuleList(Block(width, heads, causal=causal) for _ in range(depth))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``(batch, n, width)`` to the same; ``mask`` tells which pieces are real."""
        for block in self.stack:
            x = block(x, mask)
        return x


class EmbedIds(nn.Module):
    """A table look-up; a window of ids is the looked-up units side by side, mapped to a piece.

    Units that are names of one thing add up. ``size`` is the length of the vectors to begin with.
    """

    def __init__(self, spec: PieceSpec, width: int, size: float = 1.0):
        super().__init__()
        assert spec.vocabulary is not None
        self.adds = spec.adds
        unit = width if spec.units == 1 or spec.adds else max(8, width // 4)
        self.table = nn.Embedding(spec.vocabulary + 1, unit)
        nn.init.normal_(self.table.weight, std=size * unit**-0.5)
        beside = spec.units > 1 and not spec.adds
        self.join = nn.Linear(spec.units * unit, width) if beside else nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        """``(batch, n)`` or ``(batch, n, units)`` ids to ``(batch, n, width)``."""
        found: Tensor = self.table(ids)
        if self.adds:
            return found.sum(-2)
        joined: Tensor = self.join(found.flatten(2))
        return joined


class EmbedInside(nn.Module):
    """Attention among the units of each piece, and their mean: pieces never see each other."""

    def __init__(self, spec: PieceSpec, width: int, depth: int, heads: int):
        super().__init__()
        self.unit = nn.Linear(spec.shape[0], width)
        self.position = nn.Parameter(torch.randn(math.prod(spec.shape[1:]), width) * 0.02)
        self.blocks = Blocks(width, depth, heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, fragments: Tensor) -> Tensor:
        """``(batch, n, channels, *size)`` fragments to ``(batch, n, width)``."""
        batch, n = fragments.shape[:2]
        x = fragments.flatten(0, 1).flatten(2).transpose(1, 2)
        x = self.blocks(self.unit(x) + self.position, None)
        vectors: Tensor = self.norm(x).mean(1)
        return vectors.view(batch, n, -1)


class EmbedConv(nn.Module):
    """Two convolutions within each piece, halving between, then a linear map to its vector."""

    def __init__(self, spec: PieceSpec, width: int):
        super().__init__()
        axes = len(spec.shape) - 1
        if not 1 <= axes <= 3:
            raise ValueError(f"body conv: takes fragments of 1 to 3 axes, got {axes}")
        conv: type[nn.Module] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[axes - 1]
        channels = (max(4, width // 4), max(8, width // 2))
        self.first = conv(spec.shape[0], channels[0], 3, padding=1)
        self.second = conv(channels[0], channels[1], 3, padding=1)
        # Halved twice, rounded up.
        size = [-(-s // 4) for s in spec.shape[1:]]
        self.join = nn.Linear(channels[1] * math.prod(size), width)

    def forward(self, fragments: Tensor) -> Tensor:
        """``(batch, n, channels, *size)`` fragments to ``(batch, n, width)``."""
        batch, n = fragments.shape[:2]
        x = fragments.flatten(0, 1)
        for conv in (self.first, self.second):
            x = functional.relu(conv(x))
            x = self.pool(x, [min(2, size) for size in x.shape[2:]], ceil_mode=True)
        vectors: Tensor = self.join(x.flatten(1))
        return functional.relu(vectors).view(batch, n, -1)


class Join(nn.Module):
    """Pieces to one vector: a few learned weighings, their mean, or side by side.

    The first two take as many parameters however many pieces there are.
    """

    def __init__(self, merge: str, n: int, width: int):
        super().__init__()
        self.merge = merge
        self.width = {"concat": n * width, "mean": width, "attention": QUERIES * width}[merge]
        if merge == "attention":
            self.query = nn.Linear(width, QUERIES)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``(batch, n, width)`` to one vector a sample; ``mask`` tells which pieces are real."""
        if self.merge == "concat":
            return x.flatten(1)
        if self.merge == "mean" and mask is None:
            return x.mean(1)
        if self.merge == "mean":
            assert mask is not None
            weight = mask.to(x.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
            return (x * weight[..., None]).sum(1)
        scores: Tensor = self.query(x).transpose(1, 2)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], -torch.inf)
        return (scores.softmax(2) @ x).flatten(1)
