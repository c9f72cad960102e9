"""Pruning models as people have them: every kind of layer, shared, frozen, hooked, routed, made."""

from __future__ import annotations

import copy
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

from tokfrag.sparse import (  # noqa: E402
    SparseConv2d,
    SparseGRU,
    SparseLinear,
    SparseLSTM,
    SparseMultiheadAttention,
    sparsify,
)
from tokfrag.sparse.pruning import masks as choice  # noqa: E402
from tokfrag.sparse.pruning.structures import parse  # noqa: E402


@pytest.fixture(autouse=True)
def _seed(monkeypatch):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", "")
    torch.manual_seed(0)


class MyLinear(nn.Linear):
    pass


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Attending(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.a = nn.MultiheadAttention(16, 4, batch_first=True, **options)
        self.f = nn.Linear(16, 4)

    def forward(self, x):
        return self.f(self.a(x, x, x)[0])


class Recurring(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.g = kind(8, 8, **options)
        self.f = nn.Linear(self.g(torch.zeros(1, 8))[0].shape[-1], 4)

    def forward(self, x):
        return self.f(self.g(x)[0])


def images():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(512, 4))


CASES = {
    "attention": (Attending, lambda: torch.randn(3, 5, 16)),
    "attention without bias": (lambda: Attending(bias=False), lambda: torch.randn(3, 5, 16)),
    "a subclass": (lambda: nn.Sequential(MyLinear(8, 16), nn.Linear(16, 4)), None),
    "convolution": (images, lambda: torch.randn(4, 3, 8, 8)),
    "lines": (
        lambda: nn.Sequential(nn.Conv1d(8, 6, 3, stride=2), nn.ReLU(), nn.Conv1d(6, 4, 2)),
        lambda: torch.randn(5, 8, 20),
    ),
    "lstm": (lambda: Recurring(nn.LSTM, num_layers=2, bidirectional=True), None),
    "lstm, batch first": (lambda: Recurring(nn.LSTM, batch_first=True, bias=False), None),
    "gru": (lambda: Recurring(nn.GRU, num_layers=2, bidirectional=True, batch_first=True), None),
}


def data_of(make, count=4):
    make = make or (lambda: torch.randn(6, 7, 8))
    return [make() for _ in range(count)]


@pytest.mark.parametrize("case", CASES)
def test_captured_inputs_give_back_the_same_model(case):
    """At sparsity zero every layer problem is solved by the layer's own weights."""
    model, data = CASES[case][0](), data_of(CASES[case][1])
    dense = copy.deepcopy(model)
    report = sparsify(model, data, sparsity=0.0)
    assert all(layer.error_after < 1e-6 for layer in report.layers)
    assert not report.left_dense
    torch.testing.assert_close(model(data[0]), dense(data[0]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["cd", "sgd"])
@pytest.mark.parametrize("case", CASES)
def test_every_kind_is_pruned_and_replaced(case, method):
    model, data = CASES[case][0](), data_of(CASES[case][1])
    plain = copy.deepcopy(model)
    report = sparsify(model, data, sparsity=0.5, method=method, replace=True, steps=3)
    assert report.sparsity == pytest.approx(0.5, abs=0.02)
    again = sparsify(plain, data, masks=report.masks, method="magnitude", refit=False)
    assert again.sparsity == report.sparsity
    for mode in (True, False):
        model.train(mode)
        model(data[0]).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.numel())
    kept = sum(int(mask.sum()) for mask in report.masks.values())
    stored = sum(m.nnz for m in model.modules() if isinstance(m, SparseLinear))
    assert stored == kept
    kinds = (SparseLinear, SparseConv2d, SparseGRU, SparseLSTM, SparseMultiheadAttention)
    assert any(isinstance(m, kinds) for m in model.modules())


@pytest.mark.parametrize("case", CASES)
def test_replaced_layers_compute_what_the_pruned_dense_ones_do(case):
    make, data = CASES[case][0], data_of(CASES[case][1])
    model = make()
    twin = copy.deepcopy(model)
    sparsify(model, data, sparsity=0.6, replace=True)
    sparsify(twin, data, sparsity=0.6)
    torch.testing.assert_close(model(data[0]), twin(data[0]), rtol=1e-3, atol=1e-4)


def test_torchs_transformer_runs_after_its_layers_are_replaced():
    model = nn.Transformer(32, 4, 1, 1, 64, batch_first=True)
    batch = (torch.randn(3, 5, 32), torch.randn(3, 4, 32))
    twin = copy.deepcopy(model)
    report = sparsify(model, [batch], sparsity=0.5, replace=True)
    sparsify(twin, [batch], sparsity=0.5)
    assert not report.left_dense
    assert not any(type(m) in (nn.Linear, nn.MultiheadAttention) for m in model.modules())
    model(*batch).sum().backward()  # in training mode
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(*batch), twin.eval()(*batch), rtol=1e-3, atol=1e-4)
        assert torch.equal(copy.deepcopy(model)(*batch), model(*batch))


