"""Live tokens: edits at random, a chat turn appended, and what servers do instead.

Two of their methods are written down here, on our own encoder, so that what they do is compared and
not what it is done with. ``back_off`` (TensorRT-LLM's prefix cache): encode again from 64 tokens
before the end, and believe it if the first 32 of these come out the same. ``seam`` (vLLM's
proposal): of the last 1,024 characters take the first place, 96 away from either end, where a piece
and a token begin; encode again from there, and believe it if all but the last 96 characters come
out the same. Both encode all where they do not believe; both only append.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_encode import encoder, unpacked
from peers import data_folder, describe, need
from tokfrag import Tokenizer

CHARACTERS = 1_000_000
EDITS = 3000
TOKENS = 200_000
TURN = 500
OVERLAP, RESYNC = 64, 32
WINDOW, MARGIN = 1024, 96


@cache
def text_of(corpus: str) -> str:
    name = "english" if corpus == "unspaced" else corpus
    text = (data_folder() / f"{name}.txt").read_bytes()[: 5 * CHARACTERS].decode("utf-8", "ignore")
    return "".join(text.split())[:CHARACTERS] if corpus == "unspaced" else text[:CHARACTERS]


def load(family: str, folder: Path) -> Tokenizer:
    return Tokenizer.from_tiktoken(unpacked(family, folder), pattern=family)


def back_off(tok: Tokenizer, old: str, ids: Any, starts: Any, text: str) -> tuple[Any, bool]:
    """TensorRT-LLM's way; ``starts``: the characters at which the last ids of ``old`` begin."""
    split = int(starts[-OVERLAP])
    tail = tok.encode(text[split:])
    if tail[:RESYNC].tolist() != ids[-OVERLAP:][: min(RESYNC, len(tail))].tolist():
        return tok.encode(text), False
    return np.concatenate([ids[:-OVERLAP], tail]), True


def seam(tok: Tokenizer, old: str, ids: Any, starts: Any, text: str) -> tuple[Any, bool]:
    """vLLM's way, for texts in which no special token is near."""
    import regex

    from tokfrag.tokens.patterns import REGEX

    base = len(old) - WINDOW
    begins = {int(start): place - len(starts) for place, start in enumerate(starts)}
    for match in regex.finditer(REGEX[tok.pattern or ""], old[base:]):
        at = base + match.start()
        if not MARGIN <= match.start() <= WINDOW - MARGIN or at not in begins:
            continue
        tail, spans = tok.encode_with_offsets(text[at:])
        sure = int(np.count_nonzero(spans[:, 1] <= len(old) - MARGIN - at))
        if tail[:sure].tolist() != ids[begins[at] :][:sure].tolist():
            break
        return np.concatenate([ids[: begins[at]], tail]), True
    return tok.encode(text), False


METHODS = {"back off (TensorRT-LLM)": back_off, "seam (vLLM)": seam}


@pytest.mark.parametrize("corpus", ["english", "code", "chinese_pure", "unspaced"])
def bench_edit(benchmark: Any, tmp_path: Path, corpus: str) -> None:
    """Edits of 1 to 100 characters anywhere in a million: the median, and p99 beside it."""
    benchmark.group = f"live edit, {corpus}"
    tok = load("cl100k", tmp_path)
    text = text_of(corpus)
    live = tok.live(text)
    pick = random.Random(0)
    size = len(text)

    def drawn() -> tuple[tuple[int, int, str], dict[str, Any]]:
        nonlocal size
        start = pick.randint(0, size)
        stop = min(size, start + pick.randint(0, 100))
        place = pick.randrange(len(text) - 100)
        new = text[place : place + pick.randint(1, 100)]
        size += len(new) - (stop - start)
        return (start, stop, new), {}

    benchmark.pedantic(live.replace, setup=drawn, rounds=EDITS)
    assert live.ids.tolist() == tok.encode(live.text).tolist()
    describe(benchmark, "tokfrag", tokens=len(live))
    benchmark.extra_info["p99_us"] = 1e6 * float(np.quantile(benchmark.stats.stats.data, 0.99))


PEERS = ("tokfrag live", "tokfrag live, all ids", "tokfrag", *METHODS, "tiktoken", "tokenizers")


def appender(peer: str, tok: Tokenizer, folder: Path, old: str) -> Callable[[str], Any]:
    """A function that gives the ids of ``old`` and a turn after it."""
    if peer in METHODS:
        ids, spans = tok.encode_with_offsets(old)
        return lambda turn: METHODS[peer](tok, old, ids, spans[-WINDOW:, 0], old + turn)[0]
    if peer == "tokenizers":
        tok.save(folder / "tokenizer.json")
        theirs = need("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
        return lambda turn: theirs.encode(old + turn).ids
    encode = encoder(peer, "cl100k", unpacked("cl100k", folder))
    return lambda turn: encode(old + turn)


@pytest.mark.parametrize("peer", PEERS)
def bench_append(benchmark: Any, tmp_path: Path, peer: str) -> None:
    """A chat turn of 500 characters after 200,000 tokens; ours says which ids it changed."""
    benchmark.group = "append 500 characters to 200,000 tokens"
    tok = load("cl100k", tmp_path)
    text = text_of("english")
    old = text[: tok.live(text).fit(TOKENS)]
    turn = text[-TURN:]
    wanted = tok.encode(old + turn).tolist()
    describe(benchmark, peer if peer in ("tiktoken", "tokenizers") else "tokfrag", tokens=TOKENS)
    if not peer.startswith("tokfrag live"):
        append = appender(peer, tok, tmp_path, old)
        assert list(append(turn)) == wanted
        benchmark.pedantic(append, args=(turn,), rounds=10)
        return
    live = tok.live(old)
    before = live.ids
    edit = live.fork().append(turn)
    assert edit.apply(before).tolist() == wanted

    def again() -> tuple[tuple[Any, str], dict[str, Any]]:
        return (live.fork(), turn), {}

    def append_to(branch: Any, turn: str) -> Any:
        edit = branch.append(turn)
        return branch.ids if peer.endswith("ids") else edit

    benchmark.pedantic(append_to, setup=again, rounds=500)


# A piece that goes on for longer than what is encoded again: in o200k, a stop takes the newlines
# and slashes after it.
LONG = "x = f(a)" + "\n" * 3000


@pytest.mark.parametrize("turn", ["/x", "\n/a", "/'s"])
def test_where_backing_off_is_wrong(tmp_path: Path, turn: str) -> None:
    """The first 32 ids come out the same, and the text after them differently."""
    tok = load("o200k", tmp_path)
    ids, spans = tok.encode_with_offsets(LONG)
    wanted = tok.encode(LONG + turn).tolist()
    backed, believed = back_off(tok, LONG, ids, spans[:, 0], LONG + turn)
    assert believed
    assert backed.tolist() != wanted
    _, believed = seam(tok, LONG, ids, spans[:, 0], LONG + turn)
    assert not believed  # there is no seam: all is encoded again
    live = tok.live(LONG)
    live.append(turn)
    assert live.ids.tolist() == wanted
