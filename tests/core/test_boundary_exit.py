"""The interpreter ends while daemon threads are inside the package: no abort, whatever the call."""

from __future__ import annotations

import pytest

from support import ROOT, run_python

# NumPy only: torch's own operators abort a process that ends so, whoever calls them.
SETUP = """
    import threading, time
    import numpy as np
    from tokfrag import FragmentGrid, Tokenizer, WordCounts
    from tokfrag import extract, fragment_features, map_fragments, merge, segment_merge
    from tokfrag._core import sparse as native

    tok = Tokenizer.train(["hello world it's a day"] * 3, vocab_size=300)
    text = "hello world it's a day " * 20_000
    ids = tok.encode(text)
    counts = WordCounts()
    grid = FragmentGrid((900, 900), (16, 16), (8, 8))
    x = np.zeros((1, 1, 900, 900), np.float32)
    fragments = extract(x, grid)
    rows, index = np.zeros((200_000, 4), np.float32), np.arange(200_000) % 1000

    mask = (np.random.default_rng(0).random((512, 512)) < 0.5).astype(np.uint8)
    runs = np.zeros((-(-512 // native.TILE), 512, 2), np.uint8)
    nnz = native.encode_runs(mask.ctypes.data, 512, 512, runs.ctypes.data)
    local, values = np.empty(nnz, np.uint8), np.ones(nnz, np.float32)
    native.encode_columns(mask.ctypes.data, 512, 512, runs.ctypes.data, local.ctypes.data)
    pattern = native.Pattern(local.ctypes.data, runs.ctypes.data, 512, 512, nnz)
    batch = np.ones((256, 512), np.float32)

    def multiply():
        out = np.empty((256, 512), np.float32)
        arrays = (local, runs, batch, 256, values, 0, out)
        pattern.multiply(0, *(a if isinstance(a, int) else a.ctypes.data for a in arrays), 1)
"""
CALLS = {
    "encode": "tok.encode(text)",
    "encode_batch": "tok.encode_batch([text] * 4)",
    "count": "tok.count(text)",
    "decode": "tok.decode_bytes(ids)",
    "offsets": "tok.encode_with_offsets(text)",
    "words": "counts.add(text)",
    "train": "Tokenizer.train([text], vocab_size=280)",
    "extract": "extract(x, grid)",
    "merge": "merge(fragments, grid)",
    "features": "fragment_features(x, grid)",
    "segments": "segment_merge(rows, index, 1000)",
    "map_fragments": "map_fragments(lambda part: part, x, grid, batch_size=500)",
    "sparse": "multiply()",
}
# Two threads are inside at any moment; the main one leaves in the middle.
LEAVE = """
    def work():
        while True:
            {call}

    for _ in range(2):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.15)
"""


@pytest.mark.parametrize("name", CALLS)
def test_exit_while_threads_are_inside(name: str) -> None:
    done = run_python(SETUP + LEAVE.format(call=CALLS[name]))
    assert (done.returncode, done.stderr) == (0, "")


def test_pybind11s_own_class_is_not_used() -> None:
    """Its destructor aborts the process there; CUDA's calls cannot be run everywhere."""
    sources = [*ROOT.glob("csrc/bindings/*.cpp"), *ROOT.glob("csrc/bindings/*.hpp")]
    if not sources:
        pytest.skip("no source tree")
    assert [path.name for path in sources if "gil_scoped_release" in path.read_text()] == []
