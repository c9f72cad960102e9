"""Multi-head attention whose four projections are sparse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.sparse.layers.dense_view import view_of
from tokfrag.sparse.layers.linear import SparseLinear

if TYPE_CHECKING:
    from typing_extensions import Self

PROJECTIONS = ("q", "k", "v")


@dataclass(frozen=True)
class Heads:
    """Attention between its projections: scores, masks, dropout and mixing."""

    count: int
    dropout: float
    batch_first: bool

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Mix projected values ``(batch, length, embed)``.

        It takes the masks of ``torch.nn.MultiheadAttention``. Returns what the output projection
        takes, and, if asked, the weights ``(batch, heads, targets, sources)``.
        """
        batch, targets, embed = q.shape
        sources = k.shape[1]
        q, k, v = (
            t.view(batch, -1, self.count, embed // self.count).transpose(1, 2) for t in (q, k, v)
        )
        if is_causal and attn_mask is None:
            raise ValueError("attn_mask: got None with is_causal=True, takes the mask it hints at")
        bias = _merged(key_padding_mask, attn_mask, batch, self.count, targets, sources, q.dtype)
        if not need_weights:
            mixed = functional.scaled_dot_product_attention(q, k, v, bias, self.dropout)
            weights = None
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
            weights = torch.softmax(scores if bias is None else scores + bias, -1)
            if self.dropout:
                weights = functional.dropout(weights, self.dropout)
            mixed = weights @ v
        return mixed.transpose(1, 2).reshape(batch, targets, embed), weights


def _merged(
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    batch: int,
    heads: int,
    targets: int,
    sources: int,
    dtype: torch.dtype,
) -> Tensor | None:
    """Both masks as one that is added to the scores."""
    bias = None
    if attn_mask is not None:
        bias = _additive(attn_mask, dtype)
        if bias.ndim == 3:
            bias = bias.view(batch, heads, targets, sources)
    if key_padding_mask is not None:
        padding = _additive(key_padding_mask, dtype).view(batch, 1, 1, sources)
        bias = padding if bias is None else bias + padding
    return bias


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -torch.inf)


