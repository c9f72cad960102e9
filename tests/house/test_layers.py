"""The layers keep their direction: nobody imports upwards or sideways."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ROOT

PACKAGE = ROOT / "python" / "tokfrag"

# What the modules of a folder must not import.
FORBIDDEN = {
    "reference": ("tokfrag._core", "tokfrag._cuda", "tokfrag.tokens", "torch"),
    "tokens": ("tokfrag.fragments", "tokfrag.sparse", "tokfrag.compare", "tokfrag.cli"),
    "fragments": ("tokfrag.tokens", "tokfrag.sparse", "tokfrag.compare", "tokfrag.cli"),
    "sparse": ("tokfrag.tokens", "tokfrag.fragments", "tokfrag.compare", "tokfrag.cli"),
}
NATIVE = {"tokens", "fragments", "sparse"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_python_layers(folder: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for name in imports(path)
        if any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN[folder])
    ]
    assert wrong == []


@pytest.mark.parametrize("subject", ["core", *sorted(NATIVE)])
def test_native_layers(subject: str) -> None:
    allowed = {"core"} | ({subject} if subject in NATIVE else set())
    wrong = [
        f"{path.name} includes {name}"
        for path in sorted((ROOT / "csrc" / subject).rglob("*.[ch]*"))
        for name in re.findall(r'#include "([^"]+)"', path.read_text(encoding="utf-8"))
        if name.partition("/")[0] not in allowed
    ]
    assert wrong == []
