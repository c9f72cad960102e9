"""Our engine for huggingface/tokbench, run as its driver runs one, by a harness of its protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tokfrag import Tokenizer

ENGINE = Path(__file__).parents[2] / "bench" / "tokbench" / "run.py"

# What the engine calls: it gives a state, takes text, and returns integers that Python can hash.
HARNESS = """
import argparse, json, pathlib, sys

def args_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--corpus", type=pathlib.Path)
    return parser

def unsupported(version, lang, why):
    print(json.dumps({"version": version, "unsupported": why}))
    sys.exit(0)

def run(name, version, lang, load, encode, args, also_computes="", internally_parallel=False):
    ids = []
    ids.extend(encode(load(), args.corpus.read_text("utf-8")))
    mixed = 0xCBF29CE484222325
    for id in ids:
        # Wider than a uint32 of NumPy's, which would refuse.
        mixed = (mixed ^ (id & 0xFFFFFFFF)) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    print(json.dumps({"version": version, "ids": ids, "hash": mixed}))
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as that repository is."""
    root = tmp_path_factory.mktemp("tokbench")
    (root / "python").mkdir()
    (root / "python" / "harness.py").write_text(HARNESS, "utf-8")
    (root / "engines" / "tokfrag").mkdir(parents=True)
    shutil.copy(ENGINE, root / "engines" / "tokfrag" / "run.py")
    return root


def answer(bench: Path, model: Path, text: str) -> dict[str, object]:
    corpus = bench / "corpus.txt"
    corpus.write_text(text, "utf-8")
    command = [sys.executable, str(bench / "engines" / "tokfrag" / "run.py")]
    done = subprocess.run(
        [*command, "--model", str(model), "--corpus", str(corpus)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


def test_ids_are_numbers_of_python_and_added_tokens_are_found(bench: Path, tmp_path: Path) -> None:
    tok = Tokenizer(
        [bytes([byte]) for byte in range(256)] + [b"ab"],
        pattern="cl100k",
        special_tokens={"<|end|>": 300},
    )
    tok.save(tmp_path / "tokenizer.json")
    text = "ab é中<|end|> x"
    got = answer(bench, tmp_path, text)
    assert got["ids"] == tok.encode(text, allowed_special="all").tolist()
    assert str(got["version"]).startswith("tokfrag ")


def test_a_model_that_cannot_be_read_is_refused_with_a_reason(bench: Path, tmp_path: Path) -> None:
    assert "tokenizer.json" in str(answer(bench, tmp_path, "a")["unsupported"])
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Nonsense"}}', "utf-8")
    assert answer(bench, tmp_path, "a")["unsupported"]
