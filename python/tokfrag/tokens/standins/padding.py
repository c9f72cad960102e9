"""Padding of rows that are encoded already, as data collators ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tokfrag.tokens.batch_encoding import BatchEncoding


def pad_rows(
    encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    fillers: Mapping[str, int],
    padding: bool | str,
    max_length: int | None,
    multiple: int,
    side: str,
    with_mask: bool,
    return_tensors: str | None,
) -> BatchEncoding:
    """Pad one row, a batch by columns, or a list of rows.

    Parameters
    ----------
    encoded
        With ``input_ids``; what has no filler goes through as it is.
    fillers
        What each column is filled with.
    padding
        ``True`` or ``"longest"``, ``"max_length"``, ``False`` or ``"do_not_pad"``.
    max_length
        Of ``padding="max_length"``.
    multiple
        Lengths are rounded up to one.
    side
        ``"right"`` or ``"left"``.
    with_mask
        Whether ``attention_mask`` is made and filled; one that is there stays as it is, if not.
    return_tensors
        None for lists, ``"np"`` or ``"pt"``.

    Raises
    ------
    ValueError
        ``input_ids`` are missing, columns differ in length, or an option is none of these.
    """
    if side not in ("left", "right"):
        raise ValueError(f"padding_side: got {side!r}, takes 'left' or 'right'")
    if padding not in (True, False, "longest", "max_length", "do_not_pad"):
        raise ValueError(
            f"padding: got {padding!r}, takes True, False, 'longest', 'max_length' or 'do_not_pad'"
        )
    columns = _columns(encoded)
    if "input_ids" not in columns:
        raise ValueError(f"encoded_inputs: has {sorted(columns)}, takes input_ids")
    one = len(columns["input_ids"]) > 0 and np.ndim(columns["input_ids"][0]) == 0
    if one:
        columns = {name: [value] for name, value in columns.items()}
    lengths = [len(row) for row in columns["input_ids"]]
    for name, values in columns.items():
        if len(values) != len(lengths):
            raise ValueError(
                f"encoded_inputs: {name} has {len(values)} rows, input_ids {len(lengths)}"
            )
    if with_mask:
        columns.setdefault("attention_mask", [[1] * length for length in lengths])
    width = None
    if padding in (True, "longest"):
        width = max(lengths, default=0)
    elif padding == "max_length" and max_length is not None:
        width = max_length
    if width is not None:
        width = -(-width // multiple) * multiple
    if not with_mask:
        fillers = {name: filler for name, filler in fillers.items() if name != "attention_mask"}
    result = BatchEncoding()
    for name, values in columns.items():
        rows = values
        if name in fillers:
            rows = [_filled(row, fillers[name], width, side) for row in values]
        rows = [_plain(row) for row in rows]
        result[name] = as_kind(rows[0] if one and return_tensors is None else rows, return_tensors)
    return result


def as_kind(rows: Any, kind: str | None) -> Any:
    """Rows as lists, an array or a tensor; whole numbers are int64."""
    if kind is None:
        return rows
    if kind not in ("np", "pt"):
        raise ValueError(f"return_tensors: got {kind!r}, takes None, 'np' or 'pt'")
    array = np.array(rows)
    if (array.dtype.kind in "iub" and array.dtype != np.bool_) or array.size == 0:
        array = array.astype(np.int64)
    if kind == "np":
        return array
    import torch

    return torch.from_numpy(array)


def _columns(encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(encoded, Mapping):
        return dict(encoded)
    if not encoded:
        return {"input_ids": []}
    return {name: [row[name] for row in encoded] for name in encoded[0]}


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def _filled(row: Any, filler: int, width: int | None, side: str) -> list[int]:
    items = [int(item) for item in _plain(row)]
    missing = [filler] * max(0, (width or 0) - len(items))
    return items + missing if side == "right" else missing + items


__all__ = ["as_kind", "pad_rows"]
