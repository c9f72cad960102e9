"""Sparse products of CUDA tensors, by the kernels of ``tokfrag._cuda``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokfrag import _device
from tokfrag._device import launch as _launch
from tokfrag.sparse.products.places import DeviceForm, device_form, entry_rows

if TYPE_CHECKING:
    from tokfrag import _cuda


def kernels(device: int) -> type[_cuda.sparse] | None:
    """``tokfrag._cuda.sparse``; None, after one warning, where it is missing or cannot run."""
    module = _device.kernels(device)
    return None if module is None else module.sparse


def _kernels(device: int) -> type[_cuda.sparse]:
    found = kernels(device)
    assert found is not None, "without kernels products are dense"
    return found


def _read_on(stream: int, form: DeviceForm) -> None:
    """Keep index tables from other uses until what is queued on a stream has read them."""
    if stream == form.stream or not form.local.is_cuda:
        return
    here = torch.cuda.current_stream(form.local.device)
    tables = (form.local, form.spans, form.starts, form.origins, form.sources, form.entry_rows)
    for table in tables:
        if table is not None and table.numel():
            table.record_stream(here)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def multiply(
    element: int,
    lines: Tensor,
    values: Tensor,
    bias: Tensor | None,
    local: Tensor,
    runs: Tensor,
    columns: int,
    transposed: bool,
    out: Tensor,
) -> None:
    """Write ``lines W^T + bias``, or ``lines W + bias`` if ``transposed``, into ``out``."""
    form: DeviceForm = device_form(local, runs, columns, transposed=transposed)
    with _launch(lines) as (device, stream):
        _read_on(stream, form)
        _kernels(device).multiply(
            element,
            out.shape[1],
            lines.shape[1],
            form.local.data_ptr(),
            form.spans.data_ptr(),
            form.starts.data_ptr(),
            form.origins.data_ptr(),
            _address(form.sources),
            lines.data_ptr(),
            lines.shape[0],
            values.data_ptr(),
            _address(bias),
            out.data_ptr(),
            device,
            stream,
        )


def sample(element: int, grad: Tensor, x: Tensor, local: Tensor, runs: Tensor, out: Tensor) -> None:
    """Write ``grad^T x`` at the stored places into ``out``."""
    rows, columns = grad.shape[1], x.shape[1]
    form = device_form(local, runs, columns, transposed=False)
    places = entry_rows(local, runs, columns)
    with _launch(x) as (device, stream):
        _read_on(stream, form)
        _kernels(device).sample(
            element,
            rows,
            columns,
            form.local.data_ptr(),
            form.starts.data_ptr(),
            places.data_ptr(),
            form.fullest,
            grad.data_ptr(),
            x.shape[0],
            x.data_ptr(),
            out.data_ptr(),
            device,
            stream,
        )
