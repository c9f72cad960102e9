"""Slabs that come from a device two at a time, the device replaced by the host."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tokfrag.fragments.streams import downloads  # noqa: E402


class Event:
    """Tells when it was waited for."""

    def __init__(self, log: list[str]) -> None:
        self._log = log

    def synchronize(self) -> None:
        self._log.append("waited")


def test_slabs_are_written_in_order_and_waited_for_late(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    made: list[int] = []

    def pinned(numbers: int, dtype: Any) -> Any:
        made.append(numbers)
        return torch.empty(numbers, dtype=dtype)

    monkeypatch.setattr(downloads, "_pinned", pinned)
    monkeypatch.setattr(downloads, "_copied", lambda device: Event(log))
    under_way = downloads.Downloads()
    written: list[Any] = []

    def put(shape: tuple[int, ...], value: float) -> None:
        log.append(f"put {value:.0f}")

        def write(copy: Any) -> None:
            log.append(f"write {value:.0f}")
            written.append(copy.clone())

        under_way.put(torch.full(shape, value), write)

    put((2, 3), 1)
    put((2, 2), 2)
    put((2, 1), 3)  # the first buffer again
    put((3, 3), 4)  # one that the second does not hold
    under_way.finish()
    under_way.finish()
    assert log == [
        *("put 1", "put 2", "put 3", "waited", "write 1", "put 4", "waited", "write 2"),
        *("waited", "write 3", "waited", "write 4"),
    ]
    assert made == [6, 4, 9]
    assert [tuple(copy.shape) for copy in written] == [(2, 3), (2, 2), (2, 1), (3, 3)]
    assert [float(copy.max()) for copy in written] == [1, 2, 3, 4]
