"""Sparse modules where torch's were: what code that was written for those does with them."""

from __future__ import annotations

import copy
import itertools
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

from tokfrag.sparse import (  # noqa: E402
    SparseConv1d,
    SparseConv2d,
    SparseEmbedding,
    SparseEmbeddingBag,
    SparseGRU,
    SparseLinear,
    SparseLSTM,
    SparseMultiheadAttention,
)


@pytest.fixture(autouse=True)
def _seed(monkeypatch):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", "")
    torch.manual_seed(0)


def equal(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


# The weight, as other code reads it.


def test_weight_is_the_dense_matrix_and_read_only():
    layer = SparseLinear(16, 8, sparsity=0.5).eval()
    weight, x = layer.weight, torch.randn(3, 16)
    equal(x @ weight.T + layer.bias, layer(x))
    assert (weight.dtype, weight.shape, weight.device) == (torch.float32, (8, 16), x.device)
    for write in (
        lambda: weight.mul_(2),
        lambda: weight.__setitem__(0, 1),
        lambda: nn.init.normal_(weight),
        lambda: torch.add(weight, 1, out=weight),
        lambda: setattr(weight, "data", torch.ones(8, 16)),
    ):
        with pytest.raises(TypeError, match=r"weight|out"):
            write()
    with pytest.raises(KeyError):
        layer.weight = nn.Parameter(torch.ones(8, 16))


def test_a_read_of_the_weight_in_training_is_told_and_differentiable():
    layer = SparseLinear(16, 8, sparsity=0.5)
    with pytest.warns(UserWarning, match="made a dense matrix"):
        layer.weight.square().sum().backward()
    equal(layer.values.grad, 2 * layer.values.detach())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert layer.eval().weight is not None
        assert layer.train().requires_grad_(False).weight is not None
        with torch.no_grad():
            assert layer.weight is not None
    table = SparseEmbedding(5, 4, sparsity=0.5)
    assert torch.equal(table.weight, table.to_dense().weight)


def test_arguments_by_name():
    layer, table = SparseLinear(8, 4), SparseEmbedding(5, 4)
    x, ids = torch.randn(2, 8), torch.tensor([1, 2])
    assert torch.equal(layer(input=x), layer(x))
    assert torch.equal(table(input=ids), table(ids))


# Ensembles.


@pytest.mark.parametrize("same_mask", [True, False])
def test_an_ensemble_under_vmap(same_mask):
    mask = torch.rand(8, 16) < 0.5 if same_mask else None
    layers = [SparseLinear(16, 8, sparsity=0.5, mask=mask) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(layers)
    x = torch.randn(3, 16)

    def run(p, b, x):
        return torch.func.functional_call(layers[0], (p, b), (x,))

    equal(
        torch.vmap(run)(parameters, buffers, x),
        torch.stack([m(v) for m, v in zip(layers, x, strict=True)]),
    )
    together = torch.vmap(run, in_dims=(0, 0, None))
    equal(together(parameters, buffers, x), torch.stack([m(x) for m in layers]))

    def loss(p, b):
        return run(p, b, x).square().sum()

    gradients = torch.vmap(torch.func.grad(loss))(parameters, buffers)
    for index, layer in enumerate(layers):
        layer(x).square().sum().backward()
        equal(gradients["values"][index], layer.values.grad)


def test_an_ensemble_of_tables_under_vmap():
    tables = [SparseEmbedding(9, 8, sparsity=0.5) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(tables)
    ids = torch.tensor([1, 4])
    got = torch.vmap(lambda p, b: torch.func.functional_call(tables[0], (p, b), (ids,)))(
        parameters, buffers
    )
    equal(got, torch.stack([table(ids) for table in tables]))


# Recurrent networks.


def parts(output):
    y, state = output
    y = y.data if hasattr(y, "batch_sizes") else y
    return [y, *(state if isinstance(state, tuple) else (state,))]


PAIRS = [(nn.LSTM, SparseLSTM), (nn.GRU, SparseGRU)]
SHAPES = list(itertools.product((1, 2), (False, True), (False, True), (True, False)))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    ("dense_class", "sparse_class", "projection"),
    [(nn.LSTM, SparseLSTM, 0), (nn.LSTM, SparseLSTM, 5), (nn.GRU, SparseGRU, 0)],
    ids=["lstm", "projected-lstm", "gru"],
)
@pytest.mark.parametrize(("layers", "both", "batch_first", "bias"), SHAPES)
def test_recurrent_networks_equal_torchs(
    dense_class, sparse_class, projection, layers, both, batch_first, bias
):
    lstm = dense_class is nn.LSTM
    options = {"proj_size": projection} if projection else {}
    dense = dense_class(
        6, 8, layers, bidirectional=both, batch_first=batch_first, bias=bias, **options
    )
    sparse = sparse_class.from_dense(dense)
    x = torch.randn(4, 3, 6)
    count = layers * (2 if both else 1)
    size = 4 if batch_first else 3
    state = torch.randn(count, size, projection or 8)
    if lstm:
        state = (state, torch.randn(count, size, 8))
    for arguments in ((x,), (x, state), (x[:, 0],)):
        for got, expected in zip(parts(sparse(*arguments)), parts(dense(*arguments)), strict=True):
            equal(got, expected)
    for got, expected in zip(parts(sparse.to_dense()(x)), parts(dense(x)), strict=True):
        equal(got, expected)
    lengths = [2, 3, 1, 3] if batch_first else [2, 4, 1]
    packed = pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)
    got, expected = sparse(packed, hx=state), dense(packed, state)
    for a, b in zip(parts(got), parts(expected), strict=True):
        equal(a, b)
    assert torch.equal(pad_packed_sequence(got[0])[1], pad_packed_sequence(expected[0])[1])


@pytest.mark.parametrize(("dense_class", "sparse_class"), PAIRS, ids=["lstm", "gru"])
def test_gradients_through_packed_sequences(dense_class, sparse_class):
    dense = dense_class(6, 8, 2, bidirectional=True)
    sparse = sparse_class.from_dense(dense)
    x = torch.randn(4, 3, 6, requires_grad=True)
    gradients = []
    for layer in (sparse, dense):
        x.grad = None
        y, state = layer(pack_padded_sequence(x, [4, 2, 1]))
        last = state if isinstance(state, tuple) else (state,)
        (y.data.sin().sum() + sum((3 * part).cos().sum() for part in last)).backward()
        gradients.append(x.grad)
    equal(*gradients)
    name = "weight_hh_l1_reverse"
    product = sparse.hidden_products[3]
    got = product.values.grad
    equal(got, dense.get_parameter(name).grad.reshape(-1)[product._positions()])


@pytest.mark.parametrize(("dense_class", "sparse_class"), PAIRS, ids=["lstm", "gru"])
def test_recurrent_networks_under_autocast(dense_class, sparse_class):
    dense = dense_class(16, 8, 2, batch_first=True)
    sparse = sparse_class.from_dense(dense)
    x = torch.randn(3, 5, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = sparse(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), dense(x)[0], rtol=0.05, atol=0.05)
    y.float().sum().backward()
    assert sparse.hidden_products[0].values.grad.dtype == torch.float32


def test_what_code_asks_a_recurrent_network():
    layer = SparseLSTM(8, 16, 2, bidirectional=True, batch_first=True, dropout=0.5)
    layer.flatten_parameters()
    asked = ("bidirectional", "proj_size", "num_layers", "hidden_size", "batch_first", "dropout")
    assert [getattr(layer, name) for name in asked] == [True, 0, 2, 16, True, 0.5]
    x = torch.randn(2, 3, 8)
    assert not torch.equal(layer(x)[0], layer(x)[0])  # dropout between the layers
    assert torch.equal(layer.eval()(x)[0], layer(x)[0])
    with pytest.raises(ValueError, match=r"state: got shape \(1, 2, 16\)"):
        layer(x, (torch.zeros(1, 2, 16), torch.zeros(1, 2, 16)))
    with pytest.raises(ValueError, match="proj_size: got 16"):
        SparseLSTM(8, 16, proj_size=16)


# Convolutions.


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, "same", 2), ((2, 1), (0, 1), 1)]
)
def test_convolutions_equal_torchs(mode, stride, padding, dilation):
    dense = nn.Conv2d(3, 8, (3, 2), stride, padding, dilation, padding_mode=mode)
    mask = torch.rand_like(dense.weight) < 0.5
    sparse = SparseConv2d.from_dense(dense, mask)
    with torch.no_grad():
        dense.weight.mul_(mask)
    x = torch.randn(2, 3, 9, 11)
    equal(sparse(x), dense(x))
    equal(sparse(x[0]), dense(x[0]))
    equal(sparse.to_dense()(x), dense(x))
    assert torch.equal(sparse.mask, mask)
    assert torch.equal(sparse.eval().weight, dense.weight)
    if isinstance(stride, tuple):
        return
    line = nn.Conv1d(3, 8, 3, stride, padding, dilation, padding_mode=mode, bias=False)
    equal(SparseConv1d.from_dense(line)(x[..., 0]), line(x[..., 0]))


