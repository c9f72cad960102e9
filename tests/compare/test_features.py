"""Frozen features of a user's network: as a cut, as a body, from a file; what the gate refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import tokfrag.compare.encoder as encoders  # noqa: E402
from tokfrag.cli.main import main  # noqa: E402
from tokfrag.compare import FrozenFeatures, Samples, as_cut, compare, parse_cut  # noqa: E402
from tokfrag.compare.frozen_body import FrozenBody  # noqa: E402
from tokfrag.compare.models import as_model  # noqa: E402

PICTURES = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)
LABELS = np.arange(40) % 2
PICTURES[LABELS == 1, :, :3] += 1


class Seen(nn.Module):
    """Counts the items that it is shown, and whether it could learn from them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(36, 5)
        self.drop = nn.Dropout(0.5)
        self.items = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        assert not self.training
        self.items += len(x)
        return self.drop(self.linear(x.flatten(1)))


def test_each_item_is_asked_for_once_and_nothing_is_learnt() -> None:
    net = Seen()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    cut = FrozenFeatures(net)
    fitted = cut.fit(Samples(PICTURES))
    asked = net.items
    pieces = fitted.cut(PICTURES)
    fitted.cut(PICTURES[::-1])
    assert net.items == asked
    assert pieces.values.shape == (40, 1, 5)
    assert np.allclose(pieces.values.mean((0, 1)), 0, atol=1e-5)
    assert np.allclose(pieces.values.std((0, 1)), 1, atol=1e-4)
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_row_of_frozen_features_beside_a_cut() -> None:
    report = compare((PICTURES, LABELS), ["patch:3", Seen()], budget="30 steps", seeds=1)
    row = report.rows[1]
    assert row.name == "features:Seen"
    assert row.facts is not None
    assert row.facts.family == "fragments"
    assert any("MFLOP a sample, paid once" in note for note in row.notes)
    # What is trained is the head: the network's own weights are none of it.
    assert row.facts.embedding_parameters == 5 * 64 + 64 + 64


def test_a_function_a_module_and_a_file_are_cuts(tmp_path: Path) -> None:
    assert as_cut(nn.Flatten()).name == "features:Flatten"
    assert as_cut(lambda x: x).name == "features:lambda"
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\n"
        "def make():\n    return torch.nn.Flatten()\n"
        "def encode(x):\n    return x.flatten(1)\n"
        "made = torch.nn.Flatten()\n"
        "number = 3\n"
    )
    whole = PICTURES.reshape(40, 1, 36)
    for name in ("make", "encode", "made"):
        cut = parse_cut(f"features:{file}:{name}@mean")
        assert cut.name.endswith("@mean")
        fitted = cut.fit(Samples(PICTURES))
        assert fitted.spec.merge == "mean"
        expected = (whole - whole.mean((0, 1))) / whole.std((0, 1))
        assert np.allclose(fitted.cut(PICTURES).values, expected, atol=1e-4)
    with pytest.raises(ValueError, match="number is a int, not a network"):
        parse_cut(f"features:{file}:number").fit(Samples(PICTURES))
    with pytest.raises(ValueError, match=r"holds no net; it holds make, encode"):
        parse_cut(f"features:{file}:net").fit(Samples(PICTURES))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torch_export_and_torchscript_files(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).eval()
    batch = torch.export.Dim("batch", min=1)
    example = (torch.zeros(3, 1, 6, 6),)
    exported = torch.export.export(net, example, dynamic_shapes=({0: batch},))
    torch.export.save(exported, str(tmp_path / "net.pt2"))
    torch.jit.trace(net, example).save(str(tmp_path / "net.pt"))
    found = [
        parse_cut(f"features:{tmp_path / name}").fit(Samples(PICTURES)).cut(PICTURES).values
        for name in ("net.pt2", "net.pt")
    ]
    assert found[0].shape == (40, 1, 4)
    assert np.allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("features:net.py", "takes features:FILE.py:NAME"),
        ("features:net.bin:make", "takes features:FILE.py:NAME"),
        ("features:nowhere.py:make", "no such file"),
    ],
)
def test_what_is_no_file_of_a_network(name: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        parse_cut(name)


NOISE = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda x: x.flatten(1) - x.mean(), "changes with the others of the batch"),
        (lambda x: torch.rand(len(x), 3, generator=NOISE), "changes from one time to the next"),
        (lambda x: x, "takes .batch, width., or .batch, n, width."),
        (lambda x: x.flatten(1) / 0, "no finite numbers"),
        (lambda x: "vector", "got str; it takes a tensor"),
        (lambda x: {}["key"], "the network raised KeyError"),
        (lambda x: x.flatten(1).bool(), r"got torch\.bool"),
    ],
)
def test_what_is_no_feature_of_an_item_is_refused(network: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrozenFeatures(network).fit(Samples(PICTURES))


def test_features_that_will_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "free_memory", lambda: 1e4)
    with pytest.raises(MemoryError, match=r"gives 0\.0 MB an item"):
        FrozenFeatures(nn.Flatten()).fit(Samples(PICTURES))


def test_texts_are_shown_as_text_and_filled_up_with_zeros() -> None:
    def lengths(texts: list[str]) -> torch.Tensor:
        found = torch.zeros(len(texts), 4, 2)
        for row, text in zip(found, texts, strict=True):
            for place, word in zip(row, text.split(), strict=False):
                place[:] = torch.tensor([len(word), ord(word[0])])
        return found

    texts = [b"one three", b"a", "naïve é b".encode()]
    fitted = FrozenFeatures(lengths).fit(Samples(texts))
    pieces = fitted.cut(texts)
    assert pieces.lengths.tolist() == [2, 1, 3]
    assert fitted.spec.padded
    assert not pieces.values[1, 1:].any()


