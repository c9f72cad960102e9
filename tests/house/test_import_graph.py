"""No circle of files, imports inside functions and for type checkers counted; no arrow up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from support import ROOT

PACKAGE = ROOT / "python" / "tokfrag"

NATIVE = {"tokfrag._core", "tokfrag._cuda"}


def modules() -> dict[str, Path]:
    """Every module of the package and its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                # From a package, a submodule is meant where there is one of that name.
                submodule = f"{node.module}.{alias.name}"
                if submodule not in NATIVE:
                    yield submodule if submodule in known else node.module


@cache
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports(path, known)) - {name} for name, path in known.items()}


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of two and more (Tarjan, by a stack of one's own)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []
    for root in arrows:
        work = [(root, iter(sorted(arrows[root])))] if root not in order else []
        while work:
            name, following = work[-1]
            if name not in order:
                order[name] = lowest[name] = len(order)
                path.append(name)
            entered = False
            for other in following:
                if other not in order:
                    work.append((other, iter(sorted(arrows[other]))))
                    entered = True
                    break
                if other in path:
                    lowest[name] = min(lowest[name], order[other])
            if entered:
                continue
            work.pop()
            if work:
                above = work[-1][0]
                lowest[above] = min(lowest[above], lowest[name])
            if lowest[name] == order[name]:
                at = path.index(name)
                if len(path) - at > 1:
                    found.append(set(path[at:]))
                del path[at:]
    return found


def test_the_finder_of_circles() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "f"}, "f": {"e"}}
    assert sorted(map(sorted, circles(arrows))) == [["b", "c"], ["e", "f"]]


def test_no_circle_of_files() -> None:
    assert [sorted(files) for files in circles(graph())] == []


def test_nothing_below_imports_the_stand_ins_or_the_twins() -> None:
    above = ("tokfrag.compat", "tokfrag.reference")
    wrong = {
        (name, other)
        for name, others in graph().items()
        for other in others
        # The package itself stands above all: it names what users import from it.
        if other.startswith(above)
        and not (name == "tokfrag" or name.startswith((*above, "tokfrag.cli")))
    }
    assert wrong == set()
