"""Every example runs in a small setting, does better than nothing, and stays short."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from support import ROOT

pytest.importorskip("torch")
pytest.importorskip("sklearn")

FOLDER = ROOT / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_example_is_short_and_tested(path: Path) -> None:
    # The sparse model's example is the longest: it trains, prunes, tunes and generates; that of
    # pictures and questions has a network of its own and a comparison beside it.
    most = {"sparse_lm": 210, "vision_language": 190}.get(path.stem, 150)
    assert len(path.read_text().splitlines()) < most
    assert f"test_{path.stem}" in globals()


def test_text_classification(tmp_path: Path) -> None:
    lines = [f"{i % 2} a {'good' if i % 2 else 'bad'} film, number {i}" for i in range(300)]
    data = tmp_path / "reviews"
    data.write_text("\n".join(lines))
    card = tmp_path / "card.png"
    how = ["--vocabulary", "300", "--epochs", "4", "--budget", "20 steps"]
    accuracy = load("text_classification").main(["--data", str(data), "--card", str(card), *how])
    assert accuracy > 0.9
    assert card.read_bytes()[:4] == b"\x89PNG"


def test_token_fragment_fusion(tmp_path: Path) -> None:
    card = tmp_path / "card.png"
    drawn = ["--card", str(card), "--budget", "4 steps"]
    accuracy = load("token_fragment_fusion").main(["--epochs", "2", "--width", "32", *drawn])
    assert card.read_bytes()[:4] == b"\x89PNG"
    assert set(accuracy) == {"tokens", "fragments", "tokens + fragments"}
    assert accuracy["tokens + fragments"] > 0.7


def test_vision_language(tmp_path: Path) -> None:
    card = tmp_path / "card.png"
    drawn = ["--card", str(card), "--budget", "4 steps"]
    accuracy = load("vision_language").main(["--epochs", "4", "--width", "32", *drawn])
    assert card.read_bytes()[:4] == b"\x89PNG"
    assert set(accuracy) == {"tokens", "fragments", "tokens + fragments"}
    assert accuracy["tokens + fragments"] > 0.15


def test_packed_training() -> None:
    found = load("packed_training").main(["--steps", "6", "--width", "32"])
    # The same documents in the same order: the same loss but for the rounding of sums.
    assert abs(found["packed"][1] - found["padded"][1]) < 1e-3
    assert found["packed"][0] > found["padded"][0]


def test_sensor_graph(tmp_path: Path) -> None:
    card = tmp_path / "card.png"
    drawn = ["--card", str(card), "--budget", "4 steps"]
    found = load("sensor_graph").main(["--steps", "500", "--epochs", "6", *drawn])
    assert card.read_bytes()[:4] == b"\x89PNG"
    assert found["fragments + neighbours"][0] < found["persistence"][0]


def test_action_recognition(tmp_path: Path) -> None:
    card = tmp_path / "card.png"
    drawn = ["--card", str(card), "--budget", "4 steps"]
    found = load("action_recognition").main(["--clips", "200", "--epochs", "4", *drawn])
    assert card.read_bytes()[:4] == b"\x89PNG"
    assert len(found) == 3
    assert max(found.values()) > 0.2


def test_frozen_features(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    how = ["--epochs", "2", "--budget", "24 steps", "--seeds", "1", "--page", str(page)]
    report = load("frozen_features").main(how)
    scores = {row.name: row.quality for row in report.cuts}
    assert (scores["features:even or odd"] or 0) > 0.3
    assert "features:random" in page.read_text()


def test_knowledge_graph() -> None:
    assert load("knowledge_graph").main(["--epochs", "12", "--width", "32"]) > 0.2


def test_sliding_window_segmentation(tmp_path: Path) -> None:
    card = tmp_path / "card.png"
    drawn = ["--card", str(card), "--budget", "2 steps"]
    found = load("sliding_window_segmentation").main(["--steps", "60", "--window", "12", *drawn])
    assert card.read_bytes()[:4] == b"\x89PNG"
    assert found["half overlap"] > found["the larger class"]


def test_token_shards_loader() -> None:
    assert load("token_shards_loader").main(["--steps", "40", "--vocabulary", "400"]) < 6


def test_sparse_lm(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and the dog sat on the log. " * 400)
    example = load("sparse_lm")
    example.LENGTH, example.BATCH = 16, 8
    bits = example.main([str(text), "--vocab", "280", "--steps", "60", "--width", "24"])
    assert bits["dense"] < 8
    assert bits["50 % cd"] < 8
    assert bits["90 % cd, tuned"] < bits["90 % magnitude"]
