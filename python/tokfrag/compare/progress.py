"""The progress of a comparison: a bar on a terminal, one line a finished row anywhere else."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Shows which cut and seed is trained, and how far all of it is."""

    def __init__(self, cuts: int, seeds: int, *, enabled: bool):
        self._began = monotonic()
        # Into a file or a pipe, carriage returns are noise.
        self._lines = enabled and not sys.stderr.isatty()
        self._bar = tqdm(
            total=cuts * seeds,
            disable=not (enabled and sys.stderr.isatty()),
            file=sys.stderr,
            unit="training",
            bar_format="{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]{postfix}",
            mininterval=0.25,
            dynamic_ncols=True,
        )
        self._finished = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def preparing(self, cut: str) -> None:
        """Say which cut is being fitted."""
        self._bar.set_postfix_str(f"cutting: {cut}")

    def tuning(self, cut: str) -> None:
        """Say which cut a rate is looked for."""
        self._bar.set_postfix_str(f"{cut}: looking for a rate")

    def training(self, cut: str, seed: int) -> None:
        """Say which cut and seed is trained."""
        self._bar.set_postfix_str(f"{cut}, seed {seed}")

    def update(self, fraction: float) -> None:
        """The share of the current training that is done."""
        ahead = self._finished + min(fraction, 1.0) - self._bar.n
        if ahead > 0:
            self._bar.update(ahead)

    def finish(self) -> None:
        """Count the current training as done."""
        self.skip(1)

    def skip(self, trainings: int) -> None:
        """Count trainings as done that need not be made."""
        self._finished += trainings
        self._bar.update(self._finished - self._bar.n)

    def row(self, text: str) -> None:
        """Say what a finished row reached, where there is no terminal for a bar.

        Parameters
        ----------
        text
            The row in a few words.
        """
        if self._lines:
            print(f"{monotonic() - self._began:7.1f} s  {text}", file=sys.stderr, flush=True)
