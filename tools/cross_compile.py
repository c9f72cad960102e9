"""Compile the native library for the platforms that this machine is not.

Every source of ``csrc/core``, ``csrc/tokens``, ``csrc/fragments`` and ``csrc/sparse`` is checked
for Linux and macOS on ARM and for Windows on x86-64 with the cross compiler that PyPI's ``ziglang``
carries; kernels are checked at the baseline, which is all that those platforms have but Windows.
Run as ``python tools/cross_compile.py [--optimize] [target ...]``; without ``--optimize`` a target
takes half a minute on two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("aarch64-linux-gnu", "aarch64-macos", "x86_64-windows-gnu")


def sources() -> list[Path]:
    folders = (ROOT / "csrc" / name for name in ("core", "tokens", "fragments", "sparse"))
    return sorted(path for folder in folders for path in folder.rglob("*.cpp"))


def command(target: str, source: Path, output: Path, *, optimize: bool) -> list[str]:
    made = [sys.executable, "-m", "ziglang", "c++", "-target", target, "-std=c++17"]
    made += ["-fno-math-errno", "-fno-trapping-math", f"-I{ROOT / 'csrc'}"]
    if source.stem.endswith("_kernel"):
        made += ["-DTOKFRAG_ISA=baseline"]
        made += ["-ffp-contract=off"] if "fragments" in source.parts else []
    # Never without -c: zig would first build a C++ library to link with.
    return [*made, "-O3" if optimize else "-O0", "-c", "-o", str(output), str(source)]


def compile_one(target: str, source: Path, scratch: Path, *, optimize: bool) -> str:
    """What the compiler said where it failed; empty where it did not."""
    output = scratch / f"{source.stem}.{abs(hash((target, source)))}.o"
    done = subprocess.run(
        command(target, source, output, optimize=optimize),
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "ZIG_GLOBAL_CACHE_DIR": str(scratch),
            "ZIG_LOCAL_CACHE_DIR": str(scratch),
        },
    )
    return "" if done.returncode == 0 else f"{target}: {source.relative_to(ROOT)}\n{done.stderr}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help="target triples of zig")
    parser.add_argument("--optimize", action="store_true", help="generate code as a release would")
    asked = parser.parse_args()
    failed = 0
    with (
        tempfile.TemporaryDirectory() as scratch,
        ThreadPoolExecutor(os.cpu_count() or 1) as workers,
    ):
        for target in asked.targets:
            waiting = [
                workers.submit(compile_one, target, source, Path(scratch), optimize=asked.optimize)
                for source in sources()
            ]
            faults = [fault for done in waiting if (fault := done.result())]
            print(*faults, sep="\n", end="")
            print(f"{target}: {len(waiting) - len(faults)} of {len(waiting)} sources compile")
            failed += len(faults)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
