"""What a wheel must do in an environment with nothing but itself: a script, run away from here."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

begin = time.perf_counter()
import tokfrag  # noqa: E402

elapsed = time.perf_counter() - begin

assert "site-packages" in Path(tokfrag.__file__).parts, tokfrag.__file__
assert "torch" not in sys.modules

x = np.arange(2 * 3 * 20 * 30, dtype=np.float32).reshape(2, 3, 20, 30)
grid = tokfrag.FragmentGrid.of(x, size=(8, 8), stride=(4, 4))
assert np.array_equal(tokfrag.merge(tokfrag.extract(x, grid), grid), x)

trained = tokfrag.Tokenizer.train(["low lower lowest newer wider"] * 10, vocab_size=280)
assert trained.decode(trained.encode("lower and wider")) == "lower and wider"

command = [sys.executable, "-m", "tokfrag.cli", "--help"]
assert "compare" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
print(f"tokfrag {tokfrag.__version__}: imported in {elapsed * 1e3:.1f} ms, works on its own")
