"""Cut data into pieces a network can eat, and put the results back.

Text is cut into tokens, space-time is cut into fragments; both have a native kernel and a readable
twin in :mod:`tokfrag.reference`. Names are imported on first use, so that ``import tokfrag`` stays
fast and never imports torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokfrag._core import __version__

if TYPE_CHECKING:
    from tokfrag.fragments import (
        FragmentGrid as FragmentGrid,
    )
    from tokfrag.fragments import (
        extract as extract,
    )
    from tokfrag.fragments import (
        merge as merge,
    )
    from tokfrag.tokens import (
        TokenBatch as TokenBatch,
    )
    from tokfrag.tokens import (
        Tokenizer as Tokenizer,
    )

_HOME = {
    "FragmentGrid": "tokfrag.fragments",
    "TokenBatch": "tokfrag.tokens",
    "Tokenizer": "tokfrag.tokens",
    "extract": "tokfrag.fragments",
    "merge": "tokfrag.fragments",
}
_SUBMODULES = frozenset({"compare", "compat", "fragments", "nn", "reference", "sparse", "tokens"})

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"tokfrag.{name}")
    else:
        raise AttributeError(f"module 'tokfrag' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
