"""Ctrl-C: how long any call may be deaf, and in which processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from support import run_python
from tokfrag import GramLasso, Tokenizer, WordCounts, segment_merge

# Of the main thread's own time, so that a busy machine makes no test fail. Calls ask every 20 ms.
DEAF_SECONDS = 0.1


def longest_silence(call: Callable[[], Any]) -> float:
    """The most of its own time that a call lets pass between two looks at signals."""
    heard: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(time.thread_time()))
    signal.setitimer(signal.ITIMER_REAL, 0.004, 0.004)
    try:
        begin = time.thread_time()
        call()
        end = time.thread_time()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    inside = [begin, *(at for at in heard if begin < at < end), end]
    return max(after - at for at, after in pairwise(inside))


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["hello world ça va "] * 3, vocab_size=290, special_tokens=["<|end|>"])


@cache
def many_words(step: int) -> WordCounts:
    counts = WordCounts(None)
    counts.add_counts([(b"%d" % (i * step), 1) for i in range(500_000)])
    return counts


@pytest.mark.parametrize("letter", ["é", "ж", "\U0001f600"], ids=["latin1", "ucs2", "ucs4"])
def test_text_of_every_width(letter: str) -> None:
    text = "hello world " * 3_000_000 + letter
    tok = tokenizer()
    assert longest_silence(lambda: tok.encode(text)) < DEAF_SECONDS
    assert longest_silence(lambda: tok.count([text], threads=1)) < DEAF_SECONDS
    assert longest_silence(lambda: WordCounts().add(text, threads=1)) < DEAF_SECONDS
    end = text + "<|end|>"
    assert longest_silence(lambda: tok.encode(end, allowed_special="all")) < DEAF_SECONDS


def test_decoding() -> None:
    tok = tokenizer()
    ids = np.full(30_000_000, tok.token_to_id(b"hello"), np.uint32)
    assert longest_silence(lambda: tok.decode_bytes(ids)) < DEAF_SECONDS


@pytest.mark.parametrize(
    "call",
    [
        lambda: many_words(7).items(),
        lambda: many_words(7)._packed(),
        lambda: many_words(7).merge(many_words(1)),
    ],
    ids=["items", "packed", "merge"],
)
def test_counts_of_many_words(call: Callable[[], Any]) -> None:
    many_words(7)
    many_words(1)
    assert longest_silence(call) < DEAF_SECONDS


def test_tokens_of_megabytes() -> None:
    """Merging "abab..." doubles its tokens each time."""
    call = lambda: Tokenizer.train(["ab" * 4_000_000], vocab_size=300, pattern=None)  # noqa: E731
    assert longest_silence(call) < 2 * DEAF_SECONDS  # half of it the system's, for fresh memory


def test_products_of_lasso() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8_000, 1200), np.float32)
    lasso = GramLasso(alpha=1e6)
    lasso.fit(x, x[:, 0])  # the system takes half a second for memory that is new
    assert longest_silence(lambda: lasso.fit(x, x[:, 0])) < 3 * DEAF_SECONDS


def test_segments() -> None:
    x, index = np.zeros((20_000_000, 1), np.float32), np.arange(20_000_000) // 20_000
    assert longest_silence(lambda: segment_merge(x, index, 1000, threads=1)) < DEAF_SECONDS


FORKED = """
    import os, signal, threading, time
    from tokfrag import Tokenizer
    tok = Tokenizer.train(["hello world"], vocab_size=257)
    text = "hello world " * 4_000_000

    def fork():
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            turns = 0
            try:
                os.write(told, b"x")
                while turns < 100:
                    tok.encode(text)
                    turns += 1
                os._exit(1)
            except KeyboardInterrupt:
                os._exit(0 if turns == 0 else 2)
        os.read(ready, 1)
        time.sleep(0.1)
        os.kill(child, signal.SIGINT)
        codes.append(os.waitpid(child, 0)[1])

    begin = time.perf_counter()
    tok.encode(text)
    # The signal comes inside the first call, and only a deaf call would end on its own.
    while time.perf_counter() - begin < 0.4:
        text *= 2
        begin = time.perf_counter()
        tok.encode(text)
    codes = []
    fork()
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    print(codes)
"""


def test_a_child_forked_from_any_thread_hears() -> None:
    done = run_python(FORKED, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("[0, 0]", 0), done.stderr


def test_sigint_leaves_everything_usable() -> None:
    done = run_python(
        """
        import os, signal, threading, time
        import numpy as np
        from tokfrag import Tokenizer, WordCounts
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tok = Tokenizer.train(["hello world"], vocab_size=257)
        text = "hello world " * 300_000
        ids = tok.encode(text)
        counts = WordCounts()
        counts.add("kept")
        calls = {
            "encode": lambda: tok.encode(text),
            "batch": lambda: tok.encode_batch([text] * 3),
            "count": lambda: tok.count(text),
            "decode": lambda: tok.decode_bytes(ids),
            "words": lambda: counts.add([text] * 1000),
            "train": lambda: Tokenizer.train([text], vocab_size=280),
        }
        for name, call in calls.items():
            timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            begin = time.perf_counter()
            try:
                while time.perf_counter() - begin < 20:
                    call()
                print(name, "was deaf")
            except KeyboardInterrupt:
                pass
            timer.join()
        assert counts.items() == [(b"kept", 1)], counts.items()[:5]
        assert tok.decode(tok.encode(text)) == text
        print("ok")
        """,
        timeout=120,
    )
    assert (done.stdout.strip(), done.returncode) == ("ok", 0), done.stderr
