"""A work that says what it took; workers know it by this module's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any


@dataclass(frozen=True)
class Timed:
    """A work that gives the seconds of CPU time that it took, beside what it gives.

    Attributes
    ----------
    work
        Called with a part.
    """

    work: Callable[[Any], Any]

    def __call__(self, part: Any) -> tuple[Any, float]:
        """Do a part."""
        began = process_time()
        done = self.work(part)
        return done, process_time() - began
