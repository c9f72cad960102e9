"""What the docstrings of public functions lack. ``python tests/house/docstrings.py`` lists it.

A name that a user can reach through a public door (``DOORS``, and the modules of
``tokfrag.compat``) says in one sentence what it does, and has Parameters, Returns, Raises and an
Examples section where there is something to say; an example of a class serves its methods. Every
other public function says at least its sentence.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import tokfrag

DOORS = (
    "tokfrag",
    "tokfrag.compare",
    "tokfrag.compat",
    "tokfrag.nn",
    "tokfrag.reference",
    "tokfrag.scale",
    "tokfrag.sparse",
    "tokfrag.stream",
)
PACKAGE = Path(tokfrag.__file__).parent


def faults() -> list[str]:
    """``name: what is missing``, sorted."""
    found = {fault for name, value in public() for fault in lacking(name, value)}
    reached = {getattr(value, "__wrapped__", value) for _, value in public()}
    seen = {(v.__module__, v.__qualname__) for v in reached if hasattr(v, "__qualname__")}
    found.update(
        f"{module}.{name}: sentence"
        for module, name, node in written()
        if (module, name) not in seen and not is_sentence(ast.get_docstring(node))
    )
    return sorted(found)


def doors() -> Iterator[ModuleType]:
    for name in DOORS:
        yield importlib.import_module(name)
    for module in pkgutil.iter_modules(importlib.import_module("tokfrag.compat").__path__):
        yield importlib.import_module(f"tokfrag.compat.{module.name}")


def public() -> Iterator[tuple[str, Any]]:
    """Functions, classes and methods by the names that users call them by."""
    for module in doors():
        names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
        for name in names:
            value = getattr(module, name)
            listed = "__all__" in vars(module)
            home = str(getattr(value, "__module__", ""))
            if not home.startswith("tokfrag" if listed else module.__name__):
                continue
            if inspect.isroutine(value):
                yield f"{module.__name__}.{name}", value
            elif inspect.isclass(value):
                yield f"{module.__name__}.{name}", value
                yield from methods(f"{module.__name__}.{name}", value)


def methods(name: str, owner: type) -> Iterator[tuple[str, Any]]:
    for member, raw in inspect.getmembers_static(owner):
        value = raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw
        if isinstance(value, property):
            value = value.fget
        ours = str(getattr(value, "__module__", "")).startswith("tokfrag")
        if inspect.isfunction(value) and ours and not member.startswith("_"):
            yield f"{name}.{member}", value


def is_sentence(text: str | None) -> bool:
    """Whether the first paragraph is there and ends as a sentence does."""
    return bool(text) and text.strip().split("\n\n")[0].rstrip()[-1:] in {".", "?", "!", ":"}


def lacking(name: str, value: Any) -> Iterator[str]:
    text = inspect.getdoc(value) or ""
    if not is_sentence(text):
        yield f"{name}: sentence"
        return
    if inspect.isclass(value):
        return
    is_method = "." in value.__qualname__
    body = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    assert isinstance(body, (ast.FunctionDef, ast.AsyncFunctionDef))
    if any(ast.unparse(item) == "property" for item in body.decorator_list):
        return
    arguments = [*body.args.posonlyargs, *body.args.args, *body.args.kwonlyargs]
    if len(arguments) > is_method and "Parameters\n---" not in text:
        yield f"{name}: Parameters"
    answers = body.returns is not None and ast.unparse(body.returns) not in ("None", "Self")
    if answers and not any(f"{section}\n---" in text for section in ("Returns", "Yields")):
        yield f"{name}: Returns"
    if raises(body) and "Raises\n---" not in text:
        yield f"{name}: Raises"
    if ">>>" not in text and ">>>" not in owner_text(value):
        yield f"{name}: Examples"


def raises(body: ast.AST) -> bool:
    """Whether it raises an exception of its own, and not only one that it caught."""
    raised = (node.exc for node in ast.walk(body) if isinstance(node, ast.Raise))
    return any(exc is not None and "NotImplemented" not in ast.unparse(exc) for exc in raised)


def owner_text(value: Any) -> str:
    owner = value.__qualname__.rpartition(".")[0]
    module = inspect.getmodule(value)
    return (inspect.getdoc(getattr(module, owner)) or "") if owner and module else ""


def written() -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """Public functions and methods of public modules, as the source has them."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        module = ".".join(["tokfrag", *(part for part in parts if part != "__init__")])
        if any(part.startswith("_") and part != "__init__" for part in parts):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            inside = [("", [node])]
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                inside = [(f"{node.name}.", node.body)]
            for prefix, nodes in inside:
                for item in nodes:
                    overload = isinstance(item, ast.FunctionDef) and any(
                        "overload" in ast.unparse(mark) or ".setter" in ast.unparse(mark)
                        for mark in item.decorator_list
                    )
                    if (
                        isinstance(item, ast.FunctionDef)
                        and not overload
                        and not item.name.startswith("_")
                    ):
                        yield module, f"{prefix}{item.name}", item


if __name__ == "__main__":
    for fault in faults():
        print(fault)
