"""Sums, means or maxima of rows of a sparse table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.embedding import SparseEmbedding

MODES = ("sum", "mean", "max")


class SparseEmbeddingBag(SparseEmbedding):
    """``torch.nn.EmbeddingBag`` over a :class:`SparseEmbedding`: rows are looked up, then reduced.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        As in :class:`SparseEmbedding`.
    mode : {"mean", "sum", "max"}
        How the rows of a bag become one; a bag without ids gives zeros.
    sparsity, mask, device, dtype
        As in :class:`SparseEmbedding`.

    Examples
    --------
    >>> import torch
    >>> bag = SparseEmbeddingBag(100, 16, mode="sum", sparsity=0.75)
    >>> bag(torch.tensor([1, 2, 3]), torch.tensor([0, 2])).shape
    torch.Size([2, 16])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        mode: str = "mean",
        sparsity: float = 0.9,
        mask: Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            sparsity=sparsity,
            mask=mask,
            device=device,
            dtype=dtype,
        )
        if mode not in MODES:
            raise ValueError(f"mode: got {mode!r}, takes one of {MODES}")
        self.mode = mode

    @classmethod
    def from_dense(  # type: ignore[override]
        cls, embedding: nn.EmbeddingBag, mask: Tensor | None = None
    ) -> SparseEmbeddingBag:
        """The sparse form of a bag.

        Parameters
        ----------
        embedding : torch.nn.EmbeddingBag
        mask : (num_embeddings, embedding_dim) bool tensor, optional
            Which values exist; by default those that are not exactly zero.

        Returns
        -------
        SparseEmbeddingBag
            With copies of the values, in their dtype and on their device.

        Raises
        ------
        TypeError
            It is another module, or the mask is not bool.
        ValueError
            ``max_norm``, ``scale_grad_by_freq``, ``padding_idx`` or ``include_last_offset`` is set,
            or the mask has another shape.
        """
        if not isinstance(embedding, nn.EmbeddingBag):
            raise TypeError(f"embedding: got {type(embedding).__name__}, takes EmbeddingBag")
        for option in ("max_norm", "scale_grad_by_freq", "padding_idx", "include_last_offset"):
            value = getattr(embedding, option)
            if value is not None and value is not False:
                raise ValueError(f"embedding: got {option}={value}, takes none")
        weight = embedding.weight.detach()
        mask = weight != 0 if mask is None else mask
        layer = cls(
            *weight.shape, mode=embedding.mode, mask=mask, device=weight.device, dtype=weight.dtype
        )
        with torch.no_grad():
            layer.values.copy_(weight.reshape(-1)[layer._positions()])
        return layer

    def to_dense(self) -> nn.EmbeddingBag:  # type: ignore[override]
        """Copy the table, zeros included, to torch's dense layer.

        Returns
        -------
        torch.nn.EmbeddingBag
        """
        table = super().to_dense().weight.detach()
        rows, columns = self._shape
        return nn.EmbeddingBag(rows, columns, mode=self.mode, _weight=table)

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        """Reduce bags of ids to ``(bags, embedding_dim)``.

        Parameters
        ----------
        input : (bags, length) or (n,) integer tensor
        offsets : (bags,) integer tensor, optional
            Where each bag of ``input (n,)`` begins.
        per_sample_weights : tensor of input's shape, optional
            Factors of the rows, with ``mode="sum"``.

        Returns
        -------
        (bags, embedding_dim) tensor
            Zeros for an empty bag.

        Raises
        ------
        ValueError
            Shapes do not fit, offsets do not ascend from 0, or factors come with another mode.
        """
        if (input.ndim == 1) != (offsets is not None) or input.ndim not in (1, 2):
            raise ValueError(
                f"input: got shape {tuple(input.shape)}, takes (bags, length), or (n,) with offsets"
            )
        rows = super().forward(input)
        if per_sample_weights is not None:
            if self.mode != "sum" or per_sample_weights.shape != input.shape:
                raise ValueError("per_sample_weights: takes input's shape, with mode='sum'")
            rows = rows * per_sample_weights[..., None]
        if offsets is None:
            count = input.shape[1]
            starts = torch.arange(len(input), device=input.device) * count
            rows = rows.reshape(-1, self.embedding_dim)
        else:
            starts = offsets.to(torch.int64)
            if not len(starts) or starts[0] != 0 or bool((starts.diff() < 0).any()):
                raise ValueError("offsets: takes numbers that ascend from 0")
            if int(starts[-1]) > len(rows):
                raise ValueError(f"offsets: got {int(starts[-1])}, takes at most {len(rows)}")
        return self._reduce(rows, starts)

    def _reduce(self, rows: Tensor, starts: Tensor) -> Tensor:
        ends = torch.cat([starts[1:], starts.new_tensor([len(rows)])])
        counts = ends - starts
        numbers = torch.arange(len(starts), device=starts.device)
        bag = torch.repeat_interleave(numbers, counts, output_size=len(rows))
        out = rows.new_zeros((len(starts), self.embedding_dim))
        if self.mode == "max":
            index = bag[:, None].expand_as(rows)
            return out.scatter_reduce(0, index, rows, "amax", include_self=False)
        out = out.index_add(0, bag, rows)
        return out / counts.clamp(min=1)[:, None] if self.mode == "mean" else out
