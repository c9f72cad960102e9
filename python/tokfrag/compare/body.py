"""The network that every cut feeds: embed the pieces, mix them, join them, answer.

What depends on the cut is the first layer (ids are looked up in a table, values go through a
linear map), a position for each piece, and, for text, the answer, which is the table again; all
else has as many parameters for every cut that joins by attention. Bodies: ``attention`` lets all
pieces see each other, ``recurrent`` reads them one after the other, in a ``bag`` none sees another,
``inside`` uses attention within each piece and none across, ``conv`` convolves within each piece;
``mean`` and ``gat`` are layers over a graph of pieces, for tasks that have one.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tokfrag.compare.chunks import Chunker
from tokfrag.compare.contracts import PieceSpec
from tokfrag.compare.fusion import FusedNetwork
from tokfrag.compare.layers import Blocks, EmbedConv, EmbedIds, EmbedInside, Join

#: Layers over a graph, which the task must have.
GRAPH_KINDS = ("mean", "gat")
KINDS = ("attention", "recurrent", "bag", "inside", "conv", *GRAPH_KINDS)
# How long the vectors of a bag are to begin with: what is not known to matter weighs nothing.
_BAG_SIZE = 0.05


class Recurrent(nn.Module):
    """Gated recurrent layers over the pieces: forward, and backward too where all are in sight."""

    def __init__(self, width: int, depth: int, *, causal: bool):
        super().__init__()
        half = width if causal else width // 2
        self.layers = nn.GRU(width, half, depth, batch_first=True, bidirectional=not causal)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``(batch, n, width)`` to the same; ``mask`` tells which pieces are real."""
        if mask is not None:
            x = x * mask[..., None]
        answer: Tensor = x + self.layers(x)[0]
        return answer


class Network(nn.Module):
    """Pieces in, ``outputs`` numbers a sample out, or a piece; or, causal, one vector a piece."""

    def __init__(
        self,
        spec: PieceSpec,
        outputs: int | None,
        embed: nn.Module,
        mix: nn.Module,
        width: int,
        *,
        each: bool = False,
        levels: bool = True,
    ):
        super().__init__()
        self.spec = spec
        self.width = width
        self.embed = embed
        # Without a position a set of pieces is all that mixing and the mean can see.
        self.position = (
            nn.Parameter(torch.randn(spec.n, width) * 0.02)
            if spec.keeps_position or outputs is None
            else None
        )
        self.mix = mix
        # Where all pieces are brought to one length, none can weigh nothing.
        self.norm = nn.LayerNorm(width) if levels else nn.Identity()
        self.join = None if outputs is None or each else Join(spec.merge, spec.n, width)
        joined = width if self.join is None else self.join.width
        self.head = None if outputs is None else nn.Linear(joined, outputs)

    def forward(self, pieces: Tensor) -> Tensor:
        """Pieces to ``(batch, outputs)``, or ``(batch, n, outputs)``, or ``(batch, n, width)``."""
        mask = None
        if self.spec.padded:
            held = pieces.ne(self.spec.vocabulary or 0)
            mask = held if held.dim() == 2 else held.any(-1)
            # A sample with no pieces still needs one to look at.
            mask[:, 0] |= ~mask.any(1)
        x: Tensor = self.embed(pieces.long() if self.spec.vocabulary is not None else pieces)
        if self.position is not None:
            x = x + self.position[: x.shape[1]]
        masked = isinstance(self.mix, (Blocks, Chunker, Recurrent))
        mixed = self.mix(x, mask) if masked else self.mix(x)
        # Recurrent layers give their state beside the answer.
        x = self.norm(mixed[0] if isinstance(mixed, tuple) else mixed)
        if self.head is None:
            return x
        answer: Tensor = self.head(x if self.join is None else self.join(x, mask))
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

    def __call__(self, spec: PieceSpec, outputs: int | None) -> nn.Module:
        self._check(spec)
        if spec.branches:
            if outputs is None or self.middle is not None or self.kind != "attention":
                raise ValueError("fused cuts: take body attention and one answer a sample")
            blocks = Blocks(self.width, self.depth, self.heads)
            return FusedNetwork(spec, outputs, self._embed, blocks, self.width)
        mix = self._mix(spec, causal=outputs is None)
        # In a bag a piece speaks as loud as it has to say, which may be nothing.
        levels = self.kind != "bag" or outputs is None
        embed = self._embed(spec, 1.0 if levels else _BAG_SIZE)
        return Network(spec, outputs, embed, mix, self.width, levels=levels)

    def each(self, spec: PieceSpec, outputs: int) -> nn.Module:
        """A network that answers for each piece, all pieces in sight."""
        self._check(spec)
        if spec.branches:
            raise ValueError("fused cuts: take one answer a sample, not one a piece")
        mix = self._mix(spec, causal=False)
        return Network(spec, outputs, self._embed(spec), mix, self.width, each=True)

    def _check(self, spec: PieceSpec) -> None:
        if self.kind in GRAPH_KINDS:
            raise ValueError(f"body {self.kind}: takes a graph of pieces, as the task sensors has")
        values_only = self.kind in ("inside", "conv")
        if values_only and (spec.vocabulary is not None or len(spec.shape) < 2):
            raise ValueError(
                f"body {self.kind}: works inside fragments of values; tokens are single units, "
                "so compare them with body attention or recurrent"
            )
        if spec.chunk and (self.kind != "attention" or self.middle is not None):
            raise ValueError("learnt chunks: take body attention, which their boundaries are in")

    def _embed(self, spec: PieceSpec, size: float = 1.0) -> nn.Module:
        if self.kind == "inside":
            return EmbedInside(spec, self.width, self.depth, self.heads)
        if self.kind == "conv":
            return EmbedConv(spec, self.width)
        if spec.vocabulary is not None:
            return EmbedIds(spec, self.width, size)
        return nn.Sequential(nn.Flatten(2), nn.Linear(spec.units, self.width))

    def _mix(self, spec: PieceSpec, *, causal: bool) -> nn.Module:
        if self.kind in ("bag", "inside", "conv"):
            return nn.Identity()
        if self.middle is not None:
            return self._copy_of_middle()
        if spec.chunk:
            return Chunker(self.width, self.depth, self.heads, spec.chunk, causal=causal)
        if self.kind == "recurrent":
            return Recurrent(self.width, self.depth, causal=causal)
        return Blocks(self.width, self.depth, self.heads, causal=causal)

    def _copy_of_middle(self) -> nn.Module:
        middle = deepcopy(self.middle)
        assert middle is not None
        for module in middle.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
        return middle
