"""What every bench shares: peers that may be absent, and what is written beside a time."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

# Where a peer's package is not called as its module.
DISTRIBUTION = {
    "sklearn": "scikit-learn",
    "toktok": "toktok-rs",
    "flash_tokenizer": "flash-tokenizer",
}


def need(module: str) -> Any:
    """The peer's module; the bench skips, and says so, where it is not installed."""
    try:
        return import_module(module)
    except ImportError as missing:
        pytest.skip(f"peer {module} is not installed ({missing})")


def describe(benchmark: Any, module: str, **units: float) -> None:
    """Write the peer's version and the units handled (``bytes=``, ``tokens=``) beside the time.

    ``seconds=`` is a time that the bench measured itself.
    """
    root = module.partition(".")[0]
    try:
        benchmark.extra_info["version"] = version(DISTRIBUTION.get(root, root))
    except PackageNotFoundError:
        benchmark.extra_info["version"] = ""
    benchmark.extra_info.update(units)


def data_folder() -> Path:
    """The folder of corpora and vocabularies (see tests/conftest.py), or a skip."""
    folder = os.environ.get("TOKFRAG_DATA")
    if not folder:
        pytest.skip("TOKFRAG_DATA is not set: see tests/conftest.py for the layout it names")
    return Path(folder)
