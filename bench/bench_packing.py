"""Documents into rows: against the methods that trainers write by hand, as loops of Python.

``look-ahead best fit`` is nanochat's: of some documents kept it puts the longest that fits into the
row at hand, cropping one where none does. ``best-fit decreasing`` is TRL's ("bfd"): sorted
documents, and a table of the room that rows have left.
"""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np
import pytest

from peers import data_folder
from tokfrag.stream import pack, plan_rows
from tokfrag.tokens import TokenBatch, Tokenizer

LENGTH = 8192
COUNT = 100_000


@pytest.fixture(scope="module", params=["web pages", "paragraphs"])
def corpus(request: Any) -> TokenBatch:
    """Lengths as of web pages (log-normal, a median of 250 tokens), or those of a real corpus.

    The real ones are of runs of 1 to 40 paragraphs of English, in GPT-2's ids, drawn again and
    again, for the corpus has not as many.
    """
    random = np.random.default_rng(0)
    if request.param == "web pages":
        lengths = np.clip(random.lognormal(5.5, 1.2, COUNT), 1, LENGTH).astype(np.int64)
    else:
        vocabulary = data_folder() / "vocab"
        tokenizer = Tokenizer.from_gpt2(
            vocabulary / "gpt2_vocab.bpe", vocabulary / "gpt2_encoder.json"
        )
        text = (data_folder() / "english.txt").read_text(encoding="utf-8")
        paragraphs = tokenizer.encode_batch([p for p in text.split("\n") if p.strip()]).lengths
        ends = np.concatenate([[0], np.cumsum(paragraphs)])
        first = random.integers(0, len(paragraphs) - 1, COUNT)
        last = np.minimum(first + random.integers(1, 41, COUNT), len(paragraphs))
        lengths = np.clip(ends[last] - ends[first], 1, LENGTH).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TokenBatch(np.arange(offsets[-1], dtype=np.uint32), offsets)


def look_ahead(corpus: TokenBatch, kept: int = 1000) -> tuple[list[list[int]], int]:
    lengths = corpus.lengths.tolist()
    waiting, at, rows, cropped = sorted(lengths[:kept]), kept, [], 0
    while waiting:
        row, room = [], LENGTH
        while room and waiting:
            fits = bisect.bisect_right(waiting, room) - 1
            if fits < 0:
                cropped += waiting[0] - room
                waiting.pop(0)
                taken = room
            else:
                taken = waiting.pop(fits)
            row.append(taken)
            room -= taken
            if at < len(lengths):
                bisect.insort(waiting, lengths[at])
                at += 1
        rows.append(row)
    return rows, cropped


def decreasing(corpus: TokenBatch) -> tuple[list[list[int]], int]:
    rooms: list[int] = []
    by_room: dict[int, list[int]] = {}
    rows: list[list[int]] = []
    for size in sorted(corpus.lengths.tolist(), reverse=True):
        place = bisect.bisect_left(rooms, size)
        if place == len(rooms):
            rows.append([])
            row, room = len(rows) - 1, LENGTH
        else:
            room = rooms[place]
            row = by_room[room].pop()
            if not by_room[room]:
                rooms.pop(place)
                del by_room[room]
        rows[row].append(size)
        if room - size:
            if room - size not in by_room:
                bisect.insort(rooms, room - size)
                by_room[room - size] = []
            by_room[room - size].append(row)
    return rows, 0


def ours(corpus: TokenBatch) -> Any:
    return pack(corpus, LENGTH, threads=1)


def plan(corpus: TokenBatch) -> Any:
    return plan_rows(corpus.lengths, LENGTH)


@pytest.mark.benchmark(group="packing: rows of 100,000 documents filled, 1 thread")
def bench_rows_tokfrag(benchmark: Any, corpus: TokenBatch) -> None:
    packed = ours(corpus)
    benchmark.extra_info.update(full=packed.fill, cropped=0)
    assert packed.loss_mask.sum() == corpus.lengths.sum()
    benchmark.pedantic(ours, args=(corpus,), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="packing: which of 100,000 documents share a row of 8192, 1 thread")
@pytest.mark.parametrize("peer", ["tokfrag", "look-ahead best fit", "best-fit decreasing"])
def bench_packing(benchmark: Any, corpus: TokenBatch, peer: str) -> None:
    """The plan alone: the methods by hand say no more."""
    total = int(corpus.lengths.sum())
    if peer == "tokfrag":
        made = plan(corpus)
        assert sum(corpus.lengths[row].sum() for row in made) == total
        benchmark.extra_info.update(full=total / (len(made) * LENGTH), cropped=0)
        benchmark.pedantic(plan, args=(corpus,), rounds=5, warmup_rounds=1)
        return
    method = look_ahead if peer.startswith("look") else decreasing
    rows, cropped = method(corpus)
    assert sum(map(sum, rows)) + cropped == total
    benchmark.extra_info.update(full=sum(map(sum, rows)) / (len(rows) * LENGTH), cropped=cropped)
    benchmark.pedantic(method, args=(corpus,), rounds=3)
