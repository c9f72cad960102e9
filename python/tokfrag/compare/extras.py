"""What the comparison needs beyond NumPy, asked for by name before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

_PACKAGES = {
    "torch": "torch",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
    "PIL": "pillow",
}


class MissingExtraError(ImportError):
    """A package of the ``demo`` extra is not installed."""


def require(*modules: str, purpose: str) -> None:
    """Raise one error that names every module of ``modules`` not installed, and the cure."""
    missing = [_PACKAGES[module] for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"{purpose} needs {' and '.join(missing)}, not installed here; "
            "run: pip install 'tokfrag[demo]'"
        )