class SparseMultiheadAttention(nn.Module):
    """Multi-head attention with sparse projections, where ``torch.nn.MultiheadAttention`` was.

    Queries, keys, values and outputs each have a :class:`SparseLinear`.

    Parameters
    ----------
    embed_dim, num_heads : int
        As in ``torch.nn.MultiheadAttention``; keys and values may have sizes of their own.
    dropout, bias, kdim, vdim, batch_first
        As in ``torch.nn.MultiheadAttention``.
    sparsity : float
        Share of zeros, at random places, of each projection.
    kernel, device, dtype
        As in :class:`SparseLinear`.

    Examples
    --------
    >>> import torch
    >>> attention = SparseMultiheadAttention(32, 4, sparsity=0.5, batch_first=True)
    >>> x = torch.ones(2, 5, 32)
    >>> y, weights = attention(x, x, x)
    >>> y.shape, weights.shape
    (torch.Size([2, 5, 32]), torch.Size([2, 5, 5]))
    """

    # Torch's encoder layers read it, and leave their fused path where it is false.
    _qkv_same_embed_dim = False

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        *,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        sparsity: float = 0.9,
        kernel: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads: got {num_heads}, takes a divisor of {embed_dim}")
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first = dropout, batch_first

        def product(extent: int) -> SparseLinear:
            return SparseLinear(
                extent,
                embed_dim,
                bias=bias,
                sparsity=sparsity,
                kernel=kernel,
                device=device,
                dtype=dtype,
            )

        self.q_proj, self.k_proj = product(embed_dim), product(self.kdim)
        self.v_proj, self.out_proj = product(self.vdim), product(embed_dim)

    @classmethod
    def from_dense(
        cls,
        attention: nn.MultiheadAttention,
        masks: Mapping[str, Tensor] | None = None,
        *,
        kernel: str = "auto",
    ) -> Self:
        """The sparse form of attention.

        Parameters
        ----------
        attention : torch.nn.MultiheadAttention
        masks : {str: bool tensor}, optional
            Which weights of the projections "q", "k", "v" and "out" exist. Of a projection without
            a mask, those that are not exactly zero.
        kernel : "auto", "sparse" or "dense"
            As in :class:`SparseLinear`.

        Returns
        -------
        SparseMultiheadAttention
            With copies of the weights, in their dtype and on their device.

        Raises
        ------
        TypeError
            It is another module, or a mask is not bool.
        ValueError
            A mask has another shape, or keys and values have added biases (``add_bias_kv``,
            ``add_zero_attn``).
        """
        if not isinstance(attention, nn.MultiheadAttention):
            raise TypeError(f"attention: got {type(attention).__name__}, takes MultiheadAttention")
        if attention.bias_k is not None or attention.add_zero_attn:
            raise ValueError("attention: takes add_bias_kv=False and add_zero_attn=False")
        masks = {} if masks is None else masks
        parts = dense_projections(attention)
        unknown = sorted(set(masks) - set(parts))
        if unknown:
            raise ValueError(f"masks: got {', '.join(unknown)}, takes {', '.join(parts)}")
        layer = cls(
            attention.embed_dim,
            attention.num_heads,
            attention.dropout,
            bias=attention.in_proj_bias is not None,
            kdim=attention.kdim,
            vdim=attention.vdim,
            batch_first=attention.batch_first,
            sparsity=0.99,
        )
        for part, (weight, bias) in parts.items():
            product = SparseLinear.from_weight(weight, bias, masks.get(part), kernel=kernel)
            product.requires_grad_(weight.requires_grad)
            setattr(layer, f"{part}_proj", product)
        return layer

    def to_dense(self) -> nn.MultiheadAttention:
        """Copy the weights, zeros included, to torch's dense layer.

        Returns
        -------
        torch.nn.MultiheadAttention
        """
        like = self.q_proj.dense_weight()
        dense = nn.MultiheadAttention(
            self.embed_dim,
            self.num_heads,
            self.dropout,
            bias=self.q_proj.bias is not None,
            kdim=self.kdim,
            vdim=self.vdim,
            batch_first=self.batch_first,
            device=like.device,
            dtype=like.dtype,
        )
        with torch.no_grad():
            for part, (weight, bias) in dense_projections(dense).items():
                product: SparseLinear = getattr(self, f"{part}_proj")
                weight.copy_(product.dense_weight())
                if bias is not None and product.bias is not None:
                    bias.copy_(product.bias)
        return dense

    @property
    def in_proj_weight(self) -> Tensor | None:
        """The dense input projections one over the other, a read-only copy; None if they differ."""
        if not self.kdim == self.vdim == self.embed_dim:
            return None
        parts = (self.q_proj, self.k_proj, self.v_proj)
        return view_of(torch.cat([part.dense_weight() for part in parts]))

    @property
    def in_proj_bias(self) -> Tensor | None:
        """The biases of the input projections, one after the other."""
        parts = [self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]
        biases: list[Tensor] = [part for part in parts if part is not None]
        return torch.cat(biases) if biases else None

    @property
    def nnz(self) -> int:
        """How many weights are stored, all projections together."""
        parts = (self.q_proj, self.k_proj, self.v_proj, self.out_proj)
        return sum(part.nnz for part in parts)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend as ``torch.nn.MultiheadAttention`` does: the same arguments and results.

        Parameters
        ----------
        query, key, value : (length, batch, size) tensors
            Batch first as asked; unbatched without that axis.
        key_padding_mask : (batch, sources) tensor, optional
            Bool (True: left out) or added to the scores.
        attn_mask : (targets, sources) or (batch * heads, targets, sources) tensor, optional
            Bool (True: left out) or added to the scores.
        is_causal : bool
            A hint that ``attn_mask`` is causal; takes that mask too.
        need_weights, average_attn_weights : bool
            Whether weights are returned, and whether as a mean over the heads.

        Returns
        -------
        tuple
            Outputs, and the weights or None.
        """
        batched = query.ndim == 3
        parts: tuple[Tensor, ...] = (query, key, value)
        if not batched:
            parts = tuple(part.unsqueeze(0) for part in parts)
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            parts = tuple(part.transpose(0, 1) for part in parts)
        products = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (product(part) for product, part in zip(products, parts, strict=True))
        heads = Heads(self.num_heads, self.dropout if self.training else 0.0, self.batch_first)
        mixed, weights = heads.attend(
            q,
            k,
            v,
            key_padding_mask=key_padding_mask,
            attn_mask=attn_mask,
            is_causal=is_causal,
            need_weights=need_weights,
        )
        y = self.out_proj(mixed)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return (y if self.batch_first else y.transpose(0, 1)), weights

    def extra_repr(self) -> str:
        """Name the sizes, for ``repr``.

        Returns
        -------
        str
        """
        return f"{self.embed_dim}, num_heads={self.num_heads}"


def dense_projections(
    attention: nn.MultiheadAttention,
) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Weight and bias of each projection: views of the parameters, by ``"q"``, ``"k"``, ...."""
    packed: Tensor | None = attention.in_proj_weight
    bias: Tensor | None = attention.in_proj_bias
    if packed is not None:
        weights: tuple[Tensor, ...] = packed.chunk(3)
    else:
        weights = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    found = dict(zip(PROJECTIONS, zip(weights, biases, strict=True), strict=True))
    return {**found, "out": (attention.out_proj.weight, attention.out_proj.bias)}
