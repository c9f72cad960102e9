"""The comparison's files import each other in one direction, lazy imports counted."""

from __future__ import annotations

import ast
from pathlib import Path

from support import ROOT

PACKAGE = ROOT / "python" / "tokfrag" / "compare"


def graph() -> dict[str, set[str]]:
    """Which file imports which, function bodies and TYPE_CHECKING blocks included."""
    names = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
        found[name] = {other for other in wanted if other in names and other != name}
    return found


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_no_circle() -> None:
    left = graph()
    while True:
        leaves = {name for name, wanted in left.items() if not wanted}
        if not leaves:
            break
        left = {name: wanted - leaves for name, wanted in left.items() if name not in leaves}
    assert left == {}


def test_contracts_need_no_torch() -> None:
    body = ast.parse((PACKAGE / "contracts.py").read_text()).body
    top = [node.module for node in body if isinstance(node, ast.ImportFrom)]
    assert "torch" not in top
