"""Hostile input: exact, in time that grows with its length, and never a crash or a hang.

What might hang or exhaust memory runs in a subprocess with a hard limit. Times are compared with
each other within one run, generously, so that only another order of growth can fail.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from support import run_python
from token_cases import FILES, peer, tokenizer
from tokfrag import Tokenizer

_LOAD = """
    import os, pathlib, random, sys, time
    import numpy as np
    from tokfrag import Tokenizer
    folder = pathlib.Path(os.environ["TOKFRAG_DATA"]) / "vocab"
    FILES = {files}
    tok = Tokenizer.from_tiktoken(folder / FILES["{family}"], pattern="{family}")
    def seconds(text):
        begin = time.process_time()
        ids = tok.encode(text)
        spent = time.process_time() - begin
        assert tok.decode_bytes(ids) == (text if isinstance(text, bytes) else text.encode())
        return spent
"""


def run(family: str, code: str, timeout: float = 60) -> None:
    import textwrap

    head = textwrap.dedent(_LOAD).replace("{files}", repr(FILES)).replace("{family}", family)
    result = run_python(head + textwrap.dedent(code) + "\nprint('done')", timeout=timeout)
    assert result.stdout.strip().endswith("done"), result.stderr


@pytest.mark.parametrize("family", FILES)
def test_runs_grow_linearly(data: Path, family: str) -> None:
    """A1, A2: one character a million times; spaces and newlines in every order."""
    run(
        family,
        """
        units = ["a", "A", " ", "\\n", "\\t", "^", "'", "7", "\\0", "é", "你", "👍", " \\n",
                 "\\r\\n", "'s", "文A", "aB", "!\\n/", "\\u3000", "\\u0301"]
        tok.encode("warm")
        for unit in units:
            small = seconds(unit * 50_000)
            large = seconds(unit * 500_000 + "x")
            assert large < 40 * max(small, 0.01), (unit, small, large)
        seconds((" " * 99_999 + "x") * 5)
        """,
    )


def test_structured_text_grows_linearly(data: Path) -> None:
    """A3, A4: random letters, periodic and Fibonacci words, marks, joiners, ideographs."""
    run(
        "cl100k",
        """
        pick = random.Random(1)
        def fibonacci(n):
            a, b = "a", "ab"
            while len(b) < n: a, b = b, b + a
            return b[:n]
        made = {
            "letters": lambda n: "".join(pick.choices("abcdefghijklmnopqrstuvwxyz", k=n)),
            "periodic": lambda n: "ab" * (n // 2),
            "fibonacci": fibonacci,
            "marks": lambda n: "a" + "\\u0301" * n,
            "joiners": lambda n: "👩\\u200d" * (n // 2),
            "ideographs": lambda n: "".join(chr(pick.randrange(0x4E00, 0x9FFF)) for _ in range(n)),
            "bytes": lambda n: pick.randbytes(n),
        }
        tok.encode("warm")
        for name, make in made.items():
            small = seconds(make(30_000))
            large = seconds(make(300_000))
            assert large < 40 * max(small, 0.01), (name, small, large)
        """,
    )


@pytest.mark.parametrize("unit", ["a", " ", "\n", "^", "'", "7", "é", "你", "👍", "\u0301"])
def test_long_runs_equal_tiktoken(data: Path, unit: str) -> None:
    for family in ("cl100k", "gpt2"):
        text = unit * 20_000 + "x"
        expected = peer(data, family).encode_ordinary(text)
        assert tokenizer(data, family).encode(text).tolist() == expected


def test_a_hundred_thousand_special_tokens(data: Path) -> None:
    """C1: nothing is slower for there being many, in a text full of what they begin with."""
    run(
        "cl100k",
        """
        special = {f"<|special_{i}|>": 200_000 + i for i in range(100_000)}
        many = Tokenizer.from_tiktoken(
            folder / FILES["cl100k"], pattern="cl100k", special_tokens=special
        )
        text = ("a<|special_7|> < <| <|special_ " * 20_000).encode()
        begin = time.process_time()
        ids = many.encode(text, allowed_special="all")
        spent = time.process_time() - begin
        assert (ids == 200_007).sum() == 20_000
        assert many.decode_bytes(ids) == text
        assert spent < 3
        nested = Tokenizer.from_tiktoken(
            folder / FILES["cl100k"], pattern="cl100k",
            special_tokens={"a" * n: 200_000 + n for n in range(1, 300)},
        )
        assert len(nested.encode("a" * 29_900, allowed_special="all")) == 100
        """,
    )


def test_nul_empty_and_separators(data: Path) -> None:
    """B3."""
    tok = tokenizer(data, "cl100k")
    for text in ("", "\0", "a\0b", "\ufeffa", "\u2028\u2029", "\0" * 1000):
        assert tok.decode(tok.encode(text)) == text
        assert tok.encode(text).tolist() == peer(data, "cl100k").encode_ordinary(text)
    batch = tok.encode_batch(["x"] * 200_000)
    assert len(batch) == 200_000
    assert batch.ids.tolist() == [87] * 200_000
    assert np.array_equal(batch.offsets, np.arange(200_001))


def test_invalid_utf8_comes_back(data: Path) -> None:
    """B1: overlong, surrogates, beyond U+10FFFF, truncated, stray; every pair of bytes."""
    for family in FILES:
        tok = tokenizer(data, family)
        classes = [b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88"]
        classes += [b"\xe4\xbd", b"\xf0\x9f\x91", b"\x80", b"\xbf", b"\xff", b"\xfe", b"\xc2"]
        pairs = [bytes([a, b]) for a in range(0, 256, 3) for b in range(0, 256, 5)]
        for text in (*classes, b"a".join(classes), b"".join(classes), b"".join(pairs), *pairs[::9]):
            assert tok.decode_bytes(tok.encode(text)) == text


def test_64_threads_share_one(data: Path) -> None:
    """E1: each with options of its own."""
    tok = Tokenizer.from_tiktoken(
        data / "vocab" / FILES["cl100k"], pattern="cl100k", special_tokens={"<|end|>": 200_000}
    )
    text = (data / "multilingual.txt").read_text("utf-8")
    parts = [text[i * 3000 : i * 3000 + 3000] + "<|end|>" for i in range(64)]
    plain = [tok.encode(part).tolist() for part in parts]
    special = [tok.encode(part, allowed_special="all").tolist() for part in parts]
    faults: list[int] = []

    def work(i: int) -> None:
        for round_ in range(6):
            allowed = "all" if (i + round_) % 2 else ()
            expected = special[i] if allowed else plain[i]
            if tok.encode(parts[i], allowed_special=allowed).tolist() != expected:
                faults.append(i)
            if tok.encode_batch(parts[:3])[2].tolist() != plain[2]:
                faults.append(-i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_fork_before_during_and_after(data: Path) -> None:
    """E2: a child of fork encodes, whatever other threads were at."""
    run(
        "cl100k",
        """
        import threading, warnings
        warnings.simplefilter("ignore")
        text = "fork 分岔 while encoding " * 30_000
        expected = tok.encode(text[:1000]).tolist()
        stop = threading.Event()
        def work():
            while not stop.is_set(): tok.encode_batch([text, text], threads=2)
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for _ in range(8):
            child = os.fork()
            if child == 0:
                good = tok.encode(text[:1000]).tolist() == expected
                good = good and tok.encode_batch([text] * 4).offsets[-1] > 0
                os._exit(0 if good else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        """,
        timeout=90,
    )


@pytest.mark.parametrize(
    "call", ["tok.encode(text)", "tok.count(text)", "tok.encode_batch([text] * 9)"]
)
def test_interrupt(data: Path, call: str) -> None:
    """E3: Ctrl-C ends a long call soon, and the object still works."""
    run(
        "cl100k",
        f"""
        import _thread, signal, threading
        text = b"".join(bytes([c]) * 40 for c in range(256)) * 12_000
        timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        begin = time.monotonic()
        try:
            while time.monotonic() < begin + 30:
                {call}
        except KeyboardInterrupt:
            assert time.monotonic() - begin < 10
        else:
            sys.exit("no KeyboardInterrupt")
        assert tok.decode(tok.encode("still 在 here")) == "still 在 here"
        """,
    )


def test_faulty_files_do_not_hang(tmp_path: Path) -> None:
    """D1, D2: files cut short or with bits flipped raise ValueError or load; nothing else."""
    import base64
    import random

    lines = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]
    lines += [base64.b64encode(b"ab%d" % i) + b" %d" % (256 + i) for i in range(200)]
    content = b"\n".join(lines) + b"\n"
    path = tmp_path / "x.tiktoken"
    pick = random.Random(3)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(pick.randrange(1, 4)):
            damaged[pick.randrange(len(damaged))] ^= 1 << pick.randrange(8)
        path.write_bytes(damaged[: pick.randrange(len(damaged) // 2, len(damaged) + 1)])
        tok, fault = None, str(path)
        try:
            tok = Tokenizer.from_tiktoken(path, pattern="gpt2")
        except ValueError as error:
            fault = str(error)
        assert str(path) in fault
        if tok is not None:
            assert tok.decode(tok.encode("ab1 ab2")) == "ab1 ab2"
