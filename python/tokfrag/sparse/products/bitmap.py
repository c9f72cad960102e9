"""Products with weights kept row by row under a bitmap: what decoding reads, in the fewest bytes.

The stored form is described in ``csrc/sparse/bitmap.hpp`` and, as plain loops, in
:mod:`tokfrag.reference.bitmap`. Values are floats, or codes of eight bits with a scale a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tokfrag._core import sparse as _native
from tokfrag._operators import define, implement, transformed
from tokfrag.sparse.products import planner
from tokfrag.sparse.products.contest import batch_bucket
from tokfrag.sparse.products.operators import direct
from tokfrag.sparse.products.products import ELEMENTS, threads
from tokfrag.sparse.products.remembered import Remembered, own_copy

WORD_COLUMNS = _native.WORD_COLUMNS
#: Up to so many inputs are worked on row by row, more by tiles.
FEW_INPUTS = _native.FEW_INPUTS
#: Dtypes of values, by name; codes take inputs of any of the others.
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}
_MOST_CODE = 127
_VERSION = torch.__version__


@dataclass(eq=False, frozen=True)
class Form:
    """A bitmap, checked: a copy on the CPU that no caller can write to, and where rows begin."""

    bitmap: Tensor
    native: _native.Bitmap


def _derive(bitmap: Tensor, _: Tensor, columns: int) -> Form:
    if bitmap.dtype != torch.int64:
        raise TypeError(f"bitmap: got {bitmap.dtype}, takes int64")
    words = -(-columns // WORD_COLUMNS)
    if bitmap.ndim != 2 or bitmap.shape[1] != words:
        raise ValueError(f"bitmap: got shape {tuple(bitmap.shape)}, takes (rows, {words})")
    copy = own_copy(bitmap).contiguous()
    return Form(copy, _native.Bitmap(copy.data_ptr(), len(copy), columns))


_form_of = Remembered(_derive)


def form_of(bitmap: Tensor, columns: int) -> Form:
    """The checked form of a bitmap ``(rows, words)``, derived once."""
    return _form_of(bitmap, bitmap, columns)


def pack_bitmap(mask: Tensor) -> Tensor:
    """The bitmap ``(rows, words)``, int64, of a boolean mask ``(rows, columns)``."""
    rows, columns = mask.shape
    flags = mask.detach().to("cpu", torch.uint8).contiguous()
    bitmap = torch.zeros((rows, -(-columns // WORD_COLUMNS)), dtype=torch.int64, device="cpu")
    _native.encode_bitmap(flags.data_ptr(), rows, columns, bitmap.data_ptr())
    return bitmap.to(mask.device)


def mask_of(bitmap: Tensor, columns: int) -> Tensor:
    """The boolean mask ``(rows, columns)`` of a bitmap, by torch's operators."""
    bits = torch.arange(WORD_COLUMNS, device=bitmap.device)
    return ((bitmap.unsqueeze(-1) >> bits) & 1).flatten(1)[:, :columns].bool()