def test_a_body_is_shown_pieces_without_what_fills_them_up() -> None:
    shown = []

    def network(ids: torch.Tensor) -> torch.Tensor:
        shown.append(ids)
        return torch.stack((ids, ids * 2), -1)

    texts = [b"abc", b"a", b"abcd", b"bc"] * 3
    cut = FrozenBody(network).adapt(parse_cut("bytes"))
    assert cut.name == "bytes"
    pieces = cut.fit(Samples(texts)).cut(texts)
    assert pieces.lengths.tolist()[:4] == [3, 1, 4, 2]
    assert all(ids.dtype == torch.int64 and int(ids.max()) < 256 for ids in shown)
    assert not pieces.values[1, 1:].any()


def test_a_frozen_body_of_a_text_must_be_causal() -> None:
    torch.manual_seed(0)
    table, layer = nn.Embedding(256, 16), nn.GRU(16, 16, batch_first=True)
    texts = [f"the quick brown fox number {i} jumps over it " * 4 for i in range(40)]
    causal = FrozenBody(lambda ids: layer(table(ids))[0], name="causal")
    report = compare(texts, ["bytes"], model=causal, budget="20 steps", seeds=1)
    assert report.rows[0].quality is not None
    assert report.rows[0].facts is not None
    # A norm and the answer's weights are trained, the network is not.
    assert report.rows[0].facts.parameters == 2 * 16 + 16 * 256 + 256
    ahead = FrozenBody(lambda ids: layer(table(ids).flip(1))[0].flip(1))
    with pytest.raises(ValueError, match="predicting the next piece takes a causal module"):
        compare(texts, ["bytes"], model=ahead, budget="20 steps", seeds=1)


def test_a_resumed_comparison_tells_other_weights() -> None:
    one, other = FrozenBody(nn.Linear(3, 2)), FrozenBody(nn.Linear(3, 2))
    assert repr(one) == repr(one)
    assert repr(one) != repr(other)


def test_dense_answers_take_no_frozen_features() -> None:
    with pytest.raises(ValueError, match="not one a position"):
        compare("volume", ["patch:12"], model=FrozenBody(nn.Flatten(2)), budget="2 steps", seeds=1)


class Placed(nn.Module):
    """Tells where it is and where what it is shown is; answers on the processor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.seen: list[tuple[str, str]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append((self.weight.device.type, x.device.type))
        return torch.zeros(len(x), 3)


def test_a_frozen_network_runs_where_it_is_told() -> None:
    # The device "meta" holds no numbers, but is another one than the processor.
    early, late = Placed(), Placed()
    cut = FrozenFeatures(early)
    cut.run_on(torch.device("meta"))
    cut.fit(Samples(PICTURES))
    assert set(early.seen) == {("meta", "meta")}
    body = FrozenBody(late)
    body.features.encoder.ask(PICTURES)
    body.run_on(torch.device("meta"))
    body.features.over(parse_cut("patch:3")).fit(Samples(PICTURES))
    assert late.seen[0] == ("cpu", "cpu")
    assert set(late.seen[1:]) == {("meta", "meta")}


def test_a_function_is_shown_tensors_of_the_processor_wherever_rows_are_trained() -> None:
    seen = []

    def function(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.device.type)
        return x.flatten(1)

    cut = FrozenFeatures(function)
    cut.run_on(torch.device("meta"))
    cut.fit(Samples(PICTURES))
    assert set(seen) == {"cpu"}


def test_exported_and_scripted_files_move(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).eval()
    example = (torch.zeros(3, 1, 6, 6),)
    exported = torch.export.export(
        net, example, dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )
    torch.export.save(exported, str(tmp_path / "net.pt2"))
    encoder = FrozenFeatures.read(f"features:{tmp_path / 'net.pt2'}").encoder
    before = encoder.ask(PICTURES)
    encoder.run_on(torch.device("meta"))
    assert encoder.network(torch.zeros(5, 1, 6, 6, device="meta")).device.type == "meta"
    again = FrozenFeatures.read(f"features:{tmp_path / 'net.pt2'}")
    again.run_on(torch.device("cpu"))
    assert np.array_equal(again.encoder.ask(PICTURES), before)


def test_the_device_of_a_comparison_is_that_of_its_frozen_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(FrozenFeatures, "run_on", lambda self, place: told.append(place.type))
    task = (PICTURES, LABELS)
    compare(task, [Placed()], budget="2 steps", seeds=1)
    # Where nobody says, a network stays where its weights are.
    assert told == []
    compare(task, [Placed()], budget="2 steps", seeds=1, device="cpu")
    compare(task, [3], model=FrozenBody(nn.Flatten(2)), budget="2 steps", seeds=1, device="cpu")
    assert told == ["cpu", "cpu"]


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.py"
    file.write_text("def sums(x):\n    return x.flatten(1).cumsum(1)[:, ::4]\n")
    how = ["--budget", "12 steps", "--seeds", "1", "--quiet"]
    assert main(["compare", "digits", "--cuts", "patch:4", f"features:{file}:sums", *how]) == 0
    assert f"features:{file}:sums" in capsys.readouterr().out
    file.write_text("def sums(x):\n    return x.flatten(2)[:, :, :3]\n")
    assert (
        main(["compare", "digits", "--cuts", "patch:4", "--body", f"features:{file}:sums", *how])
        == 0
    )
    assert "4 frozen vectors of 3" in capsys.readouterr().out
    assert isinstance(as_model(f"features:{file}:sums"), FrozenBody)
