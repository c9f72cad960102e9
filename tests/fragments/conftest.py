"""What the tests of fragments share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@pytest.fixture
def backend(emulated_cuda: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """tokfrag's CUDA backend, taking CPU tensors to the emulated kernels."""
    from tokfrag.fragments.engines import cuda, cuda_weights

    @contextmanager
    def launch(x: Any) -> Iterator[tuple[int, int]]:
        yield 0, 0

    cuda_weights.forget()
    monkeypatch.setitem(sys.modules, "tokfrag._cuda", emulated_cuda)
    monkeypatch.setattr(cuda, "kernels", lambda device: emulated_cuda)
    monkeypatch.setattr(cuda, "_launch", launch)
    yield cuda
    cuda_weights.forget()
