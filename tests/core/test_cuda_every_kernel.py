"""No CUDA kernel is without a test, a sanitizer and a bench."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from cuda_every import EVERY, tensors  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
_STARTED = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(")
CALLS = sorted({call.__name__ for call in EVERY.values()})


def test_every_kernel_has_a_call() -> None:
    sources = (ROOT / "csrc").rglob("*.cu")
    found = {name for source in sources for name in _STARTED.findall(source.read_text())}
    found.discard("probe_kernel")  # never started: it is asked for
    assert found == set(EVERY)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_the_results_of_the_cpu(name: str) -> None:
    """Where there is no GPU, that it is a call."""
    call = next(call for call in EVERY.values() if call.__name__ == name)
    expected: list[Any] = tensors(call("cpu"))
    assert expected
    if not torch.cuda.is_available():
        return
    for got, right in zip(tensors(call("cuda")), expected, strict=True):
        torch.testing.assert_close(got.cpu(), right, rtol=1e-4, atol=1e-4)
