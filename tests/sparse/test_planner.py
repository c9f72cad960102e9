"""The race between sparse and dense: who wins, what is remembered, what a spoilt file does."""

from __future__ import annotations

import errno
import itertools
import json
import threading

import pytest

torch = pytest.importorskip("torch")

from tokfrag.sparse import SparseLinear  # noqa: E402
from tokfrag.sparse.products import contest, planner, products  # noqa: E402


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(planner, "_winners", None)
    return tmp_path


def wins(monkeypatch, winner):
    seconds = {"sparse": (1.0, 2.0), "dense": (2.0, 1.0)}[winner]
    monkeypatch.setattr(planner, "_times", lambda race: seconds)


def no_race(_):
    raise AssertionError("raced again")


@pytest.mark.parametrize("winner", ["sparse", "dense"])
def test_the_faster_wins_and_is_remembered(monkeypatch, folder, winner):
    wins(monkeypatch, winner)
    assert planner.choose("a", no_race) == winner
    monkeypatch.undo()
    monkeypatch.setenv("TOKFRAG_CACHE_DIR", str(folder))
    monkeypatch.setattr(planner, "_winners", None)
    assert planner.choose("a", no_race) == winner


def test_a_race_runs_both_ways_and_keeps_the_least_time():
    runs = []
    sparse, dense = planner._times(runs.append)
    assert min(sparse, dense) >= 0
    assert runs[:4] == ["sparse", "dense"] * 2
    assert runs.count("sparse") == runs.count("dense") <= planner._MOST_ROUNDS + 1


def test_a_tie_is_dense(monkeypatch):
    monkeypatch.setattr(planner, "_times", lambda race: (0.98, 1.0))
    assert planner.choose("a", no_race) == "dense"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"x": 3}', b"\x00", b"\xff", b"[" * 200_000]
)
def test_a_spoilt_file_costs_a_race(monkeypatch, folder, content):
    (folder / "sparse_plans.json").write_bytes(content)
    wins(monkeypatch, "sparse")
    assert planner.choose("a", no_race) == "sparse"
    monkeypatch.setattr(planner, "_winners", None)
    wins(monkeypatch, "dense")
    assert planner.choose("a", no_race) == "sparse"


def test_a_full_disk_leaves_no_temporary_file(monkeypatch, folder):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tokfrag._files.os.fsync", full)
    wins(monkeypatch, "sparse")
    assert planner.choose("a", no_race) == "sparse"
    assert list(folder.iterdir()) == []


def test_winners_of_another_process_stay(monkeypatch, folder):
    wins(monkeypatch, "sparse")
    planner.choose("a", no_race)
    path = folder / "sparse_plans.json"
    stored = json.loads(path.read_text())
    stored[planner._machine()]["other"] = "dense"
    stored["another machine"] = {"a": "dense"}
    path.write_text(json.dumps(stored))
    planner.choose("b", no_race)
    stored = json.loads(path.read_text())
    assert stored[planner._machine()] == {"a": "sparse", "b": "sparse", "other": "dense"}
    assert stored["another machine"] == {"a": "dense"}


def test_threads_race_once():
    raced = []
    begin = threading.Barrier(4)

    def enter():
        begin.wait()
        planner.choose("a", raced.append)

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raced.count("sparse") <= planner._MOST_ROUNDS + 1


@pytest.mark.parametrize("product", ["inference", "frozen", "training", "transposed", "sample"])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_both_kernels_of_a_contest_give_the_same(monkeypatch, product, in_blocks):
    sizes = 300, 400, 12000, 64
    entered = contest.Contest.of(product, sizes, torch.float32, 1, torch.device("cpu"), in_blocks)
    results = []
    for name in ("multiply", "sample"):
        run = getattr(products, name)
        monkeypatch.setattr(products, name, lambda *a, run=run: results.append(run(*a)))
    race = products._race_of(entered)
    race("sparse")
    race("dense")
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


def test_contests_of_blocks_threads_and_types_are_apart():
    sizes, cpu = (300, 400, 12000, 64), torch.device("cpu")
    keys = {
        contest.Contest.of(product, sizes, dtype, threads, cpu, in_blocks).key
        for product in ("inference", "training")
        for dtype in (torch.float32, torch.float16)
        for threads in (1, 2)
        for in_blocks in (False, True)
    }
    assert len(keys) == 16


def test_batches_fall_into_buckets():
    buckets = [contest.batch_bucket(batch) for batch in range(1, 400)]
    assert buckets[:9] == [1, 2, 3, 4, 6, 6, 8, 8, 12]
    assert all(a <= b for a, b in itertools.pairwise(buckets))
    assert max(buckets) == 256
    assert all(bucket >= min(batch, 256) for batch, bucket in enumerate(buckets, 1))


def test_a_layer_asks_the_planner_once_a_kind_of_call(monkeypatch):
    asked = []
    monkeypatch.setattr(planner, "choose", lambda key, race: asked.append(key) or "sparse")
    layer = SparseLinear(64, 32, sparsity=0.5)
    with torch.no_grad():
        for batch in (3, 3, 5, 3):
            layer(torch.ones(batch, 64))
    layer(torch.ones(3, 64)).sum().backward()
    layer.requires_grad_(False)(torch.ones(3, 64))
    kinds = [key.split()[0] for key in asked]
    assert kinds == ["inference", "inference", "training", "sample", "frozen"]
