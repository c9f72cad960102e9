"""A step of datatrove's pipelines, killed and run again. Collected where datatrove is installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scale_cases import sums, tokenizer

from tokfrag import TokenShards
from tokfrag.scale import join_corpus

PIPELINE = """
import json, os, signal, sys
sys.path[:0] = json.loads(sys.argv[1])
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from scale_cases import tokenizer
from tokfrag.scale import TokenizerStep

out, log, victim = sys.argv[2], sys.argv[3], int(sys.argv[4])

def documents(data, rank, world_size):
    for number in range(rank, 400, world_size):
        if rank == victim and number > 200:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        yield Document(text=f"document {number}", id=str(number))

if __name__ == "__main__":
    step = TokenizerStep(tokenizer(), out, end_of_text="<end>")
    LocalPipelineExecutor([documents, step], tasks=8, workers=1, logging_dir=log).run()
"""


def run(out: Path, log: Path, victim: int) -> int:
    arguments = [json.dumps(sys.path), str(out), str(log), str(victim)]
    process = subprocess.Popen(
        [sys.executable, "-c", PIPELINE, *arguments],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TQDM_DISABLE": "1"},
    )
    process.communicate(timeout=60)
    return process.returncode


def test_killed_and_run_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(out, tmp_path / "log", victim=5) == -signal.SIGKILL
    assert len(list(out.glob("0*.json"))) == 5
    with pytest.raises(ValueError, match="3 of 8 parts are not done"):
        join_corpus(out)
    assert run(out, tmp_path / "log", victim=-1) == 0
    assert run(tmp_path / "once", tmp_path / "log2", victim=-1) == 0
    join_corpus(out)
    join_corpus(tmp_path / "once")
    assert sums(out) == sums(tmp_path / "once")
    shards = TokenShards(out)
    texts = [tokenizer().decode(shards.document(n)[:-1]) for n in range(400)]
    order = [number for rank in range(8) for number in range(rank, 400, 8)]
    assert texts == [f"document {number}" for number in order]
