"""Sparse products of CUDA tensors, by the kernels of ``tokfrag._cuda``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokfrag.sparse.products.places import DeviceForm, device_form, entry_rows

if TYPE_CHECKING:
    from tokfrag import _cuda


@cache
def kernels(device: int) -> type[_cuda.sparse]:
    """``tokfrag._cuda.sparse``; ValueError where it is missing or does not run on this device."""
    try:
        from tokfrag import _cuda

        _cuda.check_device(device)
    except (ImportError, RuntimeError) as missing:
        raise ValueError(
            f"x: got a tensor on cuda:{device}, takes cpu, for tokfrag's CUDA kernels cannot run "
            f"here ({missing})"
        ) from missing
    return _cuda.sparse


@contextmanager
def _launch(x: Tensor) -> Iterator[tuple[int, int]]:
    """Make the device of `x` torch's current one; give its number and its stream's handle."""
    device = x.device.index
    with torch.cuda.device(device):
        yield device, torch.cuda.current_stream(device).cuda_stream


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
        kernels(device).multiply(
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
        kernels(device).sample(
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
