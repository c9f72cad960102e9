"""The thread pool: right sums, fork, many callers, Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st

from support import run_python
from tokfrag import _core


@given(count=st.integers(0, 5000), grain=st.integers(1, 700), threads=st.integers(0, 5))
def test_every_item_is_visited_once(count: int, grain: int, threads: int) -> None:
    assert _core.busy_work(count, grain, threads) == count * (count - 1) // 2


def test_many_threads_share_the_pool() -> None:
    with ThreadPoolExecutor(64) as executor:
        sums = list(executor.map(lambda _: _core.busy_work(100_000, 1000, 4), range(256)))
    assert set(sums) == {100_000 * 99_999 // 2}


def test_pool_works_in_a_forked_child_and_its_child() -> None:
    done = run_python(
        """
import os
from tokfrag import _core
expected = 10**6 * (10**6 - 1) // 2
assert _core.busy_work(10**6, 1000, 4) == expected
for depth in range(2):
    child = os.fork()
    if child:
        break
    assert _core.busy_work(10**6, 1000, 4) == expected
if child:
    assert os.waitpid(child, 0)[1] == 0
assert _core.busy_work(10**6, 1000, 4) == expected
if depth == 0 and child:
    print("ok")
"""
    )
    assert (done.stdout.strip(), done.returncode) == ("ok", 0), done.stderr


def test_fork_while_another_thread_works() -> None:
    done = run_python(
        """
import os, threading, warnings
from tokfrag import _core
warnings.simplefilter("ignore")
stop = threading.Event()
def busy():
    while not stop.is_set():
        _core.busy_work(10**6, 1000, 4)
worker = threading.Thread(target=busy)
worker.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if _core.busy_work(10**5, 100, 4) == 10**5 * (10**5 - 1) // 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
worker.join()
print("ok")
"""
    )
    assert (done.stdout.strip(), done.returncode) == ("ok", 0), done.stderr


@pytest.mark.parametrize("threads", [1, 4])
def test_ctrl_c_stops_long_work(threads: int) -> None:
    def interrupt() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        _core.busy_work(10**13, 10**5, threads)
    sender.join()
    assert _core.busy_work(1000, 10, threads) == 499_500


def test_thread_count_comes_from_the_environment() -> None:
    code = "from tokfrag import _core; print(_core.default_threads())"
    assert run_python(code, TOKFRAG_NUM_THREADS="3").stdout.strip() == "3"
    expected = str(len(os.sched_getaffinity(0)))
    assert run_python(code, TOKFRAG_NUM_THREADS="").stdout.strip() == expected