def test_the_report_has_a_row_for_every_module_and_counts_the_whole_model():
    model = nn.Sequential(
        nn.Embedding(50, 8),
        nn.LayerNorm(8),
        nn.Linear(8, 16),
        nn.ReLU(),
        Doubling(16, 16),
        nn.Linear(16, 4),
    )
    report = sparsify(model, [torch.randint(0, 50, (9,))], sparsity=0.75, skip=["5"])
    rows = {row.path: row for row in report.modules}
    assert list(rows) == [path for path, _ in model.named_modules()]
    assert rows["2"].action == "pruned"
    assert report.left_dense.keys() == {"0", "4", "5"}
    assert "table" in rows["0"].reason
    assert rows["1"].action == "no weights"
    assert rows["4"].reason == "Doubling is no layer that sparsify knows"
    assert rows["5"].reason == "named in skip"
    weights = [p for p in model.parameters() if p.ndim == 2]
    zeros = sum(int((p == 0).sum()) for p in weights)
    assert report.sparsity == zeros / sum(p.numel() for p in weights)
    for path in ("0", "4", "5"):
        assert f"\n{path} " in str(report)


def test_a_shared_module_stays_shared():
    shared = nn.Linear(8, 8)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    twin = copy.deepcopy(model)
    x = torch.randn(16, 8)
    sparsify(model, [x], sparsity=0.5, replace=True)
    sparsify(twin, [x], sparsity=0.5)
    assert isinstance(model[0], SparseLinear)
    assert model[0] is model[2]
    assert sum(p.numel() for p in model.parameters()) == 32 + 8
    torch.testing.assert_close(model(x), twin(x))


def test_what_was_frozen_stays_frozen():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)
    sparsify(model, [torch.randn(16, 8)], sparsity=0.5, replace=True)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, False]


def test_hooks_stay_and_their_handles_remove_them():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    seen = []
    handles = [
        model[0].register_forward_hook(lambda *_: seen.append("after")),
        model[0].register_forward_pre_hook(lambda *_: seen.append("before")),
        model[0].register_full_backward_hook(lambda *_: seen.append("back")),
    ]
    x = torch.randn(16, 8)
    sparsify(model, [x], sparsity=0.5, replace=True)
    seen.clear()
    model(x.requires_grad_()).sum().backward()
    assert seen == ["before", "after", "back"]
    for handle in handles:
        handle.remove()
    seen.clear()
    model(x).sum().backward()
    assert seen == []


MADE = {
    "prune": (lambda layer: prune.l1_unstructured(layer, "weight", 0.3), "torch.nn.utils.prune"),
    "weight_norm": (nn.utils.weight_norm, "remove_weight_norm"),
    "spectral_norm": (nn.utils.spectral_norm, "remove_spectral_norm"),
    "parametrised weight_norm": (parametrizations.weight_norm, "WeightNorm"),
    "parametrised spectral_norm": (parametrizations.spectral_norm, "SpectralNorm"),
}


