"""The CUDA module where there is no GPU: it imports, touches no driver, and names what failed."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

from support import run_python

# Imported in other processes only: test_cuda_emulated.py loads its own module of this name.
if find_spec("tokfrag._cuda") is None:
    pytest.skip("tokfrag was built without nvcc", allow_module_level=True)

NEEDS_LINUX = "import sys; sys.platform == 'linux' or sys.exit(0)\n"


def test_import_starts_no_driver() -> None:
    code = (
        "import tokfrag._cuda\n"
        "maps = open('/proc/self/maps').read()\n"
        "assert 'libcuda.so' not in maps and 'libtorch' not in maps\n"
    )
    done = run_python(NEEDS_LINUX + code)
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_name_the_call() -> None:
    code = (
        "from tokfrag import _cuda\n"
        "try:\n"
        "    _cuda.check_device(4096)\n"
        "except _cuda.CudaError as error:\n"
        "    print(isinstance(error, RuntimeError), str(error).split(' (')[0])\n"
    )
    done = run_python(code, CUDA_VISIBLE_DEVICES="")
    # Without a driver, the first question already fails.
    assert re.match("True cuda[GS]etDevice: cudaError", done.stdout), done.stdout + done.stderr


def test_window_tables_are_the_axis_weights_and_their_sums() -> None:
    code = (
        "import numpy as np\n"
        "from tokfrag._cuda import GridPlan, WindowPlan\n"
        "grid = GridPlan([5], [3], [2], [1], 0, 0)\n"
        "print(WindowPlan(grid, 0, [None], None, False).tables.tolist())\n"
        "try:\n"
        "    WindowPlan(grid, 0, [np.array([0.0, 1.0, 0.0])], None, False)\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    tables, error = run_python(code).stdout.splitlines()
    # One axis: inverse of the sums, and the sums, each aligned to four numbers; constant weights
    # need no table of their own.
    inverse, sums = "1.0, 1.0, 0.5, 1.0, 1.0", "1.0, 1.0, 2.0, 1.0, 1.0"
    assert tables == f"[{inverse}, 0.0, 0.0, 0.0, {sums}]"
    assert error.startswith("window: the weights of some positions on axis 0")
