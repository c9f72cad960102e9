"""The network that every cut feeds: embed the pieces, mix them, join them, answer.

What depends on the cut is the first layer (ids are looked up in a table, values go through a
linear map), a position for each piece, and, for text, the answer, which is the table again; all
else has as many parameters for every cut that joins by attention. Three bodies: ``attention`` lets
all pieces see each other, ``inside`` uses attention within each piece and none across, ``conv``
convolves within each piece.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.contracts import Model, PieceSpec

KINDS = ("attention", "inside", "conv")
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
    """A table look-up; a window of ids is the looked-up units side by side, mapped to a piece."""

    def __init__(self, spec: PieceSpec, width: int):
        super().__init__()
        assert spec.vocabulary is not None
        unit = width if spec.units == 1 else max(8, width // 4)
        self.table = nn.Embedding(spec.vocabulary + 1, unit)
        # The table is the head of a text's network too, so vectors of length one to begin with.
        nn.init.normal_(self.table.weight, std=unit**-0.5)
        self.join = nn.Identity() if spec.units == 1 else nn.Linear(spec.units * unit, width)

    def forward(self, ids: Tensor) -> Tensor:
        """``(batch, n)`` or ``(batch, n, units)`` ids to ``(batch, n, width)``."""
        found = self.table(ids)
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


class Network(nn.Module):
    """Pieces in, ``outputs`` numbers a sample out; or, causal, one vector a piece."""

    def __init__(
        self,
        spec: PieceSpec,
        outputs: int | None,
        embed: nn.Module,
        mix: nn.Module,
        width: int,
    ):
        super().__init__()
        self.spec = spec
        self.embed = embed
        # Without a position a set of pieces is all that mixing and the mean can see.
        self.position = (
            nn.Parameter(torch.randn(spec.n, width) * 0.02)
            if spec.keeps_position or outputs is None
            else None
        )
        self.mix = mix
        self.norm = nn.LayerNorm(width)
        self.join = None if outputs is None else Join(spec.merge, spec.n, width)
        self.head = None if self.join is None else nn.Linear(self.join.width, outputs or 0)

    def forward(self, pieces: Tensor) -> Tensor:
        """Pieces to ``(batch, outputs)``, or ``(batch, n, width)`` where none are asked for."""
        mask = None
        if self.spec.padded:
            held = pieces.ne(self.spec.vocabulary or 0)
            mask = held if held.dim() == 2 else held.any(-1)
            # A sample with no pieces still needs one to look at.
            mask[:, 0] |= ~mask.any(1)
        x: Tensor = self.embed(pieces.long() if self.spec.vocabulary is not None else pieces)
        if self.position is not None:
            x = x + self.position[: x.shape[1]]
        mixed = self.mix(x, mask) if isinstance(self.mix, Blocks) else self.mix(x)
        # Recurrent layers give their state beside the answer.
        x = self.norm(mixed[0] if isinstance(mixed, tuple) else mixed)
        if self.join is None or self.head is None:
            return x
        answer: Tensor = self.head(self.join(x, mask))
        return answer


@dataclass(frozen=True)
class Body:
    """The shipped network, one for all cuts: ``Body(kind)(spec, outputs)`` builds it.

    ``middle`` puts a module of one's own, from ``(batch, n, width)`` to the same, in the place
    where pieces are mixed; every row gets a fresh copy.
    """

    kind: str = "attention"
    width: int = 64
    depth: int = 2
    heads: int = 4
    middle: nn.Module | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"body: got {self.kind!r}; it takes one of {', '.join(KINDS)}")

    def __call__(self, spec: PieceSpec, outputs: int | None) -> Network:
        causal = outputs is None
        if self.kind != "attention" and (spec.vocabulary is not None or len(spec.shape) < 2):
            raise ValueError(
                f"body {self.kind}: works inside fragments of values; tokens are single units, "
                "so compare them with body attention"
            )
        embed: nn.Module
        mix: nn.Module = nn.Identity()
        if self.kind == "inside":
            embed = EmbedInside(spec, self.width, self.depth, self.heads)
        elif self.kind == "conv":
            embed = EmbedConv(spec, self.width)
        else:
            embed = (
                EmbedIds(spec, self.width)
                if spec.vocabulary is not None
                else nn.Sequential(nn.Flatten(2), nn.Linear(spec.units, self.width))
            )
            mix = (
                Blocks(self.width, self.depth, self.heads, causal=causal)
                if self.middle is None
                else self._copy_of_middle()
            )
        return Network(spec, outputs, embed, mix, self.width)

    def _copy_of_middle(self) -> nn.Module:
        middle = deepcopy(self.middle)
        assert middle is not None
        for module in middle.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
        return middle


def as_model(value: object, width: int = 64) -> Model:
    """The body from its name, a module for the middle, a function ``(spec, outputs)``, or None."""
    if value is None:
        return Body(width=width)
    if isinstance(value, str):
        return Body(value, width=width)
    if isinstance(value, nn.Module):
        found = getattr(value, "width", None) or getattr(value, "input_size", None)
        if found is None:
            first = next((m for m in value.modules() if isinstance(m, nn.Linear)), None)
            found = 64 if first is None else first.in_features
        return Body(width=int(found), middle=value)
    if callable(value):
        return value
    raise TypeError(
        f"model: got {type(value).__name__}; it takes one of {', '.join(KINDS)}, an nn.Module "
        "from (batch, n, width) to the same, or a function (spec, outputs) -> nn.Module"
    )
