"""The habits of network filesystems: a rename that others see late, and two writers of one part."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import volume_cases
from scale_cases import OPTIONS, sums, tokenizer

from tokfrag import FragmentGrid, TokenShards
from tokfrag.scale import corpora, encode_corpus, map_volume, parts
from tokfrag.scale.volume_handing import handed_paths
from tokfrag.scale.volume_records import records_folder

FIRE = 60.0

SLOW = """
import json, sys, time
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from scale_cases import OPTIONS, tokenizer
from tokfrag.scale import encode_corpus
plain = Path.replace
def late(self, target):
    time.sleep(0.05)  # the other writer does the same part meanwhile
    return plain(self, target)
Path.replace = late
encode_corpus(tokenizer(), json.loads(sys.argv[2]), sys.argv[3], workers=1, **OPTIONS)
"""


def test_two_writers_whose_renames_come_late(
    paths: list[Path], serial: Path, tmp_path: Path
) -> None:
    names = json.dumps([str(path) for path in paths])
    command = [sys.executable, "-c", SLOW, json.dumps(sys.path), names, str(tmp_path / "out")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=FIRE)
        assert process.returncode == 0, errors.decode()
    assert sums(tmp_path / "out") == sums(serial)
    assert len(TokenShards(tmp_path / "out")) == len(TokenShards(serial))


def test_records_that_are_not_seen_yet(
    paths: list[Path], serial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer with an old view of the folder does all again: the same bytes, no token twice."""
    out = tmp_path / "out"
    encode_corpus(tokenizer(), paths, out, workers=1, **OPTIONS)
    blind, plain = set(range(100)), parts.is_done

    def stale(folder: Path, plan: str, number: int) -> bool:
        if number in blind:
            blind.remove(number)
            return False
        return plain(folder, plan, number)

    monkeypatch.setattr(parts, "is_done", stale)
    done = []
    work = corpora.Encoder.__call__

    def counted(self: Any, *arguments: Any) -> Any:
        done.append(1)
        return work(self, *arguments)

    monkeypatch.setattr(corpora.Encoder, "__call__", counted)
    encode_corpus(tokenizer(), paths, out, workers=1, **OPTIONS)
    assert len(blind) < 100
    assert sums(out) == sums(serial)


def test_borders_that_are_seen_late(tmp_path: Path) -> None:
    """Files between two rounds are waited for: their block's record tells that they are there."""
    x = volume_cases.volume((64, 64))
    np.save(tmp_path / "src.npy", x)
    grid = FragmentGrid(x.shape, size=16, stride=8)
    folder = records_folder(str(tmp_path / "dst.npy"))
    threads = []

    class Late:
        """An engine on whose machine files of the first round appear only after a while."""

        def run(self, work: Any, numbers: Any) -> Any:
            numbers = list(numbers)
            if type(work).__name__ == "MergeBorders":
                for path in handed_paths(folder, 1):
                    hidden = tmp_path / path.name
                    path.rename(hidden)
                    threads.append(threading.Timer(0.3, hidden.rename, [path]))
                    threads[-1].start()
            yield from map(work, numbers)

    began = time.monotonic()
    options: dict[str, Any] = {"borders": "exchange", "block": (32, 32), "progress": False}
    places = (tmp_path / "src.npy", tmp_path / "dst.npy")
    map_volume(volume_cases.smoothed, *places, grid, engine=Late(), **options)
    for thread in threads:
        thread.join()
    assert 0.3 <= time.monotonic() - began < FIRE
    expected = volume_cases.whole(volume_cases.smoothed, x, grid)
    assert np.array_equal(np.load(tmp_path / "dst.npy"), expected)
