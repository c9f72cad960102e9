"""What several test files use."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def run_python(
    code: str, *, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with a hard time limit: for what may hang or crash."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )
