"""The gate: networks that see what they should predict, steps that do not fit, shapes unsaid."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from support import run_python  # noqa: E402
from tokfrag.compare import ArrayTask, Row, Samples, compare, parse_cut  # noqa: E402
from tokfrag.compare.batches import Part  # noqa: E402
from tokfrag.compare.body import Body  # noqa: E402
from tokfrag.compare.contracts import PieceSpec  # noqa: E402
from tokfrag.compare.devices import as_device  # noqa: E402
from tokfrag.compare.gate import SeesTheFutureError, fitting_items, probe_network  # noqa: E402
from tokfrag.compare.problems import PredictNext  # noqa: E402
from tokfrag.compare.step import training_step  # noqa: E402

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


def test_a_step_that_does_not_fit_is_made_in_parts_or_refused_with_its_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tokfrag.compare.gate.free_memory", lambda device=None: 10e9)
    with pytest.raises(MemoryError, match=r"one item takes 2000000.0 GB at its peak, 10.0 GB are"):
        fitting_items(8e15, 4)
    assert fitting_items(24e9, 16) == 4
    assert fitting_items(1e3, 4) == 4


@pytest.mark.parametrize("cut", ["bytes", "window:4/2"])
def test_micro_batches_take_the_same_step(cut: str) -> None:
    samples = Samples([b"seventeen bytes..", b"and eight", b"x", b"four", b"seven__"])
    fitted = parse_cut(cut).fit(samples)
    problem = PredictNext()
    part = Part.of(problem, fitted.cut(samples.x), samples, fitted)
    found = []
    for micro in (None, 2):
        torch.manual_seed(0)
        network = problem.network(fitted.spec, Body(width=16, depth=1, heads=2))
        optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
        loss = training_step(network, problem, optimiser, part.inputs, part.targets, micro=micro)
        found.append((loss, [p.detach().clone() for p in network.parameters()]))
    (loss, whole), (other, parts) = found
    assert other == pytest.approx(loss, rel=1e-5)
    for one, two in zip(whole, parts, strict=True):
        assert torch.allclose(one, two, atol=1e-5)


def test_memory_that_is_short_gives_micro_batches_and_the_same_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.random.default_rng(0).normal(size=(100, 1, 8, 8)).astype(np.float32)
    task = (x, np.arange(100) % 2)

    def score() -> Row:
        return compare(task, ["patch:4"], budget="12 steps", seeds=1).rows[0]

    whole = score()
    monkeypatch.setattr("tokfrag.compare.gate.free_memory", lambda device=None: 2e6)
    parts = score()
    assert any("items at once, gradients added up" in note for note in parts.notes)
    assert parts.quality == pytest.approx(whole.quality, abs=0.051)


def test_devices_are_named_or_refused() -> None:
    assert as_device("auto").type in ("cpu", "cuda")
    assert as_device("cpu") == as_device(None) == torch.device("cpu")
    with pytest.raises(ValueError, match="device: got 'gpu'; it takes cpu, cuda, cuda:N or auto"):
        as_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device: got 'cuda'; torch sees no GPU here"):
            compare(TEXTS, ["bytes"], budget="2 steps", device="cuda")


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
        x = rng.normal(size=(40, 3, 80, 80)).astype(np.float32)
        report = compare((x, np.arange(40) % 2), ["pixels:16", "patch:40"], budget="2 steps")
        print(report.rows[0].failures[0])
        print(report.rows[1].quality is not None)
        """,
        timeout=120,
        OMP_NUM_THREADS="1",
    )
    first, second = done.stdout.splitlines()
    assert "a training step on one item takes" in first
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