def group_words(words: int, groups: int) -> int:
    """How many words of 64 columns share a scale: the power of two that makes so many groups."""
    shared = 1
    while -(-words // shared) > max(1, groups):
        shared *= 2
    if max(1, -(-words // shared)) != groups:
        raise ValueError(
            f"scales: got {groups} a row of {words} words, takes one for 1, 2, 4, 8, ... words"
        )
    return shared


def encode(weight: Tensor, mask: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Codes ``(nnz,)`` and scales ``(rows, groups)`` of a weight, ``group`` columns a scale.

    A scale is a 127th of the largest magnitude of its group, so that none is cut off.
    """
    columns = weight.shape[1]
    kept = torch.where(mask, weight, 0).float()
    parts = functional.pad(kept, (0, -columns % group)).view(len(kept), -(-columns // group), group)
    scales = parts.abs().amax(-1) / _MOST_CODE
    divisors = torch.where(scales > 0, scales, 1)
    levels = (parts / divisors.unsqueeze(-1)).flatten(1)[:, :columns]
    return torch.round(levels)[mask].to(torch.int8), scales


def expand(values: Tensor, scales: Tensor | None, bitmap: Tensor, columns: int) -> Tensor:
    """The dense matrix, by torch's operators: float32 of codes, else in the dtype of the values."""
    mask = mask_of(bitmap, columns)
    if scales is None:
        return values.new_zeros(mask.shape).masked_scatter(mask, values)
    codes = torch.zeros(mask.shape, device=values.device).masked_scatter(mask, values.float())
    group = group_words(bitmap.shape[1], scales.shape[1]) * WORD_COLUMNS
    return codes * scales.repeat_interleave(group, 1)[:, :columns]


def _check(x: Tensor, values: Tensor, scales: Tensor | None, bitmap: Tensor, columns: int) -> None:
    if values.device != x.device:
        raise ValueError(
            f"x: got a tensor on {x.device} for values on {values.device}; takes the same device"
        )
    if x.ndim == 0 or x.shape[-1] != columns:
        raise ValueError(f"x: got shape {tuple(x.shape)}, takes (..., {columns})")
    if scales is None:
        if values.dtype not in ELEMENTS or values.dtype == torch.float64:
            raise TypeError(f"values: got {values.dtype}, takes one of {', '.join(DTYPES)}")
        if x.dtype != values.dtype:
            raise TypeError(f"x: got {x.dtype} for values of {values.dtype}; takes the same dtype")
        return
    rows = len(bitmap)
    if values.dtype != torch.int8 or scales.dtype != torch.float32:
        raise TypeError(f"values, scales: got {values.dtype}, {scales.dtype}, takes int8, float32")
    if scales.ndim != 2 or len(scales) != rows or not scales.shape[1]:
        raise ValueError(f"scales: got shape {tuple(scales.shape)}, takes ({rows}, groups)")
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise TypeError(f"x: got {x.dtype}, takes float32, float16 or bfloat16")


def multiply(
    x: Tensor,
    values: Tensor,
    scales: Tensor | None,
    bias: Tensor | None,
    bitmap: Tensor,
    columns: int,
) -> Tensor:
    """``x W^T + bias``: natively on the CPU, elsewhere by the dense matrix.

    Up to ``FEW_INPUTS`` inputs go row by row, four a pass. More go by tiles that are written out as
    :class:`SparseLinear` has them, or by the dense matrix where a race says that it is faster.
    """
    _check(x, values, scales, bitmap, columns)
    rows = len(bitmap)
    if bias is not None and bias.shape != (rows,):
        raise ValueError(f"bias: got shape {tuple(bias.shape)}, takes ({rows},)")
    form = form_of(bitmap, columns)
    if values.shape != (form.native.nnz,):
        raise ValueError(f"values: got shape {tuple(values.shape)}, takes ({form.native.nnz},)")
    if not x.is_cpu:
        return _multiply_dense(x, values, scales, bias, bitmap, columns)
    lines = x if x.ndim == 2 else x.reshape(-1, columns)
    if len(lines) > FEW_INPUTS and _winner(form, lines, values, scales, bias) == "dense":
        out = _multiply_dense(lines, values, scales, bias, bitmap, columns)
    else:
        out = _multiply_natively(form, lines, values, scales, bias)
    return out if x.ndim == 2 else out.view(*x.shape[:-1], rows)


def _multiply_natively(
    form: Form, lines: Tensor, values: Tensor, scales: Tensor | None, bias: Tensor | None
) -> Tensor:
    dtype = lines.dtype
    inner = dtype if scales is None else torch.float32
    rows, words = form.bitmap.shape
    lines, values = _plain(lines, inner), values.contiguous()
    place = 0
    if bias is not None:
        bias = _plain(bias, inner)
        place = bias.data_ptr()
    out = torch.empty((len(lines), rows), dtype=inner, device="cpu")
    given = (form.bitmap.data_ptr(), lines.data_ptr(), len(lines), values.data_ptr())
    if scales is None:
        form.native.multiply(ELEMENTS[inner], *given, place, out.data_ptr(), threads())
        return out
    scales = scales.contiguous()
    shared = group_words(words, scales.shape[1])
    form.native.multiply_codes(*given, scales.data_ptr(), shared, place, out.data_ptr(), threads())
    return _plain(out, dtype)


def _winner(
    form: Form, lines: Tensor, values: Tensor, scales: Tensor | None, bias: Tensor | None
) -> str:
    """The faster way for a batch, by a race on its own first lines, once for each kind of call."""
    rows, columns = len(form.bitmap), lines.shape[1]
    twentieths = -(-20 * values.numel() // max(1, rows * columns))
    batch = batch_bucket(len(lines))
    kinds = f"{values.dtype} {lines.dtype}".replace("torch.", "")
    key = f"bitmap {(rows, columns, twentieths, batch)} {kinds} {threads()} torch {_VERSION}"

    def race(way: str) -> None:
        with torch.no_grad():
            if way == "dense":
                _multiply_dense(lines[:batch], values, scales, bias, form.bitmap, columns)
            else:
                _multiply_natively(form, lines[:batch], values, scales, bias)

    return planner.choose(key, race)


def _plain(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Contiguous and of a dtype; nothing is called where it is so already."""
    if x.dtype is not dtype:
        x = x.to(dtype)
    return x if x.is_contiguous() else x.contiguous()


def _multiply_dense(
    x: Tensor,
    values: Tensor,
    scales: Tensor | None,
    bias: Tensor | None,
    bitmap: Tensor,
    columns: int,
) -> Tensor:
    weight = expand(values, scales, bitmap, columns).to(x.dtype)
    return functional.linear(x, weight, None if bias is None else bias.to(x.dtype))


def _fake(
    x: Tensor,
    values: Tensor,
    scales: Tensor | None,
    bias: Tensor | None,
    bitmap: Tensor,
    columns: int,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], bitmap.shape[0]))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, values, scales, _, bitmap, ctx.columns = inputs
    ctx.save_for_backward(values, scales, bitmap)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    values, scales, bitmap = ctx.saved_tensors
    weight = expand(values, scales, bitmap, ctx.columns).to(grad.dtype)
    return grad @ weight, None, None, None, None, None


_SCHEMA = (
    "sparse_bitmap_mm(Tensor x, Tensor values, Tensor? scales, Tensor? bias, Tensor bitmap,"
    " int columns) -> Tensor"
)
define(_SCHEMA, cpu=multiply, fake=_fake, setup_context=_setup, backward=_backward)
implement(_SCHEMA[: _SCHEMA.index("(")], "CUDA", multiply)


def linear(
    x: Tensor,
    values: Tensor,
    scales: Tensor | None,
    bias: Tensor | None,
    bitmap: Tensor,
    columns: int,
) -> Tensor:
    """:func:`multiply` with gradients to ``x``, under autocast in its dtype."""
    device = x.device.type
    if (x.is_cpu or x.is_cuda) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x = x.to(dtype)
        if scales is None:
            values = values.to(dtype)
        with torch.autocast(device, enabled=False):
            return linear(x, values, scales, bias, bitmap, columns)
    if not torch.compiler.is_compiling() and transformed():
        return _multiply_dense(x, values, scales, bias, bitmap, columns)
    if direct(x, values) and not (torch.is_grad_enabled() and x.requires_grad):
        return multiply(x, values, scales, bias, bitmap, columns)
    return torch.ops.tokfrag.sparse_bitmap_mm(  # type: ignore[no-any-return]
        x, values, scales, bias, bitmap, columns
    )
