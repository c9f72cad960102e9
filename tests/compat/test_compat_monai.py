"""The stand-in for MONAI's sliding window: gradients, types and metadata as MONAI has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokfrag.compat import monai  # noqa: E402
from tokfrag.compat.monai import sliding_window_inference  # noqa: E402


def by_hand(x: Any, model: Any, size: int, step: int) -> Any:
    """The mean over the windows of a plane, differentiable."""
    total, held = torch.zeros_like(x), torch.zeros_like(x)
    for top in range(0, x.shape[2] - size + 1, step):
        for left in range(0, x.shape[3] - size + 1, step):
            place = (slice(None), slice(None), slice(top, top + size), slice(left, left + size))
            total[place] = total[place] + model(x[place])
            held[place] = held[place] + 1
    return total / held


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_gradients_reach_the_input_and_the_model(batch_size: int) -> None:
    model = torch.nn.Conv2d(1, 1, 3, padding=1)
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    y = sliding_window_inference(x, (4, 4), batch_size, model, overlap=0.5)
    want = by_hand(x, model, 4, 2)
    torch.testing.assert_close(y, want)
    inputs = (x, *model.parameters())
    gradients = [torch.autograd.grad(result.square().sum(), inputs) for result in (y, want)]
    torch.testing.assert_close(*gradients)
    with torch.no_grad():
        assert not sliding_window_inference(x, 4, batch_size, model).requires_grad


def test_every_output_keeps_its_gradient() -> None:
    x = torch.randn(1, 2, 8, 8, requires_grad=True)

    def several(windows: Any) -> Any:
        return {"twice": 2 * windows, "half": torch.nn.functional.avg_pool2d(windows, 2)}

    y = sliding_window_inference(x, 4, 3, several, overlap=0.5, mode="gaussian")
    with torch.no_grad():
        streamed = sliding_window_inference(x, 4, 3, several, overlap=0.5, mode="gaussian")
    for name, part in y.items():
        torch.testing.assert_close(part.detach(), streamed[name])
        assert torch.autograd.grad(part.sum(), x)[0].abs().sum() > 0


def test_the_first_batch_runs_once() -> None:
    seen: list[int] = []

    def model(windows: Any) -> Any:
        seen.append(len(windows))
        return windows

    sliding_window_inference(torch.zeros(1, 1, 16), (4,), 2, model, overlap=0)
    assert seen == [2, 2]


def test_probabilities_of_integers_stay_probabilities() -> None:
    x = torch.full((1, 1, 8, 8), 200, dtype=torch.uint8)
    got = sliding_window_inference(x, 4, 2, lambda windows: windows.float() / 255)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.full((1, 1, 8, 8), 200 / 255))


def test_arrays_are_sizes_and_an_empty_batch_is_refused() -> None:
    x = torch.randn(1, 1, 8, 8)
    for size in np.array([4, 4]), torch.tensor([4, 4]):
        torch.testing.assert_close(sliding_window_inference(x, size, 2, lambda t: t), x)
    with pytest.raises(ValueError, match="inputs: got shape"):
        sliding_window_inference(x[:0], 4, 2, lambda t: t)


def test_metadata_goes_with_the_result() -> None:
    data = pytest.importorskip("monai.data")
    x = data.MetaTensor(torch.ones(1, 1, 8, 8), affine=2 * torch.eye(4))
    y = sliding_window_inference(x, 4, 2, lambda windows: windows)
    assert isinstance(y, data.MetaTensor)
    torch.testing.assert_close(y.affine, x.affine)


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("with_coord", [False, True])
def test_the_inferer_is_monais(mode: str, with_coord: bool) -> None:
    inferers = pytest.importorskip("monai.inferers")
    x = torch.randn(2, 1, 13, 10)
    options: dict[str, Any] = {"overlap": 0.5, "mode": mode, "sw_batch_size": 3}
    options |= {"with_coord": with_coord, "cache_roi_weight_map": True, "cpu_thresh": 10}

    def network(windows: Any, *rest: Any, gain: float) -> Any:
        return {"a": gain * windows + len(rest), "b": windows.abs()}

    ours = monai.SlidingWindowInferer((6, 4), **options)(x, network, gain=2)
    theirs = inferers.SlidingWindowInferer((6, 4), **options)(x, network, gain=2)
    assert list(ours) == list(theirs)
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial_dim", [0, 1, 2])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("kind", ["tensor", "tuple", "dict"])
def test_slices_are_monais(spatial_dim: int, conditioned: bool, kind: str) -> None:
    inferers = pytest.importorskip("monai.inferers")
    x = torch.randn(1, 1, 6, 7, 8)
    pool = torch.nn.AvgPool2d(3, 1, 1)

    def network(windows: Any, condition: Any = None) -> Any:
        made = pool(windows) if condition is None else pool(windows) + condition
        return {"tensor": made, "tuple": (made, -made), "dict": {"a": made}}[kind]

    options: dict[str, Any] = {"roi_size": (4, 5), "sw_batch_size": 2, "spatial_dim": spatial_dim}
    extra = {"condition": torch.randn_like(x)} if conditioned else {}
    ours = monai.SliceInferer(**options)(x, network, **extra)
    theirs = inferers.SliceInferer(**options)(x, network, **extra)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_an_image_too_large_for_its_device_is_put_together_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[Any] = []

    def short_of_memory(inputs: Any, *options: Any, **others: Any) -> Any:
        tried.append(options[9])
        if str(options[9]) != "cpu":
            raise torch.OutOfMemoryError("no room")
        return inputs

    inferer = monai.SlidingWindowInfererAdapt(4)
    x = torch.zeros(1, 1, 8, 8)
    torch.testing.assert_close(inferer(x + 1, lambda windows: 2 * windows), x + 2)
    monkeypatch.setattr(monai, "sliding_window_inference", short_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        inferer(x, torch.nn.Identity(), device="cuda")  # on the CPU already
    tried.clear()
    with pytest.warns(RuntimeWarning, match=r"images of shape \(1, 1, 8, 8\) do not fit"):
        inferer(x.to("meta"), torch.nn.Identity())
    inferer(x.to("meta"), torch.nn.Identity())  # as large: no second try
    assert [str(device) for device in tried] == ["meta", "cpu", "cpu"]


def test_inferers_refuse_what_does_not_fit() -> None:
    x = torch.zeros(1, 1, 4, 4, 4)
    with pytest.raises(ValueError, match="spatial_dim: got 3"):
        monai.SliceInferer(3, (2, 2))(x, torch.nn.Identity())
    with pytest.raises(RuntimeError, match="takes two lengths"):
        monai.SliceInferer(0, (2, 2, 2))(x, torch.nn.Identity())
    with pytest.raises(ValueError, match="condition: got shape"):
        monai.SlidingWindowInferer(2)(x, torch.nn.Identity(), condition=x[..., 0])