def test_gradients_of_a_convolution():
    dense = nn.Conv2d(3, 4, 3, padding=1)
    sparse = SparseConv2d.from_dense(dense)
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    dense(x).sin().sum().backward()
    expected, x.grad = x.grad, None
    sparse(x).sin().sum().backward()
    equal(x.grad, expected)
    equal(sparse.product.values.grad, dense.weight.grad.reshape(-1)[sparse.product._positions()])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SparseConv2d.from_dense(nn.Conv2d(4, 4, 3, groups=2)), ValueError, "groups=2"),
        (lambda: SparseConv2d.from_dense(nn.Conv1d(4, 4, 3)), TypeError, "got Conv1d"),
        (lambda: SparseConv2d(3, 4, 3)(torch.ones(2, 4, 9, 9)), ValueError, "input: got shape"),
        (lambda: SparseConv1d(3, 4, 3)(torch.ones(9)), ValueError, "input: got shape"),
        (
            lambda: SparseMultiheadAttention.from_dense(
                nn.MultiheadAttention(8, 2, add_bias_kv=True)
            ),
            ValueError,
            "add_bias_kv=False",
        ),
        (lambda: SparseMultiheadAttention(8, 3), ValueError, "num_heads: got 3"),
        (lambda: SparseEmbeddingBag(8, 3, mode="min"), ValueError, "mode: got 'min'"),
        (lambda: SparseEmbeddingBag(8, 3)(torch.tensor([1])), ValueError, "takes .bags, length"),
        (
            lambda: SparseEmbeddingBag(8, 3)(torch.tensor([1]), torch.tensor([0, 2])),
            ValueError,
            "offsets: got 2",
        ),
        (
            lambda: SparseEmbeddingBag.from_dense(nn.EmbeddingBag(8, 3, max_norm=1.0)),
            ValueError,
            "max_norm=1.0",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


# Bags and attention.


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_equal_torchs(mode):
    dense = nn.EmbeddingBag(20, 8, mode=mode)
    mask = torch.rand(20, 8) < 0.5
    sparse = SparseEmbeddingBag.from_dense(dense, mask)
    with torch.no_grad():
        dense.weight.mul_(mask)
    ids = torch.randint(0, 20, (7,))
    offsets = torch.tensor([0, 3, 3, 5])  # the second bag is empty
    equal(sparse(ids, offsets), dense(ids, offsets))
    equal(sparse(ids.view(1, 7)), dense(ids.view(1, 7)))
    equal(sparse.to_dense()(ids, offsets), dense(ids, offsets))
    if mode == "sum":
        factors = torch.randn(7)
        equal(sparse(ids, offsets, factors), dense(ids, offsets, factors))
    sparse(ids, offsets).sum().backward()
    assert sparse.values.grad.isfinite().all()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("sizes", [{}, {"kdim": 7, "vdim": 5}])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_equals_torchs(batch_first, sizes, bias):
    dense = nn.MultiheadAttention(16, 4, batch_first=batch_first, bias=bias, **sizes)
    sparse = SparseMultiheadAttention.from_dense(dense)
    batch, targets, sources = (5, 3, 6) if batch_first else (3, 5, 6)
    lines = (batch, sources) if batch_first else (sources, batch)
    q = torch.randn(5, 3, 16)
    k, v = (torch.randn(*lines, sizes.get(name, 16)) for name in ("kdim", "vdim"))
    padding = torch.zeros(batch, sources, dtype=torch.bool)
    padding[0, 4:] = True
    each = torch.rand(batch * 4, targets, sources) > 0.8
    each[..., 0] = False
    for options in (
        {},
        {"key_padding_mask": padding},
        {"attn_mask": torch.randn(targets, sources), "key_padding_mask": padding.float()},
        {"attn_mask": each, "average_attn_weights": False},
        {"need_weights": False, "key_padding_mask": padding},
    ):
        y, weights = sparse(q, k, v, **options)
        expected, expected_weights = dense(q, k, v, **options)
        equal(y, expected)
        if expected_weights is None:
            assert weights is None
        else:
            equal(weights, expected_weights)
    for got, expected in zip(
        sparse(q[:, 0], k[:, 0], v[:, 0]), dense(q[:, 0], k[:, 0], v[:, 0]), strict=True
    ):
        equal(got, expected)
    equal(sparse.to_dense()(q, k, v)[0], dense(q, k, v)[0])


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("attention", [True, False])
def test_torchs_encoder_runs_with_sparse_layers(nested, batch_first, attention):
    """Training and evaluation, with gradients and without: its fused path steps aside."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=batch_first, dropout=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it nests no tensors without batch_first
        dense = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
    sparse = copy.deepcopy(dense)
    for block in sparse.layers:
        block.linear1 = SparseLinear.from_dense(block.linear1)
        block.linear2 = SparseLinear.from_dense(block.linear2)
        if attention:
            block.self_attn = SparseMultiheadAttention.from_dense(block.self_attn)
    x = torch.randn(4, 6, 32)
    length = 6 if batch_first else 4
    causal = nn.Transformer.generate_square_subsequent_mask(length)
    padding = torch.zeros(24 // length, length, dtype=torch.bool)
    padding[0, -2:] = True
    kept = ~padding if batch_first else ~padding.T
    for training, gradients in itertools.product((True, False), repeat=2):
        sparse.train(training)
        dense.train(training)
        with torch.set_grad_enabled(gradients), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's nested tensors are a prototype
            equal(sparse(x), dense(x))
            equal(sparse(x, mask=causal, is_causal=True), dense(x, mask=causal, is_causal=True))
            got = sparse(x, src_key_padding_mask=padding)
            equal(got[kept], dense(x, src_key_padding_mask=padding)[kept])


# Loading.


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.01),
        lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
    ],
    ids=["adam", "adamw-fused", "sgd", "rmsprop"],
)
def test_another_mask_loads_under_an_optimiser_that_has_stepped(make):
    model, other = SparseLinear(30, 20, sparsity=0.5), SparseLinear(30, 20, sparsity=0.8)
    x = torch.randn(5, 30)
    optimiser = make(model.parameters())

    def step():
        optimiser.zero_grad()
        model(x).square().sum().backward()
        optimiser.step()

    step()
    bias = {k: v.clone() for k, v in optimiser.state[model.bias].items() if torch.is_tensor(v)}
    model.load_state_dict(other.state_dict())
    assert torch.equal(model(x), other(x))
    step()
    assert model.values.shape == other.values.shape
    for value in optimiser.state[model.values].values():
        assert not torch.is_tensor(value) or value.ndim == 0 or value.shape == model.values.shape
    if "step" in bias:  # the history of what stayed goes on
        assert optimiser.state[model.bias]["step"] == bias["step"] + 1
        assert optimiser.state[model.values]["step"] == 1
