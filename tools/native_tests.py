"""Compile the native tests, with as little of the library as they need, and run them.

Run as ``python tools/native_tests.py``: under address and undefined-behaviour checks. With
``--compiler aarch64-linux-gnu-g++ --run-with "qemu-aarch64-static -L /usr/aarch64-linux-gnu"`` and
``--plain`` the same tests run for another processor.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What the tests reach: shared code, index arithmetic, and kernels' device code run on the host.
SOURCES = (
    "tests/native/*.cpp",
    "csrc/core/*.cpp",
    "csrc/fragments/grid/*.cpp",
    "csrc/fragments/*/device.cpp",
    "csrc/fragments/merge/window.cpp",
)
FLAGS = ("-std=c++17", "-O1", "-g1", "-pthread", "-Wall", "-Wextra", "-Wshadow", "-Wconversion")
CHECKS = ("-fsanitize=address,undefined", "-fno-omit-frame-pointer")


def build(folder: Path, compiler: list[str], flags: list[str], jobs: int) -> Path:
    """Compile each source, some at a time, and link; returns the program."""
    sources = sorted(path for pattern in SOURCES for path in ROOT.glob(pattern))
    objects = [folder / f"{number}.o" for number in range(len(sources))]
    command = [*compiler, *FLAGS, *flags, f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests' / 'native'}"]
    with ThreadPoolExecutor(jobs) as workers:
        waiting = [
            workers.submit(subprocess.run, [*command, "-c", source, "-o", target], check=True)
            for source, target in zip(sources, objects, strict=True)
        ]
        for compiled in waiting:
            compiled.result()
    program = folder / "native_tests"
    subprocess.run([*compiler, *FLAGS, *flags, *objects, "-o", program], check=True)
    return program


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compiler", default="c++", help="command of the C++ compiler")
    parser.add_argument("--run-with", default="", help="command that runs the program")
    parser.add_argument("--plain", action="store_true", help="without the checks")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    flags = ["-static"] if asked.run_with else []
    flags += [] if asked.plain else CHECKS
    with tempfile.TemporaryDirectory() as scratch:
        program = build(Path(scratch), shlex.split(asked.compiler), flags, asked.jobs)
        # A test asks for more memory than there is, and takes std::bad_alloc for an answer.
        environment = {**os.environ, "ASAN_OPTIONS": "allocator_may_return_null=1"}
        done = subprocess.run([*shlex.split(asked.run_with), program], env=environment, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
