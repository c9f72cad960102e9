"""Two cuts of the same samples in one network: a token branch and a fragment branch, fused.

The pieces of both stand in one row of numbers; each branch has its own first layer, positions and
a mark of its own, and the body mixes all pieces together.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tokfrag.compare.contracts import PieceSpec
from tokfrag.compare.layers import Blocks, Join


class FusedNetwork(nn.Module):
    """Pieces of several cuts in, ``outputs`` numbers a sample out.

    Parameters
    ----------
    spec
        Its ``branches`` say what lies in a row of numbers, one after the other.
    outputs
        Numbers a sample.
    embed
        Builds the first layer of one branch.
    blocks
        What mixes the pieces of all.
    width
        Of a piece's vector.
    """

    def __init__(
        self,
        spec: PieceSpec,
        outputs: int,
        embed: Callable[[PieceSpec], nn.Module],
        blocks: Blocks,
        width: int,
    ):
        super().__init__()
        self.branches = spec.branches
        self.embeds = nn.ModuleList(embed(branch) for branch in spec.branches)
        n = sum(branch.n for branch in spec.branches)
        self.position = nn.Parameter(torch.randn(n, width) * 0.02)
        self.mark = nn.Parameter(torch.randn(len(spec.branches), width) * 0.02)
        self.mix = blocks
        self.norm = nn.LayerNorm(width)
        self.join = Join(spec.merge, n, width)
        self.head = nn.Linear(self.join.width, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """``(batch, 1, numbers)`` to ``(batch, outputs)``."""
        vectors, masks = [], []
        begin = 0
        for i, (branch, embed) in enumerate(zip(self.branches, self.embeds, strict=True)):
            end = begin + branch.n * math.prod(branch.shape)
            held = rows[:, 0, begin:end].reshape(len(rows), branch.n, *branch.shape)
            begin = end
            if branch.vocabulary is None:
                masks.append(held.new_ones(held.shape[:2], dtype=torch.bool))
                vectors.append(embed(held) + self.mark[i])
                continue
            ids = held.long()
            real = ids.ne(branch.vocabulary)
            masks.append(real if real.dim() == 2 else real.any(-1))
            vectors.append(embed(ids) + self.mark[i])
        mask = torch.cat(masks, 1)
        # A sample with no pieces still needs one to look at.
        mask[:, 0] |= ~mask.any(1)
        x = self.norm(self.mix(torch.cat(vectors, 1) + self.position, mask))
        answer: Tensor = self.head(self.join(x, mask))
        return answer
