"""The packed loader: every document once, resumed anywhere, the same for any workers."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.stream import Packed, PackedLoader
from tokfrag.tokens import Tokenizer, TokenShards


def documents(count: int, longest: int, seed: int = 0) -> list[np.ndarray]:
    """Documents whose ids are all different over all documents."""
    sizes = np.random.default_rng(seed).integers(0, longest + 1, count)
    ends = np.cumsum([0, *sizes])
    return [np.arange(a, b) + 1000 * seed + 1 for a, b in pairwise(ends)]


def tokens(batches: list[Packed]) -> list[int]:
    return sorted(int(i) for b in batches for i in b.ids[b.loss_mask])


@settings(max_examples=30)
@given(
    count=st.integers(1, 60),
    longest=st.integers(1, 30),
    length=st.integers(3, 20),
    batch=st.integers(1, 4),
    world=st.integers(1, 3),
    method=st.sampled_from(["best_fit", "first_fit", "in_order"]),
    seed=st.integers(0, 5),
)
def test_every_token_once_an_epoch_over_all_ranks(
    count: int, longest: int, length: int, batch: int, world: int, method: Any, seed: int
) -> None:
    source = documents(count, longest)
    made: list[Packed] = []
    for rank in range(world):
        loader = PackedLoader(
            [source],
            length,
            batch,
            seed=seed,
            rank=rank,
            world_size=world,
            method=method,
            look_ahead=2,
        )
        batches = list(loader)
        assert all(len(b) == batch for b in batches[:-1])
        for b in batches:
            assert b.cu_seqlens[-1] == b.ids.size
            assert set(b.cu_seqlens.tolist()) >= set(range(0, b.ids.size, length))
        made += batches
    expected = sorted(int(i) for d in source for i in d)
    assert tokens(made) == expected


@pytest.mark.parametrize("weights", [None, [3, 1]])
def test_resumes_after_any_batch_with_other_workers(weights: Any) -> None:
    sources = [documents(40, 12, 1), documents(25, 9, 2)]

    def loader(workers: int = 0) -> PackedLoader:
        return PackedLoader(
            sources, 16, 2, weights=weights, seed=7, epochs=2, workers=workers, look_ahead=2
        )

    whole = [b.ids.copy() for b in loader()]
    assert len(whole) > 8
    for workers in (1, 2):
        assert all((a == b.ids).all() for a, b in zip(whole, loader(workers), strict=True))
    for stop in range(1, len(whole)):
        first = loader(stop % 3)
        batches = iter(first)
        for _ in range(stop):
            next(batches)
        state = json.loads(json.dumps(first.state_dict()))
        batches.close()  # type: ignore[attr-defined]
        second = loader((stop + 1) % 3)
        second.load_state_dict(state)
        rest = [b.ids for b in second]
        assert len(rest) == len(whole) - stop
        assert all((a == b).all() for a, b in zip(whole[stop:], rest, strict=True))


def test_weights_are_the_shares_of_documents() -> None:
    sources = [[[1]] * 300, [[2]] * 100]
    drawn = Counter(tokens(list(PackedLoader(sources, 8, 2, weights=[1, 3], seed=3))))
    assert drawn.total() == 400
    assert 0.65 < drawn[2] / 400 < 0.85, "the smaller source begins anew"


def test_reads_shards(tmp_path: Any) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("one\n\ntwo two\n\nthree three three")
    tokenizer = Tokenizer.train([corpus.read_text()], 260)
    shards = TokenShards(tokenizer.encode_files([corpus], tmp_path / "shards"))
    loader = PackedLoader([shards], 16, 2, workers=1)
    assert tokens(list(loader)) == sorted(shards[:].tolist())


def test_errors_of_a_source_reach_the_caller() -> None:
    class Broken:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> list[int]:
            raise OSError("gone")

    for workers in (0, 1):
        with pytest.raises(OSError, match="gone"):
            list(PackedLoader([Broken()], 4, 1, workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_lost_is_counted_without_any_row(workers: int) -> None:
    loader = PackedLoader([[[1] * 9, [2] * 9]], 4, 1, overlong="drop", workers=workers)
    assert list(loader) == []
    assert loader.lost == {"cropped": 0, "dropped": 2}


@pytest.mark.parametrize(
    ("documents", "options"),
    [
        ([[], []], {}),
        ([[1] * 9], {"overlong": "drop"}),
        ([[1]], {"rank": 1, "world_size": 2}),
        ([[1], []], {"weights": [0, 1]}),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_epochs_without_end_that_fill_no_row_are_refused(
    documents: list[list[int]], options: dict[str, Any], workers: int
) -> None:
    sources = [[document] for document in documents] if "weights" in options else [documents]
    loader = PackedLoader(sources, 4, 1, epochs=None, workers=workers, **options)
    with pytest.raises(ValueError, match="fill no row, and epochs=None has no end"):
        next(iter(loader))


def test_refuses_what_is_not_its_state() -> None:
    loader = PackedLoader([[[1, 2]]], 4, 1)
    state = loader.state_dict()
    with pytest.raises(ValueError, match="state: seed is 5, this loader has 0"):
        loader.load_state_dict({**state, "seed": 5})
    with pytest.raises(ValueError, match="state: version None"):
        loader.load_state_dict({})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length: got 0"),
        ({"rank": 1}, "rank: got 1, takes 0 to 0"),
        ({"sources": [[]]}, "sources: hold no document"),
        ({"weights": [1, 2]}, r"weights: got \[1, 2\], takes 1 numbers"),
        ({"look_ahead": 1}, "look_ahead: got 1, takes 2"),
        ({"method": "any"}, "method: got 'any'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PackedLoader(**{"sources": [[[1]]], "length": 4, "batch": 1, **options})


def test_bad_source() -> None:
    with pytest.raises(TypeError, match="sources: number 0 is a int"):
        PackedLoader([3], 4, 1)
