"""How fast this machine moves fragments: measured once, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import numpy as np

from tokfrag._core import __version__, active_isa
from tokfrag._files import whole_file
from tokfrag._machine import cache_folder, processor_name
from tokfrag.fragments.extraction import extract
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.fragments.merging import merge

_SERIES = 1 << 20
_MESSAGE = 1 << 22


@dataclass(frozen=True)
class Calibration:
    """Seconds and bytes a second of the steps a plan is made of, on one thread."""

    move_bandwidth: float  # bytes read and written a second by extract and merge
    call_seconds: float  # of a batch of one tiny fragment: cut, merged, written
    link_bandwidth: float  # bytes a second between two workers here, over a local socket
    link_latency: float  # seconds a message


def calibration(*, refresh: bool = False) -> Calibration:
    """The figures of this machine, measured (about a quarter of a second) unless they are cached.

    The file is ``calibration.json`` in ``TOKFRAG_CACHE_DIR``, or in the folder ``tokfrag`` of the
    user's cache; with ``TOKFRAG_CACHE_DIR`` empty there is none. One that was made on another
    machine or by another version, or that was damaged, is measured anew; a folder that cannot be
    written to costs a measurement each time.
    """
    path = _path()
    known = None if refresh or path is None else _read(path)
    if known is not None:
        return known
    measured = _measure()
    if path is not None:
        _write(path, measured)
    return measured


def _path() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "calibration.json"


def _machine() -> dict[str, str]:
    """Name the facts that the figures depend on; where one differs, they are measured again."""
    return {
        "processor": f"{platform.machine()} {processor_name()}",
        "processors": str(os.cpu_count()),
        "instructions": active_isa(),
        "version": __version__,
    }


def _digest(payload: object) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Calibration | None:
    try:
        stored = json.loads(path.read_text())
        figures = stored["figures"]
        whole = stored["digest"] == _digest([stored["machine"], figures])
        if not whole or stored["machine"] != _machine():
            return None
        return Calibration(
            **{field.name: float(figures[field.name]) for field in fields(Calibration)}
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, measured: Calibration) -> None:
    machine, figures = _machine(), asdict(measured)
    stored = {"machine": machine, "figures": figures, "digest": _digest([machine, figures])}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(json.dumps(stored, indent=1).encode())
    except OSError:
        return  # no cache here: the next process measures again


def _measure() -> Calibration:
    x = np.ones((1, 1, _SERIES), np.float32)
    grid = FragmentGrid((_SERIES,), 1024, 512, edge="shift")
    fragments = extract(x, grid, threads=1)
    back = np.empty_like(x)

    def there_and_back() -> None:
        extract(x, grid, out=fragments, threads=1)
        merge(fragments, grid, out=back, threads=1)

    moved = 2 * (x.nbytes + fragments.nbytes)
    tiny = np.ones((1, 1, 8), np.float32)
    tiny_grid = FragmentGrid((8,), 8)

    def smallest() -> None:
        for _ in range(20):
            merge(extract(tiny, tiny_grid, threads=1), tiny_grid, threads=1)

    latency, bandwidth = _measure_link()
    return Calibration(
        move_bandwidth=moved / _seconds(there_and_back),
        call_seconds=_seconds(smallest) / 20,
        link_bandwidth=bandwidth,
        link_latency=latency,
    )


def _seconds(work: object, repeats: int = 5) -> float:
    """The median time of ``work()``, after one call to warm up."""
    assert callable(work)
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return max(median(times), 1e-9)


def _measure_link() -> tuple[float, float]:
    """Latency and bandwidth of a local socket: half a round trip, and a large message."""
    near, far = socket.socketpair()

    def echo() -> None:
        with far:
            for size in [1] * 101 + [_MESSAGE] * 4:
                _receive(far, size)
                far.sendall(b"k")

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    with near:
        near.settimeout(10)

        def send(payload: bytes) -> float:
            begin = time.perf_counter()
            near.sendall(payload)
            _receive(near, 1)
            return time.perf_counter() - begin

        send(b"k")
        latency = median(send(b"k") for _ in range(100)) / 2
        payload = bytes(_MESSAGE)
        transfer = median(send(payload) for _ in range(4))
    thread.join()
    return latency, _MESSAGE / max(transfer - latency, 1e-9)


def _receive(end: socket.socket, size: int) -> None:
    while size > 0:
        received = len(end.recv(min(size, 1 << 20)))
        if received == 0:
            raise ConnectionError("the local socket closed early")
        size -= received
