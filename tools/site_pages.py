"""Pages of the site that are made from the tree: the API reference and the changelog.

mkdocs calls :func:`on_files` (``hooks`` in ``mkdocs.yml``). What is public is read from the source
with ``ast``, so that a name that becomes public has its entry without anybody writing one, and
nothing has to be built.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "tokfrag"
SUBJECTS = ("tokens", "fragments", "stream", "sparse")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    homes: dict[str, tuple[str, ...]] = assigned(PACKAGE / "__init__.py", "_NAMES")
    for subject in SUBJECTS:
        names = homes[f"tokfrag.{subject}"]
        add(files, config, f"api/{subject}.md", entries(f"API: {subject}", "tokfrag", names))
    listed = set(SUBJECTS)
    others = [home for home in homes if home.removeprefix("tokfrag.") not in listed]
    modules = [page for home in others for page in entries(home, "tokfrag", homes[home])]
    for name in ("nn", *compat_modules()):
        path = PACKAGE / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        modules += entries(f"tokfrag.{name}", f"tokfrag.{name}", public(path))
    add(files, config, "api/modules.md", ["# API: modules and stand-ins", *modules])
    for page, title in (
        ("compare", "API: compare"),
        ("scale", "API: scale"),
        ("reference", "API: the twins"),
    ):
        names = public(PACKAGE / page / "__init__.py")
        shown = {"reference": "twins"}.get(page, page)
        add(files, config, f"api/{shown}.md", entries(title, f"tokfrag.{page}", names))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    add(files, config, "changelog.md", [changes])
    return files


def add(files: Files, config: MkDocsConfig, uri: str, blocks: list[str]) -> None:
    files.append(File.generated(config, uri, content="\n\n".join(blocks) + "\n"))


def entries(title: str, module: str, names: tuple[str, ...]) -> list[str]:
    """A page's blocks: a heading, then an entry of mkdocstrings a name."""
    return [f"# {title}", *(f"::: {module}.{name}" for name in names)]


def assigned(path: Path, name: str) -> Any:
    """The literal that a module assigns to a name."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise ValueError(f"{path}: assigns no literal to {name}")


def public(path: Path) -> tuple[str, ...]:
    """``__all__`` of a module, else the functions and classes that it defines."""
    try:
        return tuple(assigned(path, "__all__"))
    except ValueError:
        return tuple(defined(path))


def defined(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node.name


def compat_modules() -> list[str]:
    paths = sorted((PACKAGE / "compat").glob("*.py"))
    return ["compat", *(f"compat.{path.stem}" for path in paths if path.stem != "__init__")]
