"""What several test files use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
EMULATED_SOURCES = (
    "csrc/bindings/cuda_module.cpp",
    "csrc/bindings/cuda_patches.cpp",
    "csrc/bindings/cuda_sparse.cpp",
    "csrc/fragments/extract/changed_device.cpp",
    "csrc/fragments/extract/device.cpp",
    "csrc/fragments/features/device.cpp",
    "csrc/fragments/grid/layout.cpp",
    "csrc/fragments/merge/adjoint_device.cpp",
    "csrc/fragments/merge/device.cpp",
    "csrc/fragments/merge/window.cpp",
    "csrc/stream/patches_device.cpp",
    "tests/emulation/emulated_cuda.cpp",
    "tests/emulation/emulated_cuda_more.cpp",
    "tests/emulation/emulated_cuda_sparse.cpp",
)


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


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that the first process of a test run to come makes; the others wait for it."""
    ready = folder / "ready"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        deadline = time.monotonic() + 900
        while not ready.exists():
            if time.monotonic() > deadline or not folder.exists():
                raise RuntimeError(f"{folder}: the process that began it did not end it") from None
            time.sleep(0.05)
        return folder
    try:
        make(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    ready.touch()
    return folder


def emulated_path(folder: Path) -> Path:
    return folder / f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"


def compile_emulated_cuda(folder: Path) -> None:
    """Compile ``tokfrag._cuda``, its kernels run on the host, into a folder."""
    pybind11 = pytest.importorskip("pybind11", reason="the emulated module is compiled here")
    compiler = shutil.which("c++")
    if compiler is None or not (ROOT / EMULATED_SOURCES[0]).exists():
        pytest.skip("no C++ compiler, or no source tree")
    includes = [pybind11.get_include(), sysconfig.get_paths()["include"], ROOT / "csrc"]
    command = [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"]
    command += [f"-I{include}" for include in includes]
    command += [str(ROOT / name) for name in EMULATED_SOURCES]
    target = str(emulated_path(folder))
    subprocess.run([*command, "-o", target], check=True, capture_output=True, timeout=900)


def load_emulated_cuda(folder: Path) -> ModuleType:
    """``tokfrag._cuda`` as :func:`compile_emulated_cuda` left it.

    Its name is another one: submodules are found by name, so that the true module, imported later,
    would write its functions into those of the emulated one.
    """
    target = str(emulated_path(folder))
    loader = ExtensionFileLoader("emulated._cuda", target)
    spec = spec_from_file_location("emulated._cuda", target, loader=loader)
    assert spec is not None
    made = module_from_spec(spec)
    loader.exec_module(made)
    return made
