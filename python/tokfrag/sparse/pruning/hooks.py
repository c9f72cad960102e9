"""Forward hooks for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import nn

Hook: TypeAlias = Callable[..., Any]


@contextmanager
def hooked(
    hooks: Iterable[tuple[nn.Module, Hook]], *, with_kwargs: bool = False, prepend: bool = False
) -> Iterator[None]:
    """Modules with forward hooks; none is left behind, whenever an interrupt comes."""
    pairs = list(hooks)
    try:
        for module, hook in pairs:
            module.register_forward_hook(hook, with_kwargs=with_kwargs, prepend=prepend)
        yield
    finally:
        try:
            _remove(pairs)
        except KeyboardInterrupt:  # all the same
            _remove(pairs)
            raise


def _remove(pairs: list[tuple[nn.Module, Hook]]) -> None:
    """Remove hooks, also one whose handle an interrupt kept from us."""
    for module, hook in pairs:
        for key in [key for key, other in module._forward_hooks.items() if other is hook]:
            del module._forward_hooks[key]
            module._forward_hooks_with_kwargs.pop(key, None)
