"""A middle that joins neighbouring pieces into chunks whose boundaries it learns, as in H-Net.

Pieces that differ from the one before begin a chunk (Hwang et al., 2507.07955: a boundary is as
likely as two projected neighbours are unlike). One block runs over all pieces, the body's blocks
over the chunks only, and each piece is then shown the last chunk that has begun. A ratio loss keeps
chunks at the size asked for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.layers import Block, Blocks

# The weight of the ratio loss beside the problem's own, as in the paper.
_RATIO_WEIGHT = 0.03
# Room for so many times the chunks that are asked for: a fixed cost a step, whatever is learnt.
_ROOM = 1.5


class Chunker(nn.Module):
    """Pieces in, pieces out; in between, blocks over chunks of about ``size`` pieces.

    Parameters
    ----------
    width, depth, heads
        Of the blocks over the chunks.
    size
        Pieces a chunk, on average.
    causal
        Whether a piece may see only those before it and itself.
    """

    def __init__(self, width: int, depth: int, heads: int, size: float, *, causal: bool):
        super().__init__()
        self.size = size
        self.below = Block(width, heads, causal=causal)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.query.weight)
        nn.init.eye_(self.key.weight)
        self.above = Blocks(width, depth, heads, causal=causal)
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Linear(width, width)
        #: What the last pass adds to the loss, so that chunks keep their size.
        self.extra_loss: Tensor | None = None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``(batch, n, width)`` to the same; ``mask`` tells which pieces are real."""
        x = self.below(x, mask)
        chance = self._chances(x)
        held = torch.ones_like(chance, dtype=torch.bool) if mask is None else mask
        begins = (chance > 0.5) & held
        # A text's first place may hold nothing; pieces before any chunk would be shown a later one.
        begins[:, 0] = True
        room = max(1, math.ceil(_ROOM * x.shape[1] / self.size))
        # Which chunk each piece lies in; past the room, the last one goes on.
        chunk = (begins.long().cumsum(1) - 1).clamp(0, room - 1)
        first = begins & (begins.long().cumsum(1) <= room)
        if torch.is_grad_enabled():
            self.extra_loss = self._ratio_loss(chance, begins, held)
        slots = x.new_zeros(x.shape[0], room, x.shape[2])
        places = chunk[..., None].expand_as(x)
        # A chunk is the vector of its first piece.
        slots = slots.scatter_add(1, places, x * first[..., None])
        filled = torch.zeros(x.shape[0], room, dtype=torch.long, device=x.device)
        filled = filled.scatter_add(1, chunk, first.long()) > 0
        chunks = self.norm(self.above(slots, filled))
        # Straight through: the gradient reaches the chances, the value is as if they were sure.
        sure = torch.where(begins, chance, 1 - chance)
        weight = sure + (1 - sure).detach()
        back: Tensor = self.spread(chunks.gather(1, places)) * weight[..., None]
        return x + back

    def _chances(self, x: Tensor) -> Tensor:
        query, key = self.query(x[:, 1:]), self.key(x[:, :-1])
        unlike = (1 - functional.cosine_similarity(query, key, dim=-1)) / 2
        return torch.cat(
            (
                torch.ones_like(unlike[:, :1]) if x.shape[1] > 1 else x.new_ones(x.shape[0], 1),
                unlike,
            ),
            1,
        )

    def _ratio_loss(self, chance: Tensor, begins: Tensor, held: Tensor) -> Tensor:
        total = held.sum().clamp(min=1)
        share = (begins.sum() / total).detach()
        mean = (chance * held).sum() / total
        size = self.size
        loss = size / (size - 1) * ((size - 1) * share * mean + (1 - share) * (1 - mean))
        return _RATIO_WEIGHT * loss
