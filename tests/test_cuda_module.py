"""The CUDA module where there is no GPU: it imports, touches no driver, and names what failed."""

from __future__ import annotations

import numpy as np
import pytest

from support import run_python

pytest.importorskip("tokfrag._cuda", reason="tokfrag was built without nvcc")

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
    assert done.stdout.startswith("True cudaSetDevice: cudaError"), done.stdout + done.stderr


def test_window_tables_are_the_axis_weights_and_their_sums() -> None:
    from tokfrag._cuda import GridPlan, WindowPlan

    grid = GridPlan([5], [3], [2], [1], 0, 0)
    # One axis: inverse of the sums, and the sums; constant weights need no table of their own.
    tables = WindowPlan(grid, 0, [None], None, False).tables
    assert tables.tolist() == [1, 1, 0.5, 1, 1, 1, 1, 2, 1, 1]
    with pytest.raises(ValueError, match="window: the weights of some positions on axis 0"):
        WindowPlan(grid, 0, [np.array([0.0, 1.0, 0.0])], None, False)
