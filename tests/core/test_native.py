"""The native tests, built from the source tree under address and undefined-behaviour checks."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from support import ROOT


def test_native_tests_pass_under_sanitizers() -> None:
    program = ROOT / "tools" / "native_tests.py"
    if shutil.which("c++") is None or not program.exists():
        pytest.skip("no C++ compiler, or no source tree")
    done = subprocess.run(
        [sys.executable, program, "--jobs", "1"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "ok   parallel_for_visits_every_item_once" in done.stdout
