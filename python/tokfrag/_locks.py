"""Locks that a forked child can take.

A lock that another thread holds while a process forks is held for ever in the child, which has not
got that thread. So a fork waits until the work under the locks made here is done: the child finds
them free, and what they guard whole.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TypeAlias

Lock: TypeAlias = "threading.RLock"

_known: dict[int, weakref.ref[Lock]] = {}
_taken: list[Lock] = []
_turns = threading.RLock()  # threads that fork take all locks one thread after the other


def fork_safe_lock() -> Lock:
    """Make a lock that its owner may take again, and that a fork waits for.

    Returns
    -------
    threading.RLock

    Examples
    --------
    >>> with fork_safe_lock():
    ...     pass
    """
    made = threading.RLock()
    key = id(made)
    _known[key] = weakref.ref(made, lambda _: _known.pop(key, None))
    return made


def _take_all() -> None:
    _turns.acquire()
    busy: Lock | None = None
    while True:
        if busy is not None:
            busy.acquire()
            _taken.append(busy)
        busy = _take_free()
        if busy is None:
            return
        # Its holder may be about to take one of these: nothing is held while waiting.
        _release_taken()


def _take_free() -> Lock | None:
    """Take those that nobody holds; give the first that somebody does."""
    while True:
        mine = {id(lock) for lock in _taken}
        living = [reference() for reference in list(_known.values())]
        missing = [lock for lock in living if lock is not None and id(lock) not in mine]
        for lock in missing:
            if not lock.acquire(blocking=False):
                return lock
            _taken.append(lock)
        if not missing:
            return None  # other threads may have made some in between


def _release_taken() -> None:
    while _taken:
        _taken.pop().release()


def _give_back() -> None:
    _release_taken()
    _turns.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take_all, after_in_parent=_give_back, after_in_child=_give_back)
