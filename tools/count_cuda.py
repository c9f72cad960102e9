#!/usr/bin/env python3
"""Counts what nvcc made of a .cu file: registers, spilled bytes, instructions, and its loops.

A table with a row a kernel; with --loops also the loops of its machine code: how many instructions
lie between a backward branch and where it leads, how many of them load from memory and from shared
memory, and how many compute in float64. Needs nvcc and nvdisasm, no GPU. Counts are of code, not
of time: they say what a change did to a loop, and compare two versions of it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("-O3", "-std=c++17", "-fmad=false", "--expt-relaxed-constexpr", "-DNDEBUG")
_INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)(.*);")
_LABEL = re.compile(r"^(\.L_x_\d+):")
_GLOBAL, _SHARED, _DOUBLE = ("LDG", "LD."), ("LDS",), ("DADD", "DMUL", "DFMA", "DSETP", "F2F")


class Loop(NamedTuple):
    """A backward branch's body."""

    instructions: int
    loads: int
    shared: int
    double: int


class Kernel(NamedTuple):
    """What one kernel became."""

    name: str
    registers: int
    spilled: int
    instructions: int
    loops: list[Loop]


def compile_cubin(source: Path, architecture: str, folder: Path) -> tuple[Path, str]:
    """The machine code of a file, and what ptxas says of it."""
    made = folder / (source.stem + ".cubin")
    command = ["nvcc", *FLAGS, f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v"]
    command += ["-I", str(ROOT / "csrc"), "-o", str(made), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return made, done.stderr


def resources(report: str) -> dict[str, tuple[int, int]]:
    """Registers and spilled bytes of each kernel, by its mangled name."""
    found: dict[str, tuple[int, int]] = {}
    name, spilled = "", 0
    for line in report.splitlines():
        if entry := re.search(r"entry function '(\w+)'", line):
            name = entry[1]
        elif spills := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(spills[1]) + int(spills[2])
        elif (used := re.search(r"Used (\d+) registers", line)) and name:
            found[name] = int(used[1]), spilled
    return found


def loops_of(lines: list[str]) -> tuple[int, list[Loop]]:
    """How many instructions these lines of machine code hold, and their loops."""
    opcodes: list[str] = []
    labels: dict[str, int] = {}
    branches: list[tuple[int, str]] = []
    for line in lines:
        if label := _LABEL.match(line):
            labels[label[1]] = len(opcodes)
        elif instruction := _INSTRUCTION.match(line):
            opcodes.append(instruction[2])
            target = re.search(r"\.L_x_\d+", instruction[3])
            if instruction[2].startswith("BRA") and target:
                branches.append((len(opcodes), target[0]))
    loops = []
    for end, target in branches:
        begin = labels.get(target, end)
        if begin >= end - 1:  # forward, or the endless loop behind a kernel's end
            continue
        body = opcodes[begin:end]
        loops.append(
            Loop(
                len(body),
                sum(code.startswith(_GLOBAL) for code in body),
                sum(code.startswith(_SHARED) for code in body),
                sum(code.startswith(_DOUBLE) for code in body),
            )
        )
    return sum(code != "NOP" for code in opcodes), loops


def kernels_of(source: Path, architecture: str) -> list[Kernel]:
    """All kernels of a file."""
    with tempfile.TemporaryDirectory() as folder:
        cubin, report = compile_cubin(source, architecture, Path(folder))
        command = ["nvdisasm", "-c", "-ndf", str(cubin)]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = resources(report)
    sections = re.split(r"^\s*\.section\s+\.text\.(\w+).*$", listing, flags=re.MULTILINE)[1:]
    kernels = []
    for name, text in zip(sections[::2], sections[1::2], strict=True):
        if name not in used:
            continue
        registers, spilled = used[name]
        kernels.append(Kernel(name, registers, spilled, *loops_of(text.splitlines())))
    return kernels


def short(names: list[str]) -> list[str]:
    """Names as a reader writes them."""
    shown = subprocess.run(
        ["cu++filt" if shutil.which("cu++filt") else "c++filt"],
        input="\n".join(names),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    drop = r"tokfrag::|sparse::|\(anonymous namespace\)::|<unnamed>::|^void |\(DeviceMergeMethod\)"
    cut = [re.sub(drop, "", name) for name in shown]
    return [re.sub(r"\((?:int|bool)\)", "", name).rsplit(">(", 1)[0] for name in cut]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--architecture", default="90", help="as in sm_90 (default)")
    parser.add_argument("--loops", action="store_true", help="also the loops of each kernel")
    parser.add_argument("--only", default="", help="kernels whose name holds this")
    options = parser.parse_args()
    print("registers  spilled  instructions  kernel")
    for source in options.sources:
        kernels = kernels_of(source, options.architecture)
        names = short([kernel.name for kernel in kernels])
        for name, kernel in sorted(zip(names, kernels, strict=True)):
            if options.only not in name:
                continue
            print(f"{kernel.registers:9}  {kernel.spilled:7}  {kernel.instructions:12}  {name}")
            for loop in kernel.loops if options.loops else ():
                print(
                    f"{'':20} loop of {loop.instructions}: {loop.loads} loads, "
                    f"{loop.shared} shared, {loop.double} float64"
                )


if __name__ == "__main__":
    main()
