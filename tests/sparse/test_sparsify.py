"""Pruning: what each method reaches, what is left untouched, and what bad input gets."""

from __future__ import annotations

import copy
import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tokfrag.reference import lasso as reference  # noqa: E402
from tokfrag.sparse import SparseLinear, SparseLSTM, regrow, sparsify  # noqa: E402
from tokfrag.sparse.pruning import masks  # noqa: E402
from tokfrag.sparse.pruning.refit import Problem, descend  # noqa: E402


class Recurrent(nn.Module):
    """Embedding, LSTM, Dense: the mission's model."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 12)
        self.rnn = nn.LSTM(12, 32, batch_first=True)
        self.head = nn.Linear(32, 20)

    def forward(self, ids):
        return self.head(self.rnn(self.table(ids))[0])


@pytest.fixture(autouse=True)
def _seed(monkeypatch):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", "")
    torch.manual_seed(0)


def mlp():
    return nn.Sequential(
        nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 8)
    )


def batches(count=6, size=64):
    mix = torch.randn(12, 48, generator=torch.Generator().manual_seed(1))
    return [torch.randn(size, 12) @ mix + 0.3 * torch.randn(size, 48) for _ in range(count)]


def distance(model, dense, x):
    with torch.no_grad():
        return ((model(x) - dense(x)).square().sum() / dense(x).square().sum()).item()


def twins():
    one, other = mlp(), mlp()
    other.load_state_dict(one.state_dict())
    return one, other


METHODS = ["cd", "admm", "magnitude", "wanda", "sparsegpt", "sgd"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_reaches_the_asked_sparsity(method, sparsity):
    model = mlp()
    report = sparsify(model, batches(2), sparsity=sparsity, method=method, steps=20)
    assert report.sparsity == pytest.approx(sparsity, abs=0.02)
    assert [layer.path for layer in report.layers] == ["0", "2", "4"]
    for path, mask in report.masks.items():
        weight = model.get_parameter(path)
        assert not weight[~mask].any()
        assert mask.float().mean() == pytest.approx(1 - sparsity, abs=0.02)
    assert report.bytes_dense == sum(4 * model[i].weight.numel() for i in (0, 2, 4))
    assert "total" in str(report)


def test_methods_rank_as_published():
    x = batches()
    held = batches(1, 500)[0]
    errors = {}
    for method in METHODS[:-1]:
        model, dense = twins()
        sparsify(model, x, sparsity=0.8, method=method)
        errors[method] = distance(model, dense, held)
    assert errors["admm"] < errors["sparsegpt"] / 1.5
    assert errors["cd"] < errors["sparsegpt"] / 1.5
    assert errors["sparsegpt"] < errors["wanda"]


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_descent_improves_any_mask(method):
    plain, dense = twins()
    report = sparsify(plain, batches(), sparsity=0.8, method=method)
    refit, _ = twins()
    refit.load_state_dict(dense.state_dict())
    better = sparsify(refit, batches(), sparsity=0.8, masks=report.masks)
    for a, b in zip(report.layers, better.layers, strict=True):
        assert b.error_after < 0.8 * a.error_after
    for name in report.masks:
        assert torch.equal(report.masks[name], better.masks[name])


def test_dense_target_repairs_earlier_layers():
    held = batches(1, 500)[0]
    errors = {}
    for target in ("dense", "local"):
        model, dense = twins()
        sparsify(model, batches(), sparsity=0.8, method="cd", target=target)
        errors[target] = distance(model, dense, held)
    assert errors["dense"] < errors["local"]


def test_descent_reaches_least_squares():
    x = torch.randn(200, 30)
    weight = torch.randn(7, 30)
    mask = torch.rand(7, 30) < 0.5
    gram = x.t() @ x
    problem = Problem(weight, gram, weight @ gram, float((x @ weight.t()).square().sum()))
    got = descend(problem, weight, mask, 200)
    for row in range(7):
        expected = torch.linalg.lstsq(x[:, mask[row]], x @ weight[row]).solution
        torch.testing.assert_close(got[row, mask[row]], expected, rtol=1e-3, atol=1e-3)
    error = ((x @ (got - weight).t()).square().sum() / problem.energy).item()
    assert problem.error(got) == pytest.approx(error, rel=1e-2)
    plain = np.where(mask, weight, 0).astype(np.float64)
    for _ in range(200):
        reference.sweep(
            plain, gram.double().numpy(), problem.cross.double().numpy(), mask=mask.numpy()
        )
    np.testing.assert_allclose(got.numpy(), plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_two_of_four(method):
    model = mlp()
    report = sparsify(model, batches(2), method=method, structure="2:4", steps=20)
    for mask in report.masks.values():
        assert (mask.view(-1, 4).sum(1) == 2).all()


@pytest.mark.parametrize("method", ["cd", "admm", "magnitude", "wanda"])
def test_eight_rows_together(method):
    model = mlp()
    report = sparsify(model, batches(2), sparsity=0.75, method=method, structure="8x1")
    for mask in report.masks.values():
        counts = mask.view(-1, 8, mask.shape[1]).sum(1)
        assert ((counts == 0) | (counts == 8)).all()


@pytest.mark.parametrize("structure", [None, "8x1"])
def test_select_keeps_exactly(structure):
    scores = torch.rand(13, 20)
    mask = masks.select(scores, 0.35, structure)
    if structure is None:
        assert int(mask.sum()) == 260 - 91
        assert scores[mask].min() >= scores[~mask].max()
    assert masks.select(scores, 0.35, None, by_row=True).sum(1).eq(13).all()


@pytest.mark.parametrize("method", ["cd", "sparsegpt", "sgd"])
def test_lstm_and_replacement(method):
    model, dense = Recurrent(), Recurrent()
    dense.load_state_dict(model.state_dict())
    ids = [torch.randint(0, 20, (8, 15)) for _ in range(4)]
    report = sparsify(model, ids, sparsity=0.5, method=method, replace=True, steps=20)
    assert isinstance(model.rnn, SparseLSTM)
    assert isinstance(model.head, SparseLinear)
    assert set(report.masks) == {"rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight"}
    assert [layer.path for layer in report.layers] == ["rnn", "head"]
    x = torch.randint(0, 20, (8, 15))
    limit = {"cd": 0.05, "sparsegpt": 0.2, "sgd": 0.6}[method]
    assert distance(model, dense, x) < limit
    assert model.rnn.nnz + model.head.nnz == sum(int(m.sum()) for m in report.masks.values())
    assert report.bytes_sparse < report.bytes_dense
    loss = model(x).square().mean()
    loss.backward()
    assert model.rnn.input_products[0].values.grad.isfinite().all()


def test_lstm_layer_problem_is_exact():
    """At sparsity zero the captured inputs must give back the very same LSTM."""
    model = Recurrent()
    before = {name: p.clone() for name, p in model.named_parameters()}
    report = sparsify(model, [torch.randint(0, 20, (8, 15))], sparsity=0.0, method="cd")
    for layer in report.layers:
        assert layer.error_after < 1e-6
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, before[name], rtol=1e-3, atol=1e-3)


def test_dead_inputs_do_no_harm():
    model, dense = twins()
    x = [batch.clone() for batch in batches()]
    for batch in x:
        batch[:, :10] = 0
    for method in ("cd", "admm", "sparsegpt"):
        model.load_state_dict(dense.state_dict())
        sparsify(model, x, sparsity=0.5, method=method)
        assert all(p.isfinite().all() for p in model.parameters())
        assert distance(model, dense, x[0]) < 0.2


def test_fewer_samples_than_inputs():
    model, dense = twins()
    sparsify(model, [batches(1, 9)[0]], sparsity=0.5)
    assert all(p.isfinite().all() for p in model.parameters())
    assert distance(model, dense, batches(1)[0]) < 1


def test_transformer_and_mapping_batches():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

        def forward(self, *, tokens):
            return self.block(tokens)

    model = Wrapped()
    report = sparsify(model, [{"tokens": torch.randn(4, 9, 32)}], sparsity=0.5)
    assert [layer.path for layer in report.layers] == [
        *(f"block.self_attn.{part}" for part in ("q", "k", "v", "out")),
        "block.linear1",
        "block.linear2",
    ]


def test_training_modes_and_gradients_are_put_back():
    model = mlp()
    model[2].eval()
    model[0].weight.requires_grad_(False)
    sparsify(model, batches(1), sparsity=0.5)
    assert [m.training for m in (model, model[0], model[2])] == [True, True, False]
    assert not model[0].weight.requires_grad
    assert model[2].weight.requires_grad


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def tied():
    model = Recurrent()
    model.table = nn.Embedding(20, 32)
    model.rnn = nn.LSTM(32, 32, batch_first=True)
    model.head.weight = model.table.weight
    return model


def spoilt(value):
    model = mlp()
    with torch.no_grad():
        model[2].weight[3, 4] = value
    return model


def overflowing():
    model = mlp()
    with torch.no_grad():
        model[0].weight.fill_(1e30)
    return model


@pytest.mark.parametrize(
    ("make", "calibration", "options", "error", "message"),
    [
        (mlp, batches, {"sparsity": 1.0}, ValueError, "sparsity: got 1.0"),
        (mlp, batches, {"sparsity": -0.1}, ValueError, "sparsity: got -0.1"),
        (mlp, batches, {"sparsity": "half"}, TypeError, "sparsity: got 'half'"),
        (mlp, batches, {"method": "obs"}, ValueError, "method: got 'obs'"),
        (mlp, batches, {"target": "far"}, ValueError, "target: got 'far'"),
        (mlp, batches, {"structure": "8:4"}, ValueError, "structure: got '8:4'"),
        (mlp, batches, {"structure": "2:4", "sparsity": 0.9}, ValueError, "takes 0.5"),
        (mlp, list, {}, ValueError, "calibration: got no batch"),
        (mlp, lambda: [torch.full((4, 48), torch.nan)], {}, ValueError, "^0: got NaN"),
        (overflowing, batches, {}, ValueError, "^0: got NaN, infinite or over"),
        (lambda: spoilt(torch.nan), batches, {}, ValueError, "2.weight: got NaN"),
        (mlp, lambda: [torch.randn(3, 47)], {}, RuntimeError, "shapes cannot be multiplied"),
        (mlp, batches, {"skip": ["9"]}, ValueError, "skip: got"),
        (mlp, batches, {"skip": "0"}, TypeError, "skip: got '0'"),
        (mlp, batches, {"masks": {"0": torch.ones(3, 3) > 0}}, ValueError, "masks.*shape"),
        (mlp, batches, {"masks": {"0": torch.ones(96, 48)}}, TypeError, "takes bool"),
        (mlp, batches, {"masks": {"1": torch.ones(3) > 0}}, ValueError, "name no prunable"),
        (nn.ReLU, batches, {}, ValueError, "has no torch.nn.Linear"),
        (lambda: 3, batches, {}, TypeError, "model: got int"),
        (tied, lambda: [torch.randint(0, 20, (2, 3))], {}, ValueError, "table.weight and head"),
        (lambda: mlp().to("meta"), batches, {}, ValueError, "0.weight: got a parameter on meta"),
        (lambda: nn.Linear(48, 3), batches, {"replace": True}, ValueError, "replace: the model"),
        (mlp, batches, {"method": "sgd", "steps": 0}, ValueError, "steps: got 0"),
    ],
)
def test_bad_input_gets_one_error_and_an_untouched_model(
    make, calibration, options, error, message
):
    model = make()
    before = snapshot(model) if isinstance(model, nn.Module) else {}
    with pytest.raises(error, match=message):
        sparsify(model, calibration(), **options)
    for name, tensor in before.items():
        if tensor.device.type == "cpu":
            assert torch.equal(model.state_dict()[name].nan_to_num(), tensor.nan_to_num())


def test_unreached_layer_is_named():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="unused: the calibration never reaches"):
        sparsify(Half(), [torch.randn(3, 4)])
    report = sparsify(Half(), [torch.randn(3, 4)], skip=["unused"])
    assert [layer.path for layer in report.layers] == ["used"]


def test_tied_weights_can_be_skipped():
    model = tied()
    sparsify(model, [torch.randint(0, 20, (2, 3))], skip=["head"])
    assert model.head.weight is model.table.weight


def test_error_in_the_middle_leaves_the_model():
    class Trap(nn.Module):
        armed = 0

        def forward(self, x):
            Trap.armed += 1
            if Trap.armed > 9:
                raise RuntimeError("sprung")
            return x

    model = nn.Sequential(nn.Linear(8, 8), Trap(), nn.Linear(8, 8), nn.Linear(8, 8))
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="sprung"):
        sparsify(model, [torch.randn(5, 8)] * 3, sparsity=0.9)
    for name, tensor in before.items():
        assert torch.equal(model.state_dict()[name], tensor)
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a timer interrupts")
def test_interrupt_leaves_the_model():
    """At any time: a timer raises what Ctrl-C does, wherever the call is by then."""
    model = nn.Sequential(*(nn.Linear(96, 96) for _ in range(12)))
    turn = torch.linalg.qr(torch.randn(96, 96))[0]  # what flows through keeps its size
    for layer in model:
        layer.weight.data.copy_(turn)
    before, x = snapshot(model), torch.randn(64, 96)

    def interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        for seconds in (0.001, 0.01, 0.03, 0.1, 0.2):
            twin = copy.deepcopy(model)
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                try:
                    sparsify(twin, [x], sparsity=0.9)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
                for name, tensor in before.items():
                    assert torch.equal(twin.state_dict()[name], tensor)
                assert not any(m._forward_hooks or m._forward_pre_hooks for m in twin.modules())
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert interrupted >= 1  # a fast machine may be done before the later ones


def test_regrow_moves_values_to_the_largest_gradients():
    layer = SparseLinear(40, 150, sparsity=0.8)
    x, target = torch.randn(64, 40), torch.randn(64, 150)
    old, values = layer.mask, layer.to_dense().weight.detach()
    dense = values.clone().requires_grad_()
    bias = layer.bias.detach()
    nn.functional.mse_loss(x @ dense.t() + bias, target).backward()
    gradient = dense.grad.abs().masked_fill(old, -1)
    moved = regrow(layer, 0.25, x, loss=lambda y: nn.functional.mse_loss(y, target))
    count = moved[""]
    assert count == int(0.25 * int(old.sum()))
    new = layer.mask
    assert int(new.sum()) == int(old.sum())
    grown, dropped = new & ~old, old & ~new
    assert int(grown.sum()) == count
    assert gradient[grown].min() >= gradient[~new & ~old].max()
    assert values[dropped].abs().max() <= values[new & old].abs().min()
    assert not layer.to_dense().weight[grown].any()


def test_regrow_sees_inputs_given_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = SparseLinear(20, 30, sparsity=0.5)

        def forward(self, x):
            return self.layer(input=x).square().mean()

    assert regrow(Named(), 0.1, torch.randn(8, 20)) == {"layer": 30}


def test_regrow_carries_the_optimiser_and_training_goes_on():
    model = nn.Sequential(SparseLinear(20, 60, sparsity=0.7), nn.ReLU(), SparseLinear(60, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = torch.randn(64, 20), torch.randn(64, 5)
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)  # held over regrow, its graph with it
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 10 == 5:
            state = optimizer.state[model[0].values]["exp_avg"].clone()
            regrow(
                model,
                0.1,
                x,
                loss=lambda out: nn.functional.mse_loss(out, y),
                optimizer=optimizer,
            )
            after = optimizer.state[model[0].values]["exp_avg"]
            assert after.shape == model[0].values.shape
            assert int((after == 0).sum()) >= int((state == 0).sum())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: regrow(nn.Linear(3, 3), 0.1, None), ValueError, "has no SparseLinear"),
        (lambda: regrow(SparseLinear(3, 3), 1.5, None), ValueError, "fraction: got 1.5"),
        (lambda: regrow(SparseLinear(3, 3), "a", None), TypeError, "fraction: got 'a'"),
        (
            lambda: regrow(SparseLinear(3, 3), 0.5, torch.ones(2, 3)),
            ValueError,
            "loss: got no scalar",
        ),
    ],
)
def test_regrow_refuses(run, error, message):
    with pytest.raises(error, match=message):
        run()
