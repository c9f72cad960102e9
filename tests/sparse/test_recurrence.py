"""The autograd nodes of recurrent layers: against torch's layers, and their own definition."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

from tokfrag.sparse import SparseGRU, SparseLSTM  # noqa: E402
from tokfrag.sparse.layers import gated_recurrence, recurrence  # noqa: E402
from tokfrag.sparse.products.places import pack_mask  # noqa: E402

KINDS = {
    "lstm": (nn.LSTM, SparseLSTM, 0),
    "projected-lstm": (nn.LSTM, SparseLSTM, 5),
    "gru": (nn.GRU, SparseGRU, 0),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def states_of(kind, projection, layers, batch):
    h = torch.randn(layers, batch, projection or 8, requires_grad=True)
    if kind == "gru":
        return (h,)
    return h, torch.randn(layers, batch, 8, requires_grad=True)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_gradient_equals_torchs(kind, packed):
    dense_class, sparse_class, projection = KINDS[kind]
    options = {"proj_size": projection} if projection else {}
    dense = dense_class(6, 8, 2, bidirectional=True, **options)
    sparse = sparse_class.from_dense(dense)
    x = torch.randn(4, 3, 6, requires_grad=True)
    state = states_of(kind, projection, 4, 3)
    hx = state[0] if kind == "gru" else state
    found = []
    for layer in (sparse, dense):
        given = pack_padded_sequence(x, [4, 2, 1]) if packed else x
        y, last = layer(given, hx)
        y = y.data if packed else y
        parts = (last,) if kind == "gru" else last
        loss = y.sin().sum() + sum((3 * part).cos().sum() for part in parts)
        found.append(torch.autograd.grad(loss, (x, *state), retain_graph=True))
        loss.backward()
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for number, suffix in enumerate(("_l0", "_l0_reverse", "_l1", "_l1_reverse")):
        product = sparse.hidden_products[number]
        weight = dense.get_parameter(f"weight_hh{suffix}").grad.reshape(-1)
        torch.testing.assert_close(
            product.values.grad, weight[product._positions()], rtol=1e-4, atol=1e-5
        )
        if kind == "gru":
            bias = dense.get_parameter(f"bias_hh{suffix}").grad
            torch.testing.assert_close(product.bias.grad, bias, rtol=1e-4, atol=1e-5)
        if projection:
            torch.testing.assert_close(
                sparse.projections[number].grad,
                dense.get_parameter(f"weight_hr{suffix}").grad,
                rtol=1e-4,
                atol=1e-5,
            )


def problem(kind, steps, dtype=torch.float64):
    """Arguments of a recurrence, all of them wanting gradients."""
    gates, projection = (3 if kind == "gru" else 4), KINDS[kind][2]
    size = projection or 4
    local, runs = pack_mask(torch.rand(gates * 4, size) < 0.6)

    def draw(*shape):
        return torch.randn(shape, dtype=dtype, requires_grad=True)

    tensors = [draw(steps, 3, gates * 4), draw(3, size)]
    if kind != "gru":
        tensors.append(draw(3, 4))
    tensors.append(draw(local.numel()))
    if kind == "gru":
        tensors.append(draw(12))
    elif projection:
        tensors.append(draw(5, 4))
    return tensors, (local, runs, "sparse")


def node_of(kind, places, ends, composed=False):
    def run(*tensors):
        if kind == "gru":
            call = gated_recurrence._compose if composed else gated_recurrence.gated_recurrence
            return (call(*tensors, *places),)
        inputs, h, c, values, *rest = tensors
        projection = rest[0] if rest else None
        if composed:
            return recurrence._compose(inputs, h, c, values, *places, ends, projection)
        return recurrence.recurrence(
            inputs, h, c, values, *places, ends=ends, projection=projection
        )

    return run


CASES = [
    (kind, ends)
    for kind, ends in itertools.product(KINDS, (None, (3, 1, 2)))
    if kind != "gru" or ends is None
]


@pytest.mark.parametrize(("kind", "ends"), CASES)
def test_nodes_equal_their_definition_to_the_second_order(kind, ends):
    tensors, places = problem(kind, 3)
    ends = None if ends is None else torch.tensor(ends)
    node, definition = (node_of(kind, places, ends, composed) for composed in (False, True))

    def valid(made):
        """Outputs within each sequence; what comes after its end is nobody's."""
        if ends is None:
            return made
        inside = (torch.arange(3)[:, None] < ends)[..., None]
        return (made[0] * inside, *made[1:])

    results = []
    for run in (node, definition):
        made = valid(run(*tensors))
        loss = sum((part * (n + 2)).sin().sum() for n, part in enumerate(made))
        first = torch.autograd.grad(loss, tensors, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), tensors)
        results.append((*made, *first, *second))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)
    with torch.no_grad():
        for got, expected in zip(valid(node(*tensors)), results[1], strict=False):
            torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_gives_the_first_state(kind):
    tensors, places = problem(kind, 0)
    made = node_of(kind, places, None)(*tensors)
    assert made[0].shape == (0, *tensors[1].shape)
    if kind != "gru":
        assert torch.equal(made[1], tensors[2])
    (made[0].sum() + sum(part.sum() for part in made[1:])).backward()
