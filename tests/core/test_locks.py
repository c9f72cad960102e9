"""Forks wait for work under locks, so that children find locks free and objects whole."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")

# A thread works without pause; children that are forked meanwhile do `child` and say so by their
# exit, within their time.
FORKS = """
import os, signal, threading
{setup}
stop = threading.Event()
def work():
    while not stop.is_set():
        {work}
thread = threading.Thread(target=work)
thread.start()
try:
    for _ in range(12):
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            try:
                {child}
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
finally:
    stop.set()
    thread.join()
"""

LIVE = (
    """
from tokfrag import Tokenizer
tokenizer = Tokenizer([bytes([byte]) for byte in range(256)] + [b"ab"], pattern="gpt2")
live = tokenizer.live("ab ba " * 2000)
""",
    'live.append("ab "); live.replace(0, 3, "")',
    """live.append("b")
                assert live.ids.tolist() == tokenizer.encode(live.text).tolist()""",
)
COUNTS = (
    """
from tokfrag import WordCounts
counts = WordCounts("gpt2")
counts.add([str(number) for number in range(20000)])
""",
    'counts.add(["some words"])',
    'counts.add(["a"]); assert len(counts) > 20000',
)


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", [LIVE, COUNTS], ids=["live", "counts"])
def test_children_of_a_busy_process(case: tuple[str, str, str]) -> None:
    setup, work, child = case
    run(FORKS.format(setup=setup, work=work, child=child))


def test_nested_locks_in_any_order() -> None:
    setup = """
from tokfrag._locks import fork_safe_lock
locks = [fork_safe_lock() for _ in range(3)]
turn = 0
def nest():
    global turn
    turn += 1
    with locks[turn % 3], locks[(turn + 1) % 3]:
        sum(range(20000))
"""
    run(FORKS.format(setup=setup, work="nest()", child="[lock.acquire() for lock in locks]"))


def test_a_fork_under_a_lock_of_ones_own() -> None:
    run("""
        import os
        from tokfrag._locks import fork_safe_lock
        lock = fork_safe_lock()
        with lock:
            pid = os.fork()
        if pid == 0:
            lock.acquire()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """)


def test_locks_are_forgotten_with_their_owners() -> None:
    from tokfrag import _locks

    before = len(_locks._known)
    made = [_locks.fork_safe_lock() for _ in range(5)]
    assert len(_locks._known) == before + 5
    del made
    assert len(_locks._known) == before
