"""The Taylor objective: what an error of the outputs costs the loss decides what goes."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tokfrag.sparse import sparsify  # noqa: E402
from tokfrag.sparse.pruning.sites import find_sites  # noqa: E402
from tokfrag.sparse.pruning.taylor import emphasis_of  # noqa: E402


@pytest.fixture(autouse=True)
def _seed(monkeypatch):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", "")
    torch.manual_seed(0)


def mlp():
    return nn.Sequential(nn.Linear(24, 64), nn.ReLU(inplace=True), nn.Linear(64, 10))


def batches():
    mix = torch.randn(10, 24)
    return [torch.randn(80, 10) @ mix + 0.2 * torch.randn(80, 24) for _ in range(3)]


def own_label(model, x):
    """Cross-entropy against what the batch itself says."""
    return nn.functional.cross_entropy(model(x), x[:, :10].argmax(1))


def test_emphasis_is_the_squared_gradient_split_in_two():
    model, data = mlp(), batches()
    sites = find_sites(model, ())[0]
    found = emphasis_of(model, sites, data, own_label)
    squares = {"0": [], "2": []}
    for x in data:
        # By hand: gradients at the outputs of both layers.
        first = nn.functional.linear(x, model[0].weight, model[0].bias)
        logits = nn.functional.linear(first.relu(), model[2].weight, model[2].bias)
        hot = nn.functional.one_hot(x[:, :10].argmax(1), 10)
        last = (logits.softmax(1) - hot) / len(x)
        squares["2"].append(last.square())
        squares["0"].append(((last @ model[2].weight) * (first > 0)).square())
    for name, parts in squares.items():
        square = torch.cat(parts).detach().double()
        lines = torch.cat(found[name].lines).double()
        expected = square.sum(1) / square.sum() * len(square)
        torch.testing.assert_close(lines, expected, rtol=1e-4, atol=1e-6)
        rows = square.sum(0) / square.sum() * square.shape[1]
        ratio = (found[name].roots.double().square() / rows).log2()
        assert ratio.abs().max() <= 1.001
        assert torch.equal(found[name].roots.log2(), found[name].roots.log2().round())


def test_a_line_that_counts_twice_is_as_good_as_two_lines():
    """Weights of lines and rows by brute force: the solution is that of the repeated lines."""
    torch.manual_seed(3)
    x = torch.randn(40, 12)
    often = torch.randint(1, 4, (40,))

    class Weighed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 6)

        def forward(self, x):
            return self.layer(x)

    model = Weighed()
    twin = copy.deepcopy(model)
    mask = torch.rand(6, 12) < 0.5
    root = often.float().sqrt()

    def loss(model, x):  # its gradient at line t is root_t, at every row
        return (model(x) * root[:, None]).sum()

    options = {"masks": {"layer": mask}, "target": "local"}
    sparsify(model, [x], objective="taylor", loss=loss, **options)
    sparsify(twin, [x.repeat_interleave(often, 0)], **options)
    np.testing.assert_allclose(
        model.layer.weight.detach(), twin.layer.weight.detach(), rtol=2e-3, atol=2e-4
    )
    np.testing.assert_allclose(
        model.layer.bias.detach(), twin.layer.bias.detach(), rtol=2e-3, atol=2e-4
    )


@pytest.mark.parametrize("method", ["magnitude", "cd", "admm", "sparsegpt", "wanda"])
def test_the_loss_suffers_less_where_few_outputs_matter(method):
    torch.manual_seed(1)
    model, data = nn.Sequential(nn.Linear(24, 64), nn.Tanh(), nn.Linear(64, 10)), batches()
    with torch.no_grad():
        model[2].weight[:, 32:] *= 0.01  # half of the hidden outputs hardly matter
        expected = [model(x) for x in data]

    def loss(net, x):
        y = net(x)  # drawn for each number: its squared gradients mean all outputs
        return (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(5))).sum()

    errors = {}
    for objective in ("outputs", "taylor"):
        pruned = copy.deepcopy(model)
        report = sparsify(
            pruned,
            data,
            sparsity={"0": 0.7},
            method=method,
            objective=objective,
            loss=loss,
            target="local",
        )
        assert report.layers[0].sparsity == pytest.approx(0.7, abs=0.02)
        with torch.no_grad():
            errors[objective] = sum(
                float((pruned(x) - y).square().sum()) for x, y in zip(data, expected, strict=True)
            )
    if method == "wanda":  # its mask holds as many of every row
        assert errors["taylor"] == pytest.approx(errors["outputs"], rel=0.5)
    else:
        assert errors["taylor"] < 0.8 * errors["outputs"]


def test_frozen_models_and_layers_without_a_visible_product():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(24, 12, batch_first=True)
            self.head = nn.Linear(12, 10)

        def forward(self, x):
            return self.head(self.rnn(x.unsqueeze(0))[0])[0]

    model = Tagger().requires_grad_(False)
    report = sparsify(model, batches(), objective="taylor", loss=own_label)
    remarks = {layer.path: layer.remark for layer in report.layers}
    assert remarks == {"rnn": "objective outputs: product unseen", "head": ""}
    assert all(not parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "best"}, "objective: got 'best'"),
        ({"objective": "taylor"}, "loss: got None"),
        ({"objective": "taylor", "method": "sgd", "loss": own_label}, "no layer problem"),
        ({"objective": "taylor", "loss": lambda m, x: m(x)}, "loss: got no scalar"),
        ({"objective": "taylor", "loss": lambda m, x: torch.ones(())}, "loss: got gradients of"),
        ({"objective": "taylor", "loss": lambda m, x: m(x).sum() / 0}, "loss: got -?(inf|nan)"),
    ],
)
def test_bad_objectives_are_refused_and_the_model_stays(options, message):
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        sparsify(model, batches(), **options)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