@pytest.mark.parametrize("way", MADE)
def test_made_weights_are_refused_by_name_or_skipped(way):
    wrap, message = MADE[way]
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have its newer forms
        wrap(model[0])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"^0: got .*{message}"):
        sparsify(model, [torch.randn(32, 16)], sparsity=0.9)
    assert all(torch.equal(model.state_dict()[n], t) for n, t in before.items())
    report = sparsify(model, [torch.randn(32, 16)], sparsity=0.9, skip=["0"])
    assert [layer.path for layer in report.layers] == ["2"]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_packed_sequences_and_first_states_are_what_flows_in(kind):
    class Packing(nn.Module):
        def __init__(self):
            super().__init__()
            self.g = kind(8, 8, num_layers=2, bidirectional=True)

        def forward(self, first, *sequences):
            packed = nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
            state = (first, first) if kind is nn.LSTM else first
            return self.g(packed, state)[0].data

    model = Packing()
    batch = (torch.randn(4, 3, 8), *(torch.randn(n, 8) for n in (3, 6, 1)))
    dense = copy.deepcopy(model)
    report = sparsify(model, [batch], sparsity=0.0, refit=True)
    assert all(layer.error_after < 1e-6 for layer in report.layers)
    torch.testing.assert_close(model(*batch), dense(*batch), rtol=1e-3, atol=1e-3)
    sparsify(model, [batch], sparsity=0.5, replace=True)
    assert model(*batch).isfinite().all()


# Mixtures of experts.


class Routed(nn.Module):
    """Each token goes to one of the experts; the router reads what a prunable layer makes."""

    def __init__(self, experts=2):
        super().__init__()
        self.inp = nn.Linear(8, 8)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(experts))

    def forward(self, x):
        x = self.inp(x)
        chosen = (x.mean(1) > 0).long()
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                y[rows] = expert(x[rows])
        return y


