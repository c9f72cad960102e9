"""A table of sparse rows, looked up by id."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.dense_view import view_of
from tokfrag.sparse.layers.stored import (
    StoredMatrix,
    check_dtype,
    check_mask,
    check_size,
    check_sparsity,
    random_mask,
)
from tokfrag.sparse.products import lookup, operators
from tokfrag.sparse.products.lookup import DIM_LIMIT, check_device


class SparseEmbedding(StoredMatrix):
    """An embedding table with stored non-zeros only: ``y[...] = table[ids[...]]``.

    A dense table is not sparse by being an embedding (only its *gradient* touches few rows); this
    one is, and is smaller by that. Rows are stored as compressed sparse rows. On a CUDA device the
    lookup and its gradient are composed of torch's operators.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns of the table; ``embedding_dim`` up to 32768.
    sparsity : float, 0 to less than 1
        Share of the table that is zero, at random places; not used when ``mask`` is given.
    mask : (num_embeddings, embedding_dim) bool tensor, optional
        Which values exist.
    device, dtype
        Of the values; float32, float64, float16 or bfloat16.

    Raises
    ------
    IndexError
        For ids outside ``[0, num_embeddings)``.
    ValueError, TypeError
        For sizes, sparsity or masks of the wrong value, shape or dtype; ids on another device than
        the table.

    Examples
    --------
    >>> import torch
    >>> table = SparseEmbedding(100, 16, sparsity=0.75)
    >>> table(torch.tensor([[1, 2, 3]])).shape, table.nnz
    (torch.Size([1, 3, 16]), 400)
    """

    _PLACES = ("local", "offsets")

    offsets: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        sparsity: float = 0.9,
        mask: Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = check_size("num_embeddings", num_embeddings)
        self.embedding_dim = check_size("embedding_dim", embedding_dim)
        if embedding_dim > DIM_LIMIT:
            raise ValueError(f"embedding_dim: got {embedding_dim}, takes 1 to {DIM_LIMIT}")
        self.padding_idx: int | None = None  # a row without values, so without gradients
        dtype = torch.get_default_dtype() if dtype is None else dtype
        check_dtype(dtype, "dtype")
        check_sparsity(sparsity)
        shape = (self.num_embeddings, self.embedding_dim)
        mask = random_mask(*shape, sparsity) if mask is None else check_mask(mask, shape)
        counts = mask.sum(1, dtype=torch.int64)
        offsets = torch.zeros(shape[0] + 1, dtype=torch.int64, device=mask.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        self.register_buffer("offsets", offsets.to(device))
        self.register_buffer("local", mask.nonzero()[:, 1].to(torch.int16).to(device))
        self.values = nn.Parameter(torch.empty(self.local.numel(), dtype=dtype, device=device))
        nn.init.normal_(self.values)

    @classmethod
    def from_dense(cls, embedding: nn.Embedding, mask: Tensor | None = None) -> SparseEmbedding:
        """The sparse form of a table.

        Parameters
        ----------
        embedding : torch.nn.Embedding
            Its ``padding_idx`` is kept; the mask must leave that row empty.
        mask : (num_embeddings, embedding_dim) bool tensor, optional
            Which values exist; by default those that are not exactly zero.

        Returns
        -------
        SparseEmbedding
            With copies of the values, in their dtype and on their device.

        Raises
        ------
        TypeError
            It is no embedding, the mask is not bool, or the dtype is none of the four.
        ValueError
            The mask has another shape; ``max_norm`` or ``scale_grad_by_freq`` is set; the mask
            keeps values of the padding row.
        """
        if not isinstance(embedding, nn.Embedding):
            raise TypeError(f"embedding: got {type(embedding).__name__}, takes torch.nn.Embedding")
        if embedding.max_norm is not None:
            raise ValueError(f"embedding: got max_norm={embedding.max_norm}, takes None")
        if embedding.scale_grad_by_freq:
            raise ValueError("embedding: got scale_grad_by_freq=True, takes False")
        weight = embedding.weight.detach()
        check_dtype(weight.dtype, "weight")
        if mask is None:
            mask = weight != 0
        mask = check_mask(mask, (weight.shape[0], weight.shape[1]))
        padding = embedding.padding_idx
        if padding is not None and bool(mask[padding].any()):
            raise ValueError(
                f"embedding: got padding_idx={padding} with non-zeros in that row, takes a row of "
                "zeros, which stays as it is"
            )
        layer = cls(
            weight.shape[0],
            weight.shape[1],
            mask=mask.to(weight.device),
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            layer.values.copy_(weight.reshape(-1)[layer._positions()])
        layer.padding_idx = padding
        return layer

    def to_dense(self) -> nn.Embedding:
        """Copy the table, zeros included, to torch's dense layer.

        Returns
        -------
        torch.nn.Embedding
        """
        table = torch.zeros(
            self.num_embeddings * self.embedding_dim,
            dtype=self.values.dtype,
            device=self.values.device,
        )
        table[self._positions()] = self.values.detach()
        table = table.view(self.num_embeddings, self.embedding_dim)
        return nn.Embedding(
            self.num_embeddings, self.embedding_dim, padding_idx=self.padding_idx, _weight=table
        )

    def _positions(self) -> Tensor:
        return lookup.positions_of(self.offsets, self.local, self.embedding_dim)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.num_embeddings, self.embedding_dim

    def _check_places(self, values: Tensor, places: Sequence[Tensor]) -> None:
        local, offsets = places
        rows = self.num_embeddings + 1
        if offsets.shape != (rows,):
            raise ValueError(f"offsets: got shape {tuple(offsets.shape)}, takes ({rows},)")
        if values.device.type != "meta":
            try:
                lookup.rows_of(local, offsets, self.embedding_dim)
            except ValueError as error:
                raise ValueError(
                    f"local and offsets do not describe rows of {self._shape}: {error}"
                ) from None

    @property
    def weight(self) -> Tensor:
        """The dense table ``(num_embeddings, embedding_dim)``, made on each read and read-only."""
        rows, columns = self._shape
        flat = self.values.new_zeros(rows * columns)
        return view_of(flat.index_put((self._positions(),), self.values).view(rows, columns))

    def forward(self, input: Tensor) -> Tensor:
        """Look up the rows of ids.

        Parameters
        ----------
        input : (...) tensor, int64, int32, int16 or uint8
            Ids, on the table's device.

        Returns
        -------
        (..., embedding_dim) tensor

        Raises
        ------
        TypeError
            Ids are no integers.
        ValueError
            Ids lie on another device than the table, or neither on a CPU nor on a CUDA device.
        IndexError
            An id is outside ``[0, num_embeddings)``.
        """
        ids = input
        if ids.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8):
            raise TypeError(f"ids: got {ids.dtype}, takes an integer dtype")
        if not (ids.is_cpu or ids.is_cuda or ids.is_meta):
            raise ValueError(f"{self}: got ids on {ids.device}, takes cpu or cuda")
        check_device(ids, self.values)
        return operators.lookup(ids, self.values, self.offsets, self.local, self.embedding_dim)

    def extra_repr(self) -> str:
        """Name the sizes, for ``repr``.

        Returns
        -------
        str
        """
        return f"{self.num_embeddings}, {self.embedding_dim}, nnz={self.nnz}"
