"""Large buffers: aligned, writable, freed, and refused when absurd."""

from __future__ import annotations

import numpy as np
import pytest

from tokfrag import _core


@pytest.mark.parametrize("count", [0, 1, 63, 4096, (1 << 21) - 1, 1 << 21, (1 << 23) + 5])
def test_buffers_are_aligned_and_writable(count: int) -> None:
    buffer = _core.empty_bytes(count)
    assert buffer.shape == (count,)
    assert buffer.ctypes.data % 64 == 0
    buffer[:] = 7
    assert int(buffer.sum(dtype=np.int64)) == 7 * count


def test_absurd_size_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        _core.empty_bytes(1 << 60)
    with pytest.raises(MemoryError):
        _core.empty_bytes(-1)
