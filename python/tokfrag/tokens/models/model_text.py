"""How a ``.model`` file of sentencepiece writes text."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tokfrag._core import unigram as _native


@dataclass(frozen=True)
class ModelText:
    """How a ``.model`` of sentencepiece writes text before it cuts it."""

    charsmap: bytes = field(repr=False)
    user_defined: tuple[str, ...]
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelText, (
            self.charsmap,
            self.user_defined,
            self.add_dummy_prefix,
            self.remove_extra_whitespaces,
        )

    @cached_property
    def native(self) -> _native.ModelNormalizer:
        """The native normaliser."""
        return _native.ModelNormalizer(
            self.charsmap,
            [token.encode() for token in self.user_defined],
            self.add_dummy_prefix,
            self.remove_extra_whitespaces,
        )


__all__ = ["ModelText"]
