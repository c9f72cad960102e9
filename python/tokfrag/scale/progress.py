"""A bar over parts: how many are done, the rate, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from tokfrag.scale.parts import PartDone


@contextmanager
def parts_bar(
    total: int, done: int, title: str, show: bool
) -> Iterator[Callable[[PartDone], object]]:
    """Give a function that takes what became of a part; without ``show``, one that does nothing.

    Parameters
    ----------
    total, done : int
        How many parts there are, and how many were done before.
    title : str
        What is done.
    show : bool
        Whether there is a bar at all.

    Yields
    ------
    callable
        ``advance(part)``.
    """
    if not show:
        yield lambda part: None
        return
    from tqdm.auto import tqdm

    began = monotonic()
    read = skipped = 0
    with tqdm(total=total, initial=done, desc=title, unit="part") as bar:

        def advance(part: PartDone) -> None:
            nonlocal read, skipped
            read += 0 if part.again else part.bytes
            skipped += part.skipped
            rate = read / 1e6 / max(monotonic() - began, 1e-9)
            bar.set_postfix_str(f"{rate:.1f} MB/s, {skipped} skipped", refresh=False)
            bar.update(1)

        yield advance


__all__ = ["parts_bar"]
