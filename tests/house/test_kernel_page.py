"""The chapter on writing a kernel is true: what it lists is built, and its tests are run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from support import ROOT, run_python
from tokfrag import _core

PAGE = ROOT / "docs" / "kernels.md"
TITLED = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
LEVELS = {"baseline": [], "v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4"]}
CORE = ("isa", "parallel", "interrupt")
MODULE = """
#include "bindings/bindings.hpp"
namespace tokfrag { void bind_peaks(pybind11::module_&); }
PYBIND11_MODULE(_page, module) { tokfrag::bind_peaks(module); }
"""
# The new modules come in beside the installed package's own.
HEAD = """
import sys
sys.path[:0] = [{folder!r}, {tests!r}]
import tokfrag, tokfrag.fragments, tokfrag.reference
from tokfrag import _core
import _page
sys.modules["tokfrag._core.peaks"] = _core.peaks = _page.peaks
tokfrag.fragments.__path__.append({folder!r} + "/python/tokfrag/fragments")
tokfrag.reference.__path__.append({folder!r} + "/python/tokfrag/reference")
import doctest, pytest, tokfrag.fragments.peaks as public
assert doctest.testmod(public).failed == 0
options = ["-q", "-c", {ini!r}, "--rootdir", {folder!r}, "-p", "no:cacheprovider"]
sys.exit(pytest.main([*options, {test!r}]))
"""


def build(folder: Path) -> None:
    pybind11 = pytest.importorskip("pybind11", reason="the page's binding is compiled here")
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    for name, text in TITLED.findall(PAGE.read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "module.cpp").write_text(MODULE)
    levels = LEVELS if set(LEVELS) <= set(_core.supported_isas()) else {"baseline": []}
    flags = ["-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow"]
    flags += ["-Wconversion", "-Werror", f"-I{folder / 'csrc'}", f"-I{ROOT / 'csrc'}"]
    flags += ["-isystem", pybind11.get_include(), "-isystem", sysconfig.get_paths()["include"]]
    flags += ["-DTOKFRAG_X86_LEVELS"] if len(levels) > 1 else []
    kernel = folder / "csrc/fragments/peaks/peaks_kernel.cpp"
    objects = []
    for level, options in levels.items():
        objects.append(folder / f"{level}.o")
        command = [compiler, *flags, *options, f"-DTOKFRAG_ISA={level}"]
        subprocess.run([*command, "-c", kernel, "-o", objects[-1]], check=True, timeout=300)
    sources = [folder / "csrc/fragments/peaks/peaks.cpp", folder / "csrc/bindings/bind_peaks.cpp"]
    sources += [ROOT / "csrc" / "core" / f"{name}.cpp" for name in CORE]
    target = folder / f"_page{sysconfig.get_config_var('EXT_SUFFIX')}"
    link = [compiler, *flags, "-shared", "-pthread", "-o", target, folder / "module.cpp"]
    subprocess.run([*link, *sources, *objects], check=True, timeout=300)


def test_the_listed_kernel_works_at_every_instruction_set(tmp_path: Path) -> None:
    build(tmp_path)
    compile((tmp_path / "bench/bench_peaks.py").read_text(), "bench_peaks.py", "exec")
    ini = tmp_path / "pytest.ini"
    ini.write_text("[pytest]\n")
    code = HEAD.format(
        folder=str(tmp_path),
        tests=str(ROOT / "tests"),
        ini=str(ini),
        test=str(tmp_path / "tests/fragments/test_peaks.py"),
    )
    for level in _core.supported_isas():
        done = run_python(code, timeout=120, TOKFRAG_ISA=level)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 passed" in done.stdout
