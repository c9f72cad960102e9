"""The gate: networks that see what they should predict, steps that do not fit, shapes unsaid."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from support import run_python  # noqa: E402
from tokfrag.compare import ArrayTask, compare  # noqa: E402
from tokfrag.compare.contracts import PieceSpec  # noqa: E402
from tokfrag.compare.gate import SeesTheFutureError, check_memory, probe_network  # noqa: E402

TEXTS = [f"{i} the quick brown fox jumps over the lazy dog " * 3 for i in range(40)]


class Masked(nn.Module):
    """A layer of attention with its causal mask, where one is asked for."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.causal = causal
        self.width = 16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return self.layer(x, src_mask=mask)


class LateLeak(nn.Module):
    """Looks ahead through a gate that begins shut."""

    width = 16

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.gate * x.roll(-1, 1)


def test_a_module_that_sees_the_future_is_refused() -> None:
    middle = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    with pytest.raises(ValueError, match="takes a causal module"):
        compare(TEXTS, ["bytes"], budget="2 steps", seeds=1, model=middle)


def test_one_that_opens_its_eyes_in_training_is_a_failed_run() -> None:
    report = compare(TEXTS, ["bytes"], budget="8 steps", seeds=1, model=LateLeak())
    assert report.rows[0].quality is None
    assert "takes a causal module" in report.rows[0].failures[0]


@pytest.mark.parametrize("middle", [Masked(True), nn.GRU(16, 16, batch_first=True)])
def test_causal_modules_are_accepted(middle: nn.Module) -> None:
    row = compare(TEXTS, ["bytes"], budget="2 steps", seeds=1, model=middle).rows[0]
    assert row.quality is not None


def test_a_module_that_mixes_samples_is_refused() -> None:
    with pytest.raises(ValueError, match=r"another sample of the batch \(batch_first=True"):
        compare(TEXTS, ["bytes"], budget="2 steps", seeds=1, model=nn.GRU(16, 16))


def test_a_function_builds_a_network_for_text() -> None:
    def build(spec: PieceSpec, outputs: int | None) -> nn.Module:
        assert outputs is None
        assert spec.vocabulary is not None
        return nn.Embedding(spec.vocabulary + 1, 12)

    row = compare(TEXTS, ["bytes"], budget="2 steps", seeds=1, model=build).rows[0]
    assert row.quality is not None


def test_the_probe_finds_each_place() -> None:
    class Ahead(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = x.float()
            seen[:, 0] = x[:, -1]
            return seen[..., None]

    ids = torch.arange(40).view(4, 10) % 7
    with pytest.raises(SeesTheFutureError):
        probe_network(Ahead(), ids, causal=True, vocabulary=7)
    probe_network(Ahead(), ids, causal=False, vocabulary=7)


def test_a_step_that_does_not_fit_is_refused_with_its_numbers() -> None:
    with pytest.raises(MemoryError, match=r"takes 8000000.0 GB at its peak.*no batch would fit"):
        check_memory(8e15, 4)
    check_memory(1e3, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by setrlimit")
def test_a_cut_too_fine_for_the_memory_is_a_row_that_says_so() -> None:
    done = run_python(
        """
        import resource
        import numpy as np
        from tokfrag.compare import compare
        import torch
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        rng = np.random.default_rng(0)
        x = rng.normal(size=(100, 3, 32, 32)).astype(np.float32)
        report = compare((x, np.arange(100) % 2), ["pixels:16", "patch:16"], budget="2 steps")
        print(report.rows[0].failures[0])
        print(report.rows[1].quality is not None)
        """,
        timeout=120,
        OMP_NUM_THREADS="1",
    )
    first, second = done.stdout.splitlines()
    assert "a training step takes" in first
    assert second == "True", done.stderr


def test_arrays_of_pictures_without_channels_are_asked_about() -> None:
    x, y = np.zeros((20, 8, 8), np.float32), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"x: got \(20, 8, 8\).*x\[:, None\].*channels_first=True"):
        compare((x, y), ["patch:4"], budget="2 steps")
    x = np.random.default_rng(0).normal(size=(20, 8, 8)).astype(np.float32)
    task = ArrayTask(x, y, channels_first=True)
    assert compare(task, ["patch:4"], budget="2 steps", seeds=1).rows[0].quality is not None


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[1, 2], [3]], [0, 1], "x: got rows of different shapes"),
        (np.zeros((20, 1, 8)), [None] * 20, "y: got object"),
        (np.zeros((20, 8)), np.arange(20), r"x: got \(20, 8\)"),
        (3, 4, "x: got int"),
    ],
)
def test_what_is_no_data_is_one_clear_error(x: object, y: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        compare((x, y), ["patch:4"], budget="2 steps")


def test_tensors_and_named_classes_are_taken() -> None:
    x = torch.randn(40, 1, 8)
    report = compare((x, ["cat", "dog"] * 20), ["patch:4"], budget="2 steps", seeds=1)
    assert report.rows[0].quality is not None
    report = compare((x, torch.arange(40) % 2), ["patch:4"], budget="2 steps", seeds=1)
    assert report.rows[0].quality is not None
