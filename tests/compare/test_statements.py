"""Statements of the table that were wrong once: each is held here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from support import run_python  # noqa: E402
from tokfrag.compare import PieceSpec, Samples, compare, parse_cut  # noqa: E402
from tokfrag.compare.body import KINDS, Body, Recurrent  # noqa: E402
from tokfrag.compare.cuts.names import as_cuts  # noqa: E402
from tokfrag.compare.measurement import count_flops  # noqa: E402
from tokfrag.compare.prediction import predict_step  # noqa: E402
from tokfrag.compare.problems import Classify  # noqa: E402
from tokfrag.compare.tasks.series import SeriesTask  # noqa: E402

TEXTS = [f"{i} to be or not to be that is the question " * 2 for i in range(40)]


def test_what_wordpiece_does_not_know_is_told(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("[UNK]\nto\nbe\nor\n")
    fitted = parse_cut(f"wordpiece:{vocabulary}").fit(Samples([b"to be or not"]))
    assert fitted.cut([b"to be or not"]).unknown == pytest.approx(0.25)


def test_a_tokenizer_that_cannot_say_what_it_does_not_know_is_not_called_perfect() -> None:
    class Letters:
        vocab_size = 256

        def encode(self, text: str) -> list[int]:
            return list(text.encode())

        def decode(self, ids: list[int]) -> str:
            return bytes(ids).decode()

    row = compare(TEXTS, [Letters()], budget="2 steps", seeds=1).rows[0]
    assert row.facts is not None
    assert row.facts.unknown is None
    assert not row.honesty.lossy


def test_two_tokenizers_of_one_size_have_names_of_their_own() -> None:
    class Letters:
        vocab_size = 256

        def encode(self, text: str) -> list[int]:
            return list(text.encode())

    assert [cut.name for cut in as_cuts([Letters(), Letters()])] == ["letters:256", "letters:256#2"]


def test_a_module_of_ones_own_is_not_called_a_convolution() -> None:
    spec = PieceSpec(4, (1, 2, 2))
    x = torch.zeros(2, 4, 1, 2, 2)
    own = Body("attention", 16, middle=nn.Linear(16, 16))
    assert predict_step(own(spec, 3), x) is None
    for kind, formula in (
        ("attention", "attention over all pieces"),
        ("inside", "attention inside pieces"),
        ("conv", "convolution inside pieces"),
        ("bag", "pieces by themselves"),
    ):
        found = predict_step(Body(kind, 16)(spec, 3), x)
        assert found is not None
        assert found.formula == formula


def test_the_steps_of_a_recurrent_body_are_counted() -> None:
    spec = PieceSpec(5, (1, 3))
    problem = Classify(2)
    network = problem.network(spec, Body("recurrent", 16, depth=1))
    x, y = torch.randn(2, 5, 1, 3), torch.tensor([0, 1])
    # Two directions of 8: three gates, of what comes in (16) and of what was (8), five pieces.
    least = 2 * 2 * 5 * 2 * 3 * 8 * (16 + 8)
    assert count_flops(network, problem, x, y) > 2 * least


def test_every_row_of_a_series_is_used(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    values = np.random.default_rng(0).normal(size=400).round(6)
    np.savetxt(path, values)
    split = SeriesTask(path, look_back=8, horizon=4, test_samples=0).split()
    assert split.choose is not None
    spans = sum(len(part) + 3 for part in (split.train, split.test, split.choose))
    # Each part tells the rows after its first look-back; only the very first are never told.
    assert spans == 400 - 8


def test_no_carriage_returns_go_into_pipes() -> None:
    done = run_python(
        """
        from tokfrag.compare import compare
        print(compare("digits", ["patch:4"], budget="2 steps", seeds=1, progress=True).headline)
        """,
        timeout=120,
    )
    assert "\\r" not in repr(done.stdout + done.stderr)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("mean", "gat")])
def test_no_body_lets_a_text_see_ahead(kind: str) -> None:
    if kind in ("inside", "conv"):
        with pytest.raises(ValueError, match="compare them with body attention or recurrent"):
            compare(TEXTS, ["bytes"], budget="2 steps", seeds=1, model=kind)
        return
    row = compare(TEXTS, ["bytes"], budget="2 steps", seeds=1, model=kind).rows[0]
    assert row.failures == []


def test_a_recurrent_layer_sees_all_pieces_only_where_it_may() -> None:
    torch.manual_seed(0)
    for causal in (True, False):
        layer = Recurrent(8, 1, causal=causal)
        x = torch.randn(1, 6, 8)
        changed = x.clone()
        changed[:, 4:] += 1
        same = torch.allclose(layer(x, None)[:, :4], layer(changed, None)[:, :4], atol=1e-6)
        assert same == causal
