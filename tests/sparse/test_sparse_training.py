"""Masks that move while a model trains: after each step they are what the twin says."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tokfrag.reference import sparse_training as twin  # noqa: E402
from tokfrag.sparse import SparseLinear, SparseLSTM, SparseTraining, sparsify  # noqa: E402


@pytest.fixture(autouse=True)
def _seed(monkeypatch):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", "")
    torch.manual_seed(0)


def small(sparsity=0.6):
    return nn.Sequential(
        SparseLinear(20, 140, sparsity=sparsity), nn.ReLU(), SparseLinear(140, 6, sparsity=sparsity)
    )


def layers_of(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, SparseLinear)}


def weights_of(model):
    return {n: m.dense_weight().detach().double().numpy() for n, m in layers_of(model).items()}


def masks_of(model):
    return {n: m.mask.numpy() for n, m in layers_of(model).items()}


def squares(y):
    return y.square().sum()


def train_once(model, optimizer, x, target):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), target).backward()
    optimizer.step()


def dense_gradients(model, x, loss):
    """The gradients that the dense matrices would have."""
    dense = nn.Sequential(*[m.to_dense() if isinstance(m, SparseLinear) else m for m in model])
    loss(dense(x)).backward()
    return {n: dense.get_parameter(f"{n}.weight").grad.double().numpy() for n in layers_of(model)}


@given(
    decay=st.sampled_from(["cosine", "cubic", "linear"]),
    steps=st.integers(2, 30),
    every=st.integers(1, 9),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_rigl_moves_as_the_twin_says(decay, steps, every, fraction, seed):
    torch.manual_seed(seed)
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    training = SparseTraining(
        model,
        optimizer,
        method="rigl",
        steps=steps,
        every=every,
        fraction=fraction,
        decay=decay,
    )
    x, target = torch.randn(16, 20), torch.randn(16, 6)
    for step in range(1, min(steps, 3 * every) + 2):
        train_once(model, optimizer, x, target)
        masks, weights = masks_of(model), weights_of(model)
        gradients = dense_gradients(model, x, squares)
        due = step < steps and step % every == 0
        assert training.due == due
        moved = training.step(x if due else None, loss=squares)
        assert bool(moved) == due
        share = fraction * twin.left(decay, step / steps)
        for name, layer in layers_of(model).items():
            expected = masks[name]
            if due:
                expected = twin.exchange(
                    weights[name], masks[name], abs(gradients[name]), float(share)
                )
                assert moved[name] == (expected & ~masks[name]).sum()
            assert np.array_equal(layer.mask.numpy(), expected)
            dense = layer.dense_weight().detach().double().numpy()
            assert np.array_equal(dense, np.where(expected & masks[name], weights[name], 0))


@given(
    decay=st.sampled_from(["cosine", "cubic", "linear"]),
    steps=st.integers(1, 20),
    every=st.integers(1, 9),
    begin=st.sampled_from([0.0, 0.3, 0.55]),
)
@settings(max_examples=12, deadline=None)
def test_gradual_magnitude_thins_as_the_twin_says(decay, steps, every, begin):
    torch.manual_seed(1)
    model = small(begin)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    training = SparseTraining(
        model, optimizer, method="magnitude", steps=steps, every=every, sparsity=0.8, decay=decay
    )
    begun = {name: layer.sparsity for name, layer in layers_of(model).items()}
    x, target = torch.randn(16, 20), torch.randn(16, 6)
    for step in range(1, steps + 3):
        train_once(model, optimizer, x, target)
        masks, weights = masks_of(model), weights_of(model)
        moved = training.step()
        due = step == steps or (step < steps and step % every == 0)
        assert bool(moved) == due
        for name, layer in layers_of(model).items():
            share = 0.8 + (begun[name] - 0.8) * twin.left(decay, step / steps)
            expected = twin.thin(weights[name], masks[name], share) if due else masks[name]
            assert np.array_equal(layer.mask.numpy(), expected)
    for layer in layers_of(model).values():
        assert layer.nnz == layer.mask.numel() - round(0.8 * layer.mask.numel())


def test_set_keeps_the_number_and_draws_from_its_seed():
    model = small()
    nnz = {name: layer.nnz for name, layer in layers_of(model).items()}
    runs = []
    for seed in (3, 3, 4):
        again = copy.deepcopy(model)
        optimizer = torch.optim.AdamW(again.parameters())
        training = SparseTraining(
            again, optimizer, method="set", steps=9, every=2, fraction=0.5, seed=seed
        )
        before, weights = masks_of(again), weights_of(again)
        training.step()
        moved = training.step()
        for name, layer in layers_of(again).items():
            mask = layer.mask.numpy()
            assert layer.nnz == nnz[name]
            count = int(0.5 * twin.left("cosine", 2 / 9) * nnz[name])
            dropped = before[name] & ~mask
            assert moved[name] == dropped.sum() == count
            kept = before[name] & mask
            assert abs(weights[name][dropped]).max() <= abs(weights[name][kept]).min()
        runs.append(masks_of(again))
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in nnz)
    assert not all(np.array_equal(runs[0][name], runs[2][name]) for name in nnz)


@pytest.mark.parametrize("method", ["set", "rigl", "magnitude"])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.02),
        lambda p: torch.optim.AdamW(p, lr=0.02, amsgrad=True, fused=True),
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
        lambda p: torch.optim.RMSprop(p, lr=0.02, centered=True),
    ],
    ids=["adam", "adamw-fused", "sgd", "rmsprop"],
)
def test_a_resumed_training_gives_the_bits_of_one_that_was_not_stopped(method, make):
    x, target = torch.randn(32, 20), torch.randn(32, 6)
    sparsity = 0.9 if method == "magnitude" else None

    def begin():
        torch.manual_seed(5)
        model = small()
        optimizer = make(model.parameters())
        options = {"steps": 24, "every": 3, "sparsity": sparsity, "seed": 8}
        return model, optimizer, SparseTraining(model, optimizer, method=method, **options)

    def go(parts, steps):
        for _ in range(steps):
            train_once(*parts[:2], x, target)
            parts[2].step(x, loss=squares)

    whole = begin()
    go(whole, 26)
    first = begin()
    go(first, 10)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = begin()
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    go(second, 16)
    for name, layer in layers_of(whole[0]).items():
        other = second[0].get_submodule(name)
        assert torch.equal(layer.mask, other.mask)
        assert torch.equal(layer.values, other.values)


def test_moments_follow_the_values_that_stay():
    model = small()
    optimizer = torch.optim.Adam(model.parameters())
    training = SparseTraining(model, optimizer, method="set", steps=50, every=1, fraction=0.4)
    train_once(model, optimizer, torch.randn(8, 20), torch.randn(8, 6))
    layer = model[0]

    def dense_moment():
        moment = torch.zeros(layer.mask.shape)
        moment.view(-1)[layer._positions()] = optimizer.state[layer.values]["exp_avg_sq"]
        return moment

    before, old = dense_moment(), layer.mask
    training.step()
    assert torch.equal(dense_moment(), torch.where(layer.mask & old, before, 0))


def test_layers_inside_others_move_and_frozen_ones_stay():
    model = nn.ModuleDict(
        {
            "rnn": SparseLSTM(12, 16, sparsity=0.5),
            "head": SparseLinear(16, 4, sparsity=0.5),
            "still": SparseLinear(16, 4, sparsity=0.5).requires_grad_(False),
        }
    )
    optimizer = torch.optim.Adam(p for p in model.parameters() if p.requires_grad)
    model["rnn"](torch.randn(5, 2, 12))[0].square().sum().backward()
    optimizer.step()
    training = SparseTraining(model, optimizer, method="set", steps=9, every=1)
    moved = training.step()
    assert sorted(moved) == ["head", "rnn.hidden_products.0", "rnn.input_products.0"]
    assert all(moved.values())
    model["rnn"](torch.randn(5, 2, 12))[0].square().sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match="rnn: got a recurrent layer with method 'rigl'"):
        SparseTraining(model, optimizer, method="rigl", steps=9)
    SparseTraining(model, optimizer, method="rigl", steps=9, skip=["rnn"])


def test_it_trains_after_sparsify():
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 6))
    x, target = torch.randn(64, 20), torch.randn(64, 6)
    sparsify(model, [x], sparsity=0.8, method="magnitude", replace=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    training = SparseTraining(model, optimizer, method="rigl", steps=60, every=10)
    first = nn.functional.mse_loss(model(x), target).item()
    for _ in range(60):
        train_once(model, optimizer, x, target)
        training.step(x, loss=lambda y: nn.functional.mse_loss(y, target))
    assert nn.functional.mse_loss(model(x), target).item() < 0.8 * first


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "magic"}, ValueError, "method: got 'magic'"),
        ({"method": "set", "decay": "slow"}, ValueError, "decay: got 'slow'"),
        ({"method": "set", "steps": 0}, ValueError, "steps: got 0"),
        ({"method": "set", "every": 1.5}, TypeError, "every: got 1.5"),
        ({"method": "set", "fraction": 2}, ValueError, "fraction: got 2"),
        ({"method": "set", "fraction": "all"}, TypeError, "fraction: got 'all'"),
        ({"method": "set", "sparsity": 0.9}, ValueError, "sparsity: got 0.9 with method 'set'"),
        ({"method": "magnitude"}, ValueError, "sparsity: got None"),
        ({"method": "magnitude", "sparsity": 0.1}, ValueError, "0: got sparsity 0.1, takes 0.6"),
        ({"method": "magnitude", "sparsity": {"7": 0.9}}, ValueError, "name no layer"),
        ({"method": "set", "skip": ["9"]}, ValueError, "skip: got"),
        ({"method": "set", "skip": ["0", "2"]}, ValueError, "no trainable SparseLinear"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    model = small()
    with pytest.raises(error, match=message):
        SparseTraining(model, torch.optim.SGD(model.parameters()), **{"steps": 9, **options})


def test_bad_batches_and_states_are_refused_and_not_counted():
    model = small()
    optimizer = torch.optim.SGD(model.parameters())
    training = SparseTraining(model, optimizer, method="rigl", steps=9, every=1)
    masks = masks_of(model)
    with pytest.raises(ValueError, match="inputs: got none at a step that is due"):
        training.step()
    with pytest.raises(ValueError, match="loss: got no scalar"):
        training.step(torch.ones(2, 20))
    assert training.state_dict()["done"] == 0
    assert all(np.array_equal(masks[name], mask) for name, mask in masks_of(model).items())
    state = training.state_dict()
    for change, message in (
        ({"method": "set"}, "method 'set', takes 'rigl'"),
        ({"begun": {"other": 0.5}}, "got the layers"),
        ({"more": 1}, "got the keys"),
    ):
        with pytest.raises(ValueError, match=message):
            training.load_state_dict({**state, **change})
