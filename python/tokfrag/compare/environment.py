"""The machine and the versions, for whoever wants to repeat a report."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tokfrag import __version__
from tokfrag._core import active_isa, default_threads


def environment() -> dict[str, str]:
    """Facts by name; imports neither torch nor scikit-learn to tell their versions."""
    found = {
        "tokfrag": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "threads": str(default_threads()),
        "instruction set": active_isa(),
    }
    for package in ("numpy", "torch", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def processor_name() -> str:
    """The processor as the system calls it."""
    fallback = platform.processor() or "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return fallback
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), fallback)
