"""Places that nobody checked, changed behind torch's back: refused or unread, never out of bounds.

The cases run one after the other in a process of their own, so that a fault is a failed test and
not a dead run: the case that kills the process, and those after it, have no verdict.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")

_BEGIN = """
import copy, pickle, torch
from tokfrag.sparse import SparseEmbedding, SparseLinear
torch.manual_seed(0)
def refused(call):
    try:
        call()
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        print("refused", error)
    else:
        raise SystemExit("accepted")
"""

REFUSED = {
    "offsets beyond the values": """
layer = SparseEmbedding(1000, 64)
layer.offsets[-1] = 1 << 40
refused(lambda: layer(torch.tensor([999])))
""",
    "offsets that fall": """
layer = SparseEmbedding(10, 64)
layer.offsets[3] = -(1 << 62)
refused(lambda: layer(torch.arange(10)))
""",
    "columns beyond the row": """
layer = SparseEmbedding(100, 64)
layer.local.fill_(32767)
refused(lambda: layer(torch.arange(100)))
""",
    "the gradient of such a table": """
layer = SparseEmbedding(100, 64)
layer(torch.arange(100))
with torch.no_grad():
    layer.offsets.add_(1 << 40)
refused(lambda: torch.ops.tokfrag.sparse_lookup_gradient(
    torch.ones(100, 64), torch.arange(100), layer.offsets, layer.local))
""",
    "a damaged pickle of a table": """
layer = SparseEmbedding(100, 64)
layer.local.fill_(32767)
data = pickle.dumps(layer)
refused(lambda: pickle.loads(data))
""",
    "a damaged pickle of a layer": """
layer = SparseLinear(100, 64)
layer.local.fill_(255)
data = pickle.dumps(layer)
refused(lambda: pickle.loads(data))
""",
    "a table made on meta and never loaded": """
layer = SparseEmbedding(50, 64, device="meta").to_empty(device="cpu")
layer.offsets.data.fill_(1 << 50)
layer.local.data.fill_(-1)
refused(lambda: layer(torch.arange(50)))
""",
    "a layer made on meta and never loaded": """
layer = SparseLinear(100, 64, device="meta", kernel="sparse").to_empty(device="cpu")
layer.local.data.fill_(255)
refused(lambda: layer(torch.ones(3, 100)))
""",
    "places changed in inference mode": """
with torch.inference_mode():
    layer = SparseLinear(300, 64, kernel="sparse")
    layer(torch.ones(3, 300))
    layer.local.fill_(255)
    refused(lambda: layer(torch.ones(3, 300)))
""",
    "places changed through .data": """
layer = SparseLinear(300, 64, kernel="sparse")
layer(torch.ones(3, 300))
layer.local.data.fill_(255)
refused(lambda: layer(torch.ones(3, 300)))
table = SparseEmbedding(100, 64)
table(torch.arange(100))
table.offsets.data.fill_(1 << 40)
refused(lambda: table(torch.arange(100)))
""",
}

UNREAD = {
    "one byte of a layer's places": """
layer = SparseLinear(3000, 640, kernel="sparse")
x = torch.randn(5, 3000)
before = layer(x).detach()
layer.local.data[1] = 255  # which no sample meets
assert torch.equal(layer(x), before)
""",
    "one column of a table's places": """
table = SparseEmbedding(100, 64)
ids = torch.arange(100)
rows = table(ids).detach()
table.local.data[1] = 32767
assert torch.equal(table(ids), rows)
table(ids).sum().backward()
""",
}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, str]:
    """What became of each case, by its name."""
    code = _BEGIN
    for name, case in {**REFUSED, **UNREAD}.items():
        lines = "\n".join(f"    {line}" for line in case.strip().splitlines())
        code += f"def case():\n{lines}\ncase()\nprint('done:', {name!r}, flush=True)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    found, said = {}, []
    for line in done.stdout.splitlines():
        if line.startswith("done: "):
            found[line.removeprefix("done: ")] = " ".join(said)
            said = []
        else:
            said.append(line)
    found["end"] = f"{done.returncode} {done.stderr[-2000:]}"
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name, verdicts):
    assert name in verdicts, verdicts["end"]
    assert verdicts[name].startswith("refused")


@pytest.mark.parametrize("name", UNREAD)
def test_a_change_that_nobody_noticed_is_not_read(name, verdicts):
    assert name in verdicts, verdicts["end"]
