"""Race and remember: of two ways to do the same work, the one that is faster on this machine.

A contest is named by a key. The first one of a key runs both ways in turn, and the winner is kept:
for this process, and in a file for the next one. ``TOKFRAG_CACHE_DIR`` names the folder of that
file (default: the user's cache folder); an empty value keeps winners in memory only.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from tokfrag._core import __version__, active_isa
from tokfrag._files import whole_file
from tokfrag._locks import fork_safe_lock
from tokfrag._machine import cache_folder, processor_name

# Sparse has to be this much faster: a tie would be a loss half of the time.
_LEAD = 0.97
_SECONDS, _FEWEST_ROUNDS, _MOST_ROUNDS = 0.02, 5, 50
_WINNERS = ("sparse", "dense")

Race = Callable[[str], object]

_winners: dict[str, str] | None = None
_lock = fork_safe_lock()


def choose(key: str, race: Race) -> str:
    """Give the faster of ``"sparse"`` and ``"dense"`` in the contest ``key``.

    ``race(way)`` does the work once and returns when it is done. It runs only where nobody
    remembers a winner; threads race one after the other, or they would slow one another.
    """
    global _winners
    winner = None if _winners is None else _winners.get(key)
    if winner is not None:
        return winner
    with _lock:
        if _winners is None:
            _winners = _read()
        winner = _winners.get(key)
        if winner is None:
            sparse, dense = _times(race)
            winner = "sparse" if sparse < _LEAD * dense else "dense"
            _winners[key] = winner
            _write(_winners)
    return winner


def _times(race: Race) -> tuple[float, float]:
    """The least seconds each takes, run in turn; the first round warms and is not counted."""

    def lap(way: str) -> float:
        begin = time.perf_counter()
        race(way)
        return time.perf_counter() - begin

    warm = lap("sparse") + lap("dense")
    rounds = min(_MOST_ROUNDS, max(_FEWEST_ROUNDS, int(_SECONDS / warm)))
    laps = [(lap("sparse"), lap("dense")) for _ in range(rounds)]
    return min(a for a, _ in laps), min(b for _, b in laps)


def _file() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "sparse_plans.json"


def _machine() -> str:
    return f"{processor_name()} {active_isa()} {__version__}"


def _stored(path: Path) -> dict[str, object]:
    """Read the file; nothing where it is absent or spoilt, for a race costs milliseconds."""
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _winners_in(stored: dict[str, object]) -> dict[str, str]:
    winners = stored.get(_machine())
    if not isinstance(winners, dict):
        return {}
    return {str(key): str(way) for key, way in winners.items() if way in _WINNERS}


def _read() -> dict[str, str]:
    path = _file()
    return {} if path is None else _winners_in(_stored(path))


def _write(winners: dict[str, str]) -> None:
    path = _file()
    if path is None:
        return
    with contextlib.suppress(OSError):  # a read-only home costs a race a process, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = _stored(path)
        # Other processes race too: their winners stay.
        stored[_machine()] = {**_winners_in(stored), **winners}
        with whole_file(path) as file:
            file.write(json.dumps(stored, indent=0).encode())