class Switch(nn.Module):
    """Each batch goes to one of two experts."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x):
        return self.experts[int(x.mean() > 0)](x)


@pytest.mark.parametrize("method", ["cd", "sgd", "sparsegpt"])
def test_experts_are_fitted_to_the_tokens_they_get(method):
    model = Routed()
    dense = copy.deepcopy(model)
    data = torch.randn(256, 8)
    report = sparsify(model, [data], sparsity=0.5, method=method, steps=20)
    assert [layer.path for layer in report.layers] == ["inp", "experts.0", "experts.1"]
    assert report.sparsity == 0.5
    if method == "cd":
        remarks = [layer.remark for layer in report.layers]
        assert remarks[0] == ""
        assert all("tokens differ" in remark for remark in remarks[1:])
    with torch.no_grad():
        x = dense.inp(data)
        rows = x.mean(1) <= 0
        wrong = model.experts[0](x[rows]) - dense.experts[0](x[rows])
        assert wrong.square().mean() < dense.experts[0](x[rows]).square().mean()


def test_routed_experts_take_the_dense_target_where_tokens_agree():
    model = Routed()
    report = sparsify(model, [torch.randn(256, 8)], sparsity=0.5, skip=["inp"])
    assert [layer.remark for layer in report.layers] == ["", ""]


def test_an_expert_counts_every_batch():
    data = torch.randn(64, 8)
    report = sparsify(Switch(), [data.abs(), -data.abs()], sparsity=0.5)
    assert [layer.path for layer in report.layers] == ["experts.1", "experts.0"]


def test_experts_without_calibration_are_named_together():
    message = "^experts.2, experts.3: the calibration never reaches these layers"
    with pytest.raises(ValueError, match=message):
        sparsify(Routed(4), [torch.randn(64, 8)])
    report = sparsify(Routed(4), [torch.randn(64, 8)], skip=["experts.2", "experts.3"])
    assert report.left_dense == dict.fromkeys(["experts.2", "experts.3"], "named in skip")


# How sparse, and in what shape.


def three():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.Linear(32, 8))


def shares(report):
    return {layer.path: round(layer.sparsity, 2) for layer in report.layers}


def test_sparsity_by_name_and_by_rule():
    data = [torch.randn(64, 16)]
    report = sparsify(three(), data, sparsity={"0": 0.5, "2.weight": 0.75})
    assert shares(report) == {"0": 0.5, "2": 0.75}
    assert report.left_dense == {"3": "not in sparsity"}

    def rule(name, module):
        return 0.25 if module.in_features == 32 else None

    assert shares(sparsify(three(), data, sparsity=rule)) == {"2": 0.25, "3": 0.25}


@pytest.mark.parametrize(("budget", "share"), [("global", 0.5), ("global:0.8", 0.8)])
@pytest.mark.parametrize("method", ["cd", "sgd"])
def test_a_global_budget_goes_where_it_costs_least(budget, share, method):
    model = three()
    with torch.no_grad():
        model[2].weight[:, 4:] = 1e-4 * torch.randn(32, 28)  # most of this layer is of no use
    data = [torch.randn(128, 16)]
    report = sparsify(model, data, sparsity=budget, method=method, steps=20)
    assert report.sparsity == pytest.approx(share, abs=0.01)
    found = shares(report)
    assert found["2"] > max(found["0"], found["3"])


def test_a_global_budget_beats_one_share_for_all():
    torch.manual_seed(1)
    model = three()
    with torch.no_grad():
        model[2].weight[:, 8:] *= 0.01
    data = [torch.randn(256, 16)]
    errors = []
    for sparsity in (0.6, "global:0.6"):
        pruned = copy.deepcopy(model)
        sparsify(pruned, data, sparsity=sparsity)
        errors.append((pruned(data[0]) - model(data[0])).square().mean().item())
    assert errors[1] < errors[0]


@pytest.mark.parametrize("method", ["cd", "admm", "magnitude", "wanda", "sparsegpt", "sgd"])
@pytest.mark.parametrize(("n", "m"), [(4, 8), (1, 4), (3, 16)])
def test_n_of_every_m(method, n, m):
    model = three()
    data = [torch.randn(64, 16) for _ in range(2)]
    report = sparsify(model, data, structure=f"{n}:{m}", method=method, steps=10)
    for mask in report.masks.values():
        assert (mask.view(-1, m).sum(1) == n).all()


@pytest.mark.parametrize("method", ["cd", "magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (1, 8), (8, 1), (3, 5)])
def test_blocks_stay_or_go_together(method, rows, columns):
    report = sparsify(
        three(),
        [torch.randn(64, 16)],
        sparsity=0.75,
        structure=f"{rows}x{columns}",
        method=method,
    )
    for mask in report.masks.values():
        for block in mask.split(rows):
            for part in block.split(columns, 1):
                assert part.all() or not part.any()
        assert mask.float().mean() == pytest.approx(0.25, abs=0.1)


def test_select_takes_blocks_at_the_edge():
    scores = torch.zeros(5, 7)
    scores[4, 6] = 1
    mask = choice.select(scores, 5 / 6, parse("2x4"))
    assert mask.nonzero().tolist() == [[4, 4], [4, 5], [4, 6]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sparsity": {"9": 0.5}}, ValueError, "sparsity: got .'9'., which name no"),
        ({"sparsity": {"0": 1.5}}, ValueError, r"sparsity\['0'\]: got 1.5"),
        ({"sparsity": lambda name, module: 2.0}, ValueError, r"sparsity\('0'\): got 2.0"),
        ({"sparsity": lambda name, module: None}, ValueError, "leaves every layer dense"),
        ({"sparsity": "all"}, TypeError, "sparsity: got 'all'"),
        ({"sparsity": "global:x"}, TypeError, "sparsity: got 'global:x'"),
        ({"structure": "4:6"}, ValueError, r"0.weight: got 16 columns with structure '4:6'"),
        ({"structure": "1:4", "sparsity": 0.9}, ValueError, "takes 0.75"),
        ({"structure": "0:4"}, ValueError, "structure: got '0:4'"),
        ({"structure": "999x1"}, ValueError, "structure: got '999x1'"),
        ({"structure": 4}, ValueError, "structure: got 4"),
    ],
)
def test_bad_input_leaves_the_model(options, error, message):
    model = three()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message):
        sparsify(model, [torch.randn(64, 16)], **options)
    assert all(torch.equal(model.state_dict()[name], t) for name, t in before.items())
