"""Documents in rows, as numbers for attention and for a loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.stream.patches import Patches

if TYPE_CHECKING:
    import torch
    from torch.nn.attention.flex_attention import BlockMask


@dataclass(frozen=True, eq=False)
class Packed:
    """Documents in rows.

    A *segment* is the part of one document that lies in one row; a row's padding is a segment of
    its own, so that segments cover every place.

    Attributes
    ----------
    ids : (rows, length) array, int64 or int32
    cu_seqlens : (segments + 1,) array, int32
        Where segments begin in the flattened rows, and where the last one ends.
    max_seqlen : int
        The longest segment.
    position_ids : (rows, length) array, int64
        Counts from 0 in each segment. With ``positions`` given to :func:`pack`: theirs, of shape
        ``(rows, length)`` or ``(axes, rows, length)``; 0 where a row is padded.
    document_ids : (rows, length) array, int32
        The number of the document; -1 where a row is padded.
    loss_mask : (rows, length) array, bool
        True where there is a token of a document: neither padding nor an image's place.
    cropped : int
        Tokens left out because they were beyond ``length`` (``overlong="crop"``).
    patches : Patches or None
        Of the images, in the order of their places (:class:`PackedLoader` with image sources).

    Examples
    --------
    >>> from tokfrag import pack
    >>> packed = pack([[5, 6, 7], [8, 9]], 4)
    >>> packed.select(np.array([1])).ids.tolist() == packed.rows(1, 2).ids.tolist()
    True
    >>> packed.to_torch()["ids"].tolist() == packed.ids.tolist()
    True
    """

    ids: NDArray[Any]
    cu_seqlens: NDArray[np.int32]
    max_seqlen: int
    position_ids: NDArray[np.int64]
    document_ids: NDArray[np.int32]
    loss_mask: NDArray[np.bool_]
    cropped: int = 0
    patches: Patches | None = None

    def __repr__(self) -> str:
        rows, length = self.ids.shape
        images = f", {self.patches!r}" if self.patches is not None else ""
        return f"Packed({rows} rows of {length}, {self.fill:.1%} full{images})"

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.ids)

    @property
    def fill(self) -> float:
        """The share of places that are not padding; 1 where there is no row."""
        return float((self.document_ids >= 0).mean()) if self.document_ids.size else 1.0

    def rows(self, begin: int, end: int) -> Packed:
        """Give some rows alone, as views.

        Parameters
        ----------
        begin, end : int
            The first row, and the one after the last; 0 to the number of rows.

        Returns
        -------
        Packed

        Raises
        ------
        ValueError
            They are out of this range, or not in order; the batch has images.
        """
        self._refuse_images("rows")
        if not 0 <= begin <= end <= len(self):
            raise ValueError(f"begin, end: got {begin} and {end}, takes 0 to {len(self)} in order")
        length = self.ids.shape[1]
        first, last = np.searchsorted(self.cu_seqlens, (begin * length, end * length))
        bounds = self.cu_seqlens[first : last + 1] - self.cu_seqlens[first]
        return replace(
            self,
            ids=self.ids[begin:end],
            cu_seqlens=bounds,
            max_seqlen=int(np.diff(bounds).max(initial=0)),
            position_ids=self.position_ids[..., begin:end, :],
            document_ids=self.document_ids[begin:end],
            loss_mask=self.loss_mask[begin:end],
        )

    def select(self, rows: NDArray[np.int64]) -> Packed:
        """Give some rows, in the order of their numbers, as copies.

        Parameters
        ----------
        rows : (count,) array, int64
            Numbers of rows, from 0.

        Returns
        -------
        Packed

        Raises
        ------
        IndexError
            There is no row of such a number.
        TypeError
            They are no integers: a mask, for one.
        ValueError
            The batch has images.
        """
        self._refuse_images("select")
        given = np.asarray(rows)
        if given.size and (given.ndim != 1 or given.dtype.kind not in "iu"):
            raise TypeError(
                f"rows: got {given.dtype} of shape {given.shape}, takes one row of integers"
            )
        rows = given.astype(np.int64)
        if ((rows < 0) | (rows >= len(self))).any():
            raise IndexError(f"rows: got {rows.tolist()}, takes numbers from 0 to {len(self) - 1}")
        length = self.ids.shape[1]
        owner = self.cu_seqlens[:-1] // length
        order = np.concatenate(
            [np.empty(0, np.int64)]
            + [np.arange(*np.searchsorted(owner, (row, row + 1))) for row in rows]
        )
        counts = np.diff(self.cu_seqlens)[order]
        return replace(
            self,
            ids=self.ids[rows],
            cu_seqlens=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            max_seqlen=int(counts.max(initial=0)),
            position_ids=self.position_ids[..., rows, :],
            document_ids=self.document_ids[rows],
            loss_mask=self.loss_mask[rows],
        )

    def labels(self, ignore: int = -100) -> NDArray[Any]:
        """Give the ids as training targets: (rows, length), `ignore` where nothing is to predict.

        That is padding, and the first token of each segment, which no token of its document
        precedes.

        Parameters
        ----------
        ignore : int
            Torch's losses pass over -100.

        Returns
        -------
        (rows, length) array

        Examples
        --------
        >>> from tokfrag import pack
        >>> pack([[5, 6, 7], [8, 9]], 6).labels().tolist()
        [[-100, 6, 7, -100, 9, -100]]
        """
        first = np.zeros(self.ids.size, bool)
        first[self.cu_seqlens[:-1]] = True
        return np.where(self.loss_mask & ~first.reshape(self.ids.shape), self.ids, ignore)

    def attention_mask(self, *, causal: bool = True) -> NDArray[np.bool_]:
        """Say which place may look at which.

        Padding may look at padding alone, so that no row of a softmax is empty.

        Parameters
        ----------
        causal : bool
            Whether no place looks at a later one.

        Returns
        -------
        (rows, length, length) array, bool
            True where the place of axis 1 may look at the place of axis 2.

        Examples
        --------
        >>> from tokfrag import pack
        >>> pack([[5, 6], [7]], 3).attention_mask().astype(int).tolist()
        [[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]
        """
        segments = self._segments()
        allowed: NDArray[np.bool_] = segments[:, :, None] == segments[:, None, :]
        if causal:
            allowed &= np.tri(self.ids.shape[1], dtype=bool)
        return allowed

    def varlen_arguments(self) -> dict[str, Any]:
        """Give flash-attention's varlen arguments, as tensors, for queries and keys of all places.

        Returns
        -------
        dict
            Under the names that ``flash_attn_varlen_func`` takes: bounds of segments (int32
            tensors on the CPU) and the longest segment.
        """
        import torch

        bounds = torch.from_numpy(self.cu_seqlens)
        return {
            "cu_seqlens_q": bounds,
            "cu_seqlens_k": bounds,
            "max_seqlen_q": self.max_seqlen,
            "max_seqlen_k": self.max_seqlen,
        }

    def block_mask(self, *, causal: bool = True, device: str = "cpu") -> BlockMask:
        """Make the mask that ``torch.nn.attention.flex_attention`` takes: one a row.

        Parameters
        ----------
        causal : bool
            As in :meth:`attention_mask`.
        device : str
            Where the mask lies.

        Returns
        -------
        BlockMask
        """
        import torch
        from torch.nn.attention.flex_attention import create_block_mask

        segments = torch.from_numpy(self._segments()).to(device)

        def same(row: Any, head: Any, query: Any, key: Any) -> Any:
            allowed = segments[row, query] == segments[row, key]
            return allowed & (query >= key) if causal else allowed

        rows, length = self.ids.shape
        return create_block_mask(same, rows, None, length, length, device=device)

    def to_torch(
        self, device: str = "cpu", *, non_blocking: bool = False
    ) -> dict[str, torch.Tensor | int]:
        """Give all arrays as tensors; on the CPU they share this memory.

        Parameters
        ----------
        device : str
            Where the tensors lie.
        non_blocking : bool
            Whether copies from pinned memory go on while the caller does.

        Returns
        -------
        dict
            The attributes by their names, ``max_seqlen`` as an int. With images also those of the
            patches: ``pixel_values``, ``image_grid_thw``, ``image_cu_seqlens`` and
            ``image_positions``.
        """
        import torch

        made: dict[str, torch.Tensor | int] = {"max_seqlen": self.max_seqlen}
        for name, array in self._arrays().items():
            tensor = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
            made[name] = tensor.to(device, non_blocking=non_blocking)
        return made

    def pin_memory(self) -> Packed:
        """Give the batch in memory that a device copies from while the caller goes on.

        Returns
        -------
        Packed
            Its arrays are views of pinned tensors; torch's ``DataLoader`` knows this method too.

        Raises
        ------
        RuntimeError
            Torch finds no accelerator.
        """
        import torch

        def pinned(array: Any) -> Any:
            if isinstance(array, np.ndarray):
                return torch.from_numpy(array).pin_memory().numpy()
            return array.pin_memory()

        made = replace(self, **{name: pinned(getattr(self, name)) for name in _ARRAYS})
        if self.patches is None:
            return made
        patches = self.patches
        fields = {name: pinned(getattr(patches, name)) for name in _PATCH_ARRAYS.values()}
        return replace(made, patches=replace(patches, **fields))

    def _arrays(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if self.patches is not None:
            arrays.update((to, getattr(self.patches, name)) for to, name in _PATCH_ARRAYS.items())
        return arrays

    def _refuse_images(self, name: str) -> None:
        if self.patches is not None and len(self.patches.grid_thw):
            raise ValueError(f"{name}: takes a batch without images, whose patches go by batch")

    def _segments(self) -> NDArray[np.int32]:
        """The number of each place's segment: (rows, length)."""
        counts = np.diff(self.cu_seqlens)
        numbers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return numbers.reshape(self.ids.shape)


_ARRAYS = ("ids", "cu_seqlens", "position_ids", "document_ids", "loss_mask")
_PATCH_ARRAYS = {
    "pixel_values": "values",
    "image_grid_thw": "grid_thw",
    "image_cu_seqlens": "cu_seqlens",
    "image_positions": "positions",
}
