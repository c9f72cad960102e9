"""The progress bar of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    total: int | None, title: str, unit: str, show: bool, *, scale: bool = False
) -> Iterator[Callable[[int], object]]:
    """Give a function that moves a progress bar on; without ``show``, one that does nothing.

    Parameters
    ----------
    total : int or None
        How many units there are, where that is known.
    title, unit : str
        What is done, and to what; ``"B"`` for bytes.
    show : bool
        Whether there is a bar at all.
    scale : bool
        Write large counts as 12k, 3.4M.

    Yields
    ------
    callable
        ``advance(count)``.
    """
    if not show:
        yield lambda _: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=title, unit=unit, unit_scale=scale) as bar:
        yield bar.update
