"""The machine this runs on: its name, and where what was measured on it is kept."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tokfrag._core import __version__, active_isa, default_threads


def processor_name() -> str:
    """The processor's model, or the best the system says."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def cache_folder() -> Path | None:
    """The folder for measurements: ``TOKFRAG_CACHE_DIR``, else ``tokfrag`` in the user's cache.

    None where ``TOKFRAG_CACHE_DIR`` is set to nothing: then nothing is kept.
    """
    folder = os.environ.get("TOKFRAG_CACHE_DIR")
    if folder is not None:
        return Path(folder) if folder else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tokfrag"


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
