"""A disk that is full: the file is named, nothing half-written stays, the same call goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import volume_cases
from scale_cases import sums

from tokfrag import FragmentGrid

FIRE = 120.0

# In a namespace of its own, in which a disk of some kilobytes may be mounted.
MOUNTED = """
mount -t tmpfs -o size="$2" none "$1" || exit 77
shift 2
exec "$@"
"""

CORPUS = """
import errno, json, subprocess, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from scale_cases import OPTIONS, sums, tokenizer
from tokfrag.scale import encode_corpus
disk, paths, workers = Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
try:
    encode_corpus(tokenizer(), paths, disk / "out", workers=workers, **OPTIONS)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    assert str(disk) in error.filename, error.filename
else:
    raise AssertionError("it fits")
left = sorted(path.name for path in (disk / "out").iterdir())
subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
encode_corpus(tokenizer(), paths, disk / "out", workers=workers, **OPTIONS)
print(json.dumps([left, sums(disk / "out")]))
"""

VOLUME = """
import errno, json, subprocess, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
import numpy as np
import volume_cases
from tokfrag import FragmentGrid
from tokfrag.scale import map_volume, verify_volume
disk, src = Path(sys.argv[2]), sys.argv[3]
grid = FragmentGrid((48, 48, 48), size=16, stride=12, edge="shift")
options = {"block": (16, 16, 16), "workers": 2, "progress": False, "borders": sys.argv[5]}
if not sys.argv[4].endswith(".npy"):
    options["chunks"] = (16, 16, 16)
dst = disk / sys.argv[4]
try:
    map_volume(volume_cases.smoothed, src, dst, grid, **options)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    assert str(disk) in str(error.filename), error.filename
else:
    raise AssertionError("it fits")
left = sorted(path.name for path in disk.rglob("*.partial"))
subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
map_volume(volume_cases.smoothed, src, dst, grid, **options)
verify_volume(dst)
np.save(sys.argv[6], np.load(dst) if dst.suffix == ".npy" else __import__("zarr").open(dst)[:])
print(json.dumps([left, {}]))
"""


def on_a_small_disk(disk: Path, size: str, script: str, *arguments: str) -> Any:
    """What a script prints that runs where `disk` holds no more than `size`."""
    if shutil.which("unshare") is None:
        pytest.skip("a small disk is mounted in a namespace, which takes unshare")
    disk.mkdir()
    python = [sys.executable, "-c", script, json.dumps(sys.path), str(disk), *arguments]
    made = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNTED, "sh", disk, size, *python],
        capture_output=True,
        text=True,
        timeout=FIRE,
        check=False,
    )
    if made.returncode == 77 or "unshare failed" in made.stderr:
        pytest.skip("nothing may be mounted here, in a namespace neither")
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_corpus(paths: list[Path], serial: Path, tmp_path: Path, workers: int) -> None:
    names = json.dumps([str(path) for path in paths])
    left, found = on_a_small_disk(tmp_path / "disk", "600k", CORPUS, names, str(workers))
    assert {"plan.files", "plan.json"} <= set(left)
    assert not [name for name in left if name.endswith(".partial")]
    assert found == sums(serial)


@pytest.mark.parametrize("name", ["a.npy", "a.zarr"])
@pytest.mark.parametrize("borders", ["recompute", "exchange"])
def test_a_volume(tmp_path: Path, name: str, borders: str) -> None:
    if name == "a.zarr":
        pytest.importorskip("zarr")
    x = volume_cases.volume((48, 48, 48))
    np.save(tmp_path / "src.npy", x)
    places = (str(tmp_path / "src.npy"), name, borders, str(tmp_path / "made.npy"))
    left, _ = on_a_small_disk(tmp_path / "disk", "200k", VOLUME, *places)
    assert left == []
    grid = FragmentGrid(x.shape, size=16, stride=12, edge="shift")
    expected = volume_cases.whole(volume_cases.smoothed, x, grid)
    assert np.array_equal(np.load(tmp_path / "made.npy"), expected)
