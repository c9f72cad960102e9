"""What is left out of a corpus, and where it stood: bad lines, null rows, broken files."""

from __future__ import annotations

ON_ERROR = ("raise", "skip")
_LISTED = 1000  # places a shard, beyond which only the number grows


class Skips:
    """What was passed over; with ``on_error="raise"``, the first is an error.

    Parameters
    ----------
    on_error : "raise" or "skip"
    """

    def __init__(self, on_error: str) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error: got {on_error!r}, takes 'raise' or 'skip'")
        self.on_error = on_error
        self.count = 0
        self.places: list[str] = []

    def add(self, fault: str) -> None:
        """Leave something out; ``fault`` says where it stood and what was wrong."""
        if self.on_error == "raise":
            raise ValueError(fault)
        self.count += 1
        if len(self.places) < _LISTED:
            self.places.append(fault)

    def mark(self) -> tuple[int, int]:
        """Where it stands, for :meth:`back_to`."""
        return self.count, len(self.places)

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forget what came after."""
        self.count = mark[0]
        del self.places[mark[1] :]


__all__ = ["ON_ERROR", "Skips"]
