"""The native tests, built from the source tree under address and undefined-behaviour checks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT


def test_native_tests_pass_under_sanitizers(tmp_path: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("no cmake on PATH: pip install brings its own for the build alone")
    pybind11 = pytest.importorskip("pybind11", reason="the CMake project looks for pybind11")
    configure = [
        cmake,
        *("-S", ROOT, "-B", tmp_path, "-DCMAKE_BUILD_TYPE=RelWithDebInfo"),
        "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1",  # quick to compile
        *("-DSKBUILD_PROJECT_NAME=tokfrag", "-DSKBUILD_PROJECT_VERSION=0"),
        *("-DTOKFRAG_CUDA=OFF", "-DTOKFRAG_NATIVE_TESTS=ON", "-DTOKFRAG_SANITIZE=ON"),
        "-DTOKFRAG_WERROR=OFF",  # the package's own build is the place for that
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DPython_EXECUTABLE={sys.executable}",
    ]
    subprocess.run(configure, check=True, capture_output=True, timeout=600)
    build = [cmake, "--build", tmp_path, "--target", "tokfrag_native_tests", "-j2"]
    subprocess.run(build, check=True, capture_output=True, timeout=3600)
    done = subprocess.run(
        [tmp_path / "tokfrag_native_tests"],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "ASAN_OPTIONS": "allocator_may_return_null=1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
