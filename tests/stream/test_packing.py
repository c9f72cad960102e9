"""Packing: the twin's rows, every token once, segments that cover every place."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag._core import stream as native
from tokfrag.reference import packing as reference
from tokfrag.stream import Packed, pack, plan_rows
from tokfrag.tokens import TokenBatch

METHODS = {
    "best_fit": reference.best_fit,
    "first_fit": reference.first_fit,
    "in_order": reference.in_order,
}


def numbered(lengths: list[int]) -> list[np.ndarray]:
    """Documents whose ids are all different."""
    ends = np.cumsum([0, *lengths])
    return [np.arange(a, b) + 1 for a, b in pairwise(ends)]


def rows_of(packed: Packed) -> list[list[int]]:
    return sorted(
        row[kept].tolist() for row, kept in zip(packed.ids, packed.loss_mask, strict=True)
    )


@pytest.mark.parametrize("method", METHODS)
@given(
    lengths=st.lists(st.integers(0, 9), max_size=40),
    length=st.integers(9, 30),
    seed=st.integers(0, 2**64 - 1),
    threads=st.sampled_from([1, 2, None]),
)
def test_rows_are_the_twins(
    method: str, lengths: list[int], length: int, seed: int, threads: int | None
) -> None:
    documents = numbered(lengths)
    packed = pack(documents, length, method=method, seed=seed, pad_id=-7, threads=threads)
    expected = [
        [int(i) for d, begin, count in row for i in documents[d][begin : begin + count]]
        for row in METHODS[method](lengths, length)
    ]
    found = rows_of(packed)
    assert found == sorted(expected)
    assert (packed.ids[~packed.loss_mask] == -7).all()
    if method == "in_order":
        assert packed.ids[packed.loss_mask].tolist() == list(range(1, sum(lengths) + 1))


@given(lengths=st.lists(st.integers(0, 30), max_size=30), length=st.integers(1, 12))
def test_segments_cover_every_place(lengths: list[int], length: int) -> None:
    documents = numbered(lengths)
    packed = pack(documents, length, overlong="split")
    bounds = packed.cu_seqlens
    assert bounds.dtype == np.int32
    assert bounds[0] == 0
    assert bounds[-1] == packed.ids.size
    assert (np.diff(bounds) > 0).all()
    assert packed.max_seqlen == np.diff(bounds).max(initial=0)
    flat = packed.document_ids.reshape(-1)
    for begin, end in pairwise(bounds):
        assert begin // length == (end - 1) // length, "a segment lies in one row"
        assert len(set(flat[begin:end].tolist())) == 1
        assert packed.position_ids.reshape(-1)[begin:end].tolist() == list(range(end - begin))
    for number, document in enumerate(documents):
        assert sorted(packed.ids[packed.document_ids == number].tolist()) == document.tolist()
    assert packed.loss_mask.sum() == sum(lengths)


def test_seed_orders_the_rows_and_nothing_else() -> None:
    documents = numbered([5] * 40)
    one, same, other = (pack(documents, 5, seed=seed) for seed in (1, 1, 2))
    assert (one.ids == same.ids).all()
    assert (one.ids != other.ids).any()
    assert rows_of(one) == rows_of(other)


def test_kinds_of_documents_agree() -> None:
    torch = pytest.importorskip("torch")
    lists = [[5, 6, 7], [], [8, 9]]
    batch = TokenBatch(np.array([5, 6, 7, 8, 9], np.uint32), np.array([0, 3, 3, 5]))
    expected = pack(lists, 4).ids
    assert expected.dtype == np.int64
    for documents in (
        batch,
        [np.array(d, np.uint16) for d in lists],
        [torch.tensor(d, dtype=torch.int64) for d in lists],
        [np.array(d, np.int8) for d in lists],
    ):
        assert (pack(documents, 4).ids == expected).all()
    assert pack(batch, 4, dtype=np.int32).ids.dtype == np.int32


def test_overlong_documents() -> None:
    documents = [[1, 2], [3, 4, 5, 6, 7]]
    with pytest.raises(ValueError, match=r"row of 4 is too short for document 1, which has 5"):
        pack(documents, 4)
    split = pack(documents, 4, overlong="split")
    assert sorted(split.ids[split.document_ids == 1].tolist()) == [3, 4, 5, 6, 7]
    cropped = pack(documents, 4, overlong="crop")
    assert cropped.cropped == 1
    assert rows_of(cropped) == [[1, 2], [3, 4, 5, 6]]


def test_masks_and_labels_keep_documents_apart() -> None:
    torch = pytest.importorskip("torch")
    packed = pack([[1, 2, 3], [4, 5], [6]], 4, seed=3)
    allowed = packed.attention_mask()
    same = packed.document_ids[:, :, None] == packed.document_ids[:, None, :]
    assert (allowed <= same).all()
    assert allowed.any(-1).all(), "no softmax without a term"
    labels = packed.labels()
    assert sorted(labels[labels >= 0].tolist()) == [2, 3, 5]
    arguments = packed.varlen_arguments()
    assert arguments["cu_seqlens_q"].dtype == torch.int32
    # The same attention by segments, as a varlen kernel runs it, and by the mask.
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, len(packed), 4, 8, generator=generator).unbind(0)
    by_mask = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=torch.from_numpy(allowed)
    ).reshape(-1, 8)
    flat = [t.reshape(-1, 8) for t in (q, k, v)]
    bounds = packed.cu_seqlens.tolist()
    for begin, end in pairwise(bounds):
        part = torch.nn.functional.scaled_dot_product_attention(
            *(t[None, begin:end] for t in flat), is_causal=True
        )
        torch.testing.assert_close(by_mask[begin:end], part[0])


def test_block_mask_is_the_mask() -> None:
    torch = pytest.importorskip("torch")
    packed = pack([[1, 2, 3], [4, 5], [6]], 4)
    block = packed.block_mask()
    made = torch.nn.attention.flex_attention.create_mask(block.mask_mod, 2, None, 4, 4, "cpu")
    assert (made[:, 0].numpy() == packed.attention_mask()).all()


def test_positions_of_ones_own() -> None:
    documents = [[1, 2, 3], [4, 5]]
    own = [np.arange(9).reshape(3, 3), np.arange(6).reshape(3, 2) + 100]
    packed = pack(documents, 6, positions=own)
    assert packed.position_ids.shape == (3, 1, 6)
    for number in range(2):
        here = packed.document_ids[0] == number
        assert (packed.position_ids[:, 0, here] == own[number]).all()
    with pytest.raises(ValueError, match=r"positions: number 1 is .* of shape \(3, 2"):
        pack(documents, 6, positions=[own[0], own[0]])


def test_nothing_to_pack() -> None:
    packed = pack([], 4)
    assert packed.ids.shape == (0, 4)
    assert packed.cu_seqlens.tolist() == [0]
    assert repr(packed) == "Packed(0 rows of 4, 100.0% full)"
    assert len(pack([[], []], 4)) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "length: got 0"),
        ({"method": "worst_fit"}, "method: got 'worst_fit'"),
        ({"seed": -1}, "seed: got -1"),
        ({"positions": [np.array([0], np.uint64)]}, "positions: number 0 is uint64"),
        ({"pad_id": 2**40, "dtype": np.int32}, "pad_id: got"),
        ({"dtype": np.float32}, "dtype: got float32"),
        ({"overlong": "skip"}, "overlong: got 'skip'"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack([[1]], **{"length": 4, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["length", "seed", "pad_id"])
def test_numbers_that_are_none(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: got 1.5, takes an int"):
        pack([[1]], **{"length": 4, name: 1.5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offsets", "length", "method", "message"),
    [
        ([], 4, 0, "offsets: take one more"),
        ([-1, 2], 4, 0, "offsets: take one more"),
        ([0, 3, 1], 4, 0, "offsets: take ascending"),
        ([0, 2, 9], 4, 0, "document 1 is longer"),
        ([0, 2, 9], 4, 1, "document 1 is longer"),
        ([0, 2], 0, 0, "length"),
        ([0, 2], native.LONGEST_ROW + 1, 0, "length"),
        ([0, 2], 4, 3, "method"),
        ([0, 2], 4, -1, "method"),
    ],
)
def test_native_code_checks_its_copy_of_the_offsets(
    offsets: list[int], length: int, method: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        native.Packing(np.array(offsets, np.int64), length, method, 0)


def test_values_lie_where_their_type_may() -> None:
    plan = native.Packing(np.array([0, 3], np.int64), 4, 0, 0)
    out = np.empty((1, 4), np.int64)
    odd = np.zeros(25, np.uint8)[1:].view(np.int64)
    with pytest.raises(ValueError, match="values: got 3 numbers, takes 3 side by side, aligned"):
        plan.fill(odd, 0, out, 1)
    batch = TokenBatch(np.zeros(13, np.uint8)[1:].view(np.uint32), np.array([0, 3]))
    assert pack(batch, 4).ids.tolist() == [[0, 0, 0, 0]]
    with pytest.raises(ValueError, match="values: got 3 numbers"):
        plan.fill(np.zeros(6, np.int64)[::2], 0, out, 1)


def test_bad_documents() -> None:
    with pytest.raises(TypeError, match="number 1 is float64"):
        pack([[1], [0.5]], 4)
    with pytest.raises(ValueError, match="does not fit int32"):
        pack([np.array([2**31], np.uint32)], 4, dtype=np.int32)
    with pytest.raises(ValueError, match=f"id {-(2**40)} does not fit int32"):
        pack([np.array([-(2**40)])], 4, dtype=np.int32)


def test_rows_alone() -> None:
    packed = pack([[1, 2, 3], [4, 5], [6]], 4)
    second = packed.rows(1, 2)
    assert second.ids.tolist() == packed.ids[1:].tolist()
    assert second.cu_seqlens[[0, -1]].tolist() == [0, 4]
    turned = packed.select(np.array([1, 0]))
    assert turned.ids.tolist() == packed.ids[::-1].tolist()
    assert turned.cu_seqlens[-1] == 8
    with pytest.raises(ValueError, match="begin, end: got -1 and 2"):
        packed.rows(-1, 2)
    with pytest.raises(IndexError, match=r"rows: got \[-1\]"):
        packed.select(np.array([-1]))
    with pytest.raises(TypeError, match="rows: got bool of shape"):
        packed.select(np.array([False, True]))
    assert len(packed.select([])) == 0


@given(
    lengths=st.lists(st.integers(0, 12), max_size=40),
    method=st.sampled_from(["best_fit", "first_fit"]),
    seed=st.integers(0, 5),
)
def test_planned_rows_are_the_packed_ones(lengths: list[int], method: Any, seed: int) -> None:
    packed = pack([[7] * n for n in lengths], 12, method=method, seed=seed)
    rows = plan_rows(lengths, 12, method=method, seed=seed)
    found = [[n for n in dict.fromkeys(row.tolist()) if n >= 0] for row in packed.document_ids]
    assert [row.tolist() for row in rows] == found


def test_plans_of_what_fits_no_row() -> None:
    with pytest.raises(ValueError, match="lengths: document 1 has 9, takes 0 to 8"):
        plan_rows([3, 9], 8)
    with pytest.raises(ValueError, match="method: got 'in_order'"):
        plan_rows([3], 8, method="in_order")
    with pytest.raises(ValueError, match="lengths: got float64"):
        plan_rows([0.5], 8)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="seed: got -1"):
        plan_rows([3], 8, seed=-1)
    with pytest.raises(TypeError, match=r"length: got 8\.5, takes an int"):
        plan_rows([3], 8.5)  # type: ignore[arg-type]
