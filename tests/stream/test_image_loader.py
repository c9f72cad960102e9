"""The packed loader with images: each where its placeholders are, none lost, none doubled."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from collections import Counter
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokfrag.stream import ImageSource, Layout, Packed, PackedLoader, mrope_positions
from tokfrag.stream.workers import Recipe

IMAGE = 7
SMALL = Layout(patch=2, merge=2, frames=2, mean=(0.5,), std=(0.25,))


def picture(number: int, t: int, h: int, w: int) -> np.ndarray:
    """An image or video all of one value, which says which one it is."""
    shape = (4 * h, 4 * w, 1)
    return np.full(shape if t == 0 else (t, *shape), number % 256, np.uint8)


def corpus(seed: int, count: int) -> tuple[list[list[int]], list[list[np.ndarray]]]:
    """Documents of unlike ids (from 1000 on) with up to three images, all unlike too."""
    random = np.random.default_rng(seed)
    texts, images, made, token = [], [], 0, 1000
    for _ in range(count):
        ids: list[int] = []
        own = []
        for _ in range(random.integers(0, 4)):
            words = int(random.integers(0, 4))
            ids += [*range(token, token + words), IMAGE]
            token += words
            own.append(picture(made, *random.integers((0, 1, 1), (4, 3, 4))))
            made += 1
        words = int(random.integers(0, 9))
        ids += range(token, token + words)
        token += words
        texts.append(ids)
        images.append(own)
    return texts, images


def seen(batches: list[Packed]) -> tuple[Counter[int], Counter[int]]:
    """Text ids and images (by value) of some batches; each batch is held to its own rules too."""
    ids: Counter[int] = Counter()
    pictures: Counter[int] = Counter()
    for batch in batches:
        assert batch.patches is not None
        patches = batch.patches
        flat, mask = batch.ids.reshape(-1), batch.document_ids.reshape(-1) >= 0
        ids.update(flat[mask & (flat != IMAGE)].tolist())
        assert not (batch.loss_mask & (batch.ids == IMAGE)).any()
        assert int((flat[mask] == IMAGE).sum()) == int(patches.places.sum())
        ends = np.cumsum(patches.grid_thw.prod(1))
        for begin, end in pairwise([0, *ends.tolist()]):
            values = patches.values[begin:end]
            assert (values == values[0, 0]).all()
            pictures[round((float(values[0, 0]) * 0.25 + 0.5) * 255)] += 1
        check_positions(batch)
    return ids, pictures


def check_positions(batch: Packed) -> None:
    assert batch.patches is not None
    grids = batch.patches.grid_thw
    flat = batch.ids.reshape(-1)
    positions = batch.position_ids.reshape(3, -1)
    used = 0
    for begin, end in pairwise(batch.cu_seqlens.tolist()):
        segment = flat[begin:end]
        if batch.document_ids.reshape(-1)[begin] < 0:
            assert not positions[:, begin:end].any()
            continue
        places = int((segment == IMAGE).sum())
        count = 0
        while grids[used : used + count].prod(1).sum() // SMALL.merge**2 < places:
            count += 1
        own = grids[used : used + count]
        expected = mrope_positions(segment, IMAGE, own, merge=SMALL.merge)
        np.testing.assert_array_equal(positions[:, begin:end], expected)
        used += count
    assert used == len(grids)


def loader(texts: Any, images: Any, **options: Any) -> PackedLoader:
    source = ImageSource(texts, images, layout=SMALL, placeholder=IMAGE)
    options = {"length": 24, "batch": 2, "look_ahead": 2, "mrope": True, **options}
    return PackedLoader([source], **options)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 30),
    seed=st.integers(0, 9),
    world=st.integers(1, 2),
    method=st.sampled_from(["best_fit", "first_fit"]),
)
def test_every_token_and_every_image_once(count: int, seed: int, world: int, method: Any) -> None:
    texts, images = corpus(seed, count)
    if not any(texts):
        return
    batches = [
        batch
        for rank in range(world)
        for batch in loader(
            texts, images, method=method, seed=seed, rank=rank, world_size=world, length=64
        )
    ]
    ids, pictures = seen(batches)
    assert ids == Counter(i for text in texts for i in text if i != IMAGE)
    assert pictures == Counter(int(p.flat[0]) for own in images for p in own)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9), data=st.data())
def test_resumes_after_any_batch_on_other_workers(seed: int, data: st.DataObject) -> None:
    texts, images = corpus(seed, 25)
    text = [[1, 2, 3]] * 10
    source = ImageSource(texts, images, layout=SMALL, placeholder=IMAGE)
    weights = data.draw(st.sampled_from([None, [1, 2]]))

    def made(workers: int) -> PackedLoader:
        return PackedLoader(
            [source, text], 32, 2, weights=weights, seed=seed, epochs=2, workers=workers,
            look_ahead=2, mrope=True, overlong="drop",
        )  # fmt: skip

    whole = list(made(data.draw(st.integers(0, 2))))
    stop = data.draw(st.integers(0, len(whole)))
    first = made(data.draw(st.integers(0, 2)))
    batches = iter(first)
    for _ in range(stop):
        next(batches)
    state = json.loads(json.dumps(first.state_dict()))
    batches.close()  # type: ignore[attr-defined]
    second = made(data.draw(st.integers(0, 2)))
    second.load_state_dict(state)
    assert second.lost == first.lost
    rest = list(second)
    assert len(rest) == len(whole) - stop
    for a, b in zip(whole[stop:], rest, strict=True):
        same(a, b)


def same(a: Packed, b: Packed) -> None:
    for name in ("ids", "cu_seqlens", "position_ids", "document_ids", "loss_mask"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.patches is not None
    assert b.patches is not None
    np.testing.assert_array_equal(a.patches.values, b.patches.values)
    np.testing.assert_array_equal(a.patches.grid_thw, b.patches.grid_thw)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_make_the_same_batches(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, images = corpus(3, 20)
    whole = list(loader(texts, images, length=64))
    context = multiprocessing.get_context(method)
    monkeypatch.setattr("tokfrag.stream.workers.multiprocessing.get_context", lambda: context)
    made = iter(loader(texts, images, length=64, workers=2, worker_kind="process"))
    batches = [next(made), next(made)]
    if method == "fork":
        batches += made
        assert len(batches) == len(whole)
    else:
        made.close()  # type: ignore[attr-defined]
    for a, b in zip(whole, batches, strict=False):
        same(a, b)
        assert b.patches is not None
        b.patches.values[:] = 0  # the memory is the caller's


def test_halves_come_from_processes_too() -> None:
    torch = pytest.importorskip("torch")
    source = ImageSource(
        [[IMAGE, 1]] * 4, lambda n: picture(n, 0, 1, 2), layout=SMALL, placeholder=IMAGE,
        dtype=torch.bfloat16,
    )  # fmt: skip
    whole = list(PackedLoader([source], 8, 1))
    made = PackedLoader([source], 8, 1, workers=1, worker_kind="process")
    made._recipe = Recipe([_without_function(source)], 8, 0, False)
    for a, b in zip(whole, made, strict=True):
        assert a.patches is not None
        assert b.patches is not None
        assert b.patches.values.dtype == torch.bfloat16
        assert torch.equal(a.patches.values, b.patches.values)


def _without_function(source: ImageSource) -> ImageSource:
    """The same source, fit for any way of starting processes."""
    pictures = [source.images(n) for n in range(len(source))]  # type: ignore[operator]
    return ImageSource(
        source.documents, pictures, layout=SMALL, placeholder=IMAGE, dtype=source.dtype
    )


class Failing:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Any:
        raise OSError(f"picture {number} is gone")


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_images_reach_the_caller(workers: int, kind: Any) -> None:
    source = ImageSource(
        [[IMAGE]] * 3, cast(Any, Failing()), layout=SMALL, placeholder=IMAGE, sizes=[[(4, 4)]] * 3
    )
    with pytest.raises(OSError, match="is gone"):
        list(PackedLoader([source], 8, 1, workers=workers, worker_kind=kind))


@pytest.mark.parametrize("overlong", ["split", "crop", "drop", "error"])
def test_long_documents_are_never_cut_inside_an_image(overlong: Any) -> None:
    ids = [1, 2, IMAGE, 3, IMAGE, 4, 5]  # takes 2 + 4 + 1 + 6 + 2 places
    images = [picture(1, 0, 2, 2), picture(2, 0, 2, 3)]
    made = loader([ids, [8, 9]], [images, []], length=8, overlong=overlong)
    if overlong == "error":
        with pytest.raises(ValueError, match="for document 0 of source 0, which takes 15"):
            list(made)
        return
    ids_seen, pictures = seen(list(made))
    expected = {
        "split": ([1, 2, 3, 4, 5, 8, 9], [1, 2], {"cropped": 0, "dropped": 0}),
        "crop": ([1, 2, 3, 8, 9], [1], {"cropped": 8, "dropped": 0}),
        "drop": ([8, 9], [], {"cropped": 0, "dropped": 1}),
    }[overlong]
    assert sorted(ids_seen) == expected[0]
    assert sorted(pictures) == expected[1]
    assert made.lost == expected[2]


def test_an_image_longer_than_a_row_is_named() -> None:
    made = loader([[1, IMAGE]], [[picture(0, 0, 3, 3)]], length=8)
    with pytest.raises(ValueError, match="image of document 0 of source 0, which takes 9"):
        list(made)
    cropped = loader([[IMAGE, 1]], [[picture(0, 0, 3, 3)]], length=8, overlong="crop")
    assert list(cropped) == []


def test_resizes_and_opens_no_image_to_plan() -> None:
    pillow = pytest.importorskip("PIL.Image")
    opened: list[int] = []

    def images(number: int) -> list[Any]:
        opened.append(number)
        return [pillow.fromarray(np.full((50, 40, 3), number, np.uint8))]

    rgb = Layout(patch=4)
    source = ImageSource(
        [[IMAGE, 1]] * 3, images, layout=rgb, placeholder=IMAGE,
        sizes=lambda number: [(50, 40)], resize_to=lambda h, w: (h // 8 * 4, w // 8 * 4),
    )  # fmt: skip
    assert source.measure(2) == (31, [(0, 30)])
    assert opened == []
    [batch] = PackedLoader([source], 93, 1)
    assert sorted(opened) == [0, 1, 2]
    assert batch.patches is not None
    assert batch.patches.grid_thw.tolist() == [[1, 6, 5]] * 3


def test_takes_a_video_and_resizes_it() -> None:
    pytest.importorskip("PIL.Image")
    video = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    plan = Layout(patch=4, frames=2)
    source = ImageSource(
        [[IMAGE]], [[video]], layout=plan, placeholder=IMAGE, resize_to=lambda h, w: (8, 8)
    )
    [batch] = PackedLoader([source], 8, 1)
    assert batch.patches is not None
    assert batch.patches.grid_thw.tolist() == [[2, 2, 2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"images": [[]]},
            r"documents: number 0 holds 1 placeholders \(7\) for 0 images; the",
        ),
        ({"images": [[np.zeros((4, 6, 1), np.uint8)]]}, "document 0, image 0: got 4 x 6 pixels"),
        ({"images": [[], []]}, "images: got 2 for 1 documents"),
        ({"images": 3}, "images: got int, takes a sequence or a function"),
        ({"layout": "whisper"}, "layout: got 'whisper'"),
        ({"sizes": [[(8, 4)]]}, "images: have the grids"),
        ({"sizes": [[(4,)]]}, r"sizes: document 0: got \[\(4,\)\], takes \(height, width"),
    ],
)
def test_bad_sources(options: dict[str, Any], message: str) -> None:
    given_ = {"images": [[picture(0, 0, 1, 1)]], "layout": SMALL, **options}
    with pytest.raises((ValueError, TypeError), match=message):
        list(PackedLoader([ImageSource([[1, IMAGE]], placeholder=IMAGE, **given_)], 16, 1))


def test_placeholders_stand_for_images_alone() -> None:
    """A model counts them: none in padding, none in a document that has no image."""
    source = ImageSource([[IMAGE]], [[picture(0, 0, 1, 1)]], layout=SMALL, placeholder=IMAGE)
    with pytest.raises(ValueError, match="pad_id: got 7, the placeholder of images"):
        PackedLoader([source], 4, 1, pad_id=IMAGE)
    with pytest.raises(ValueError, match="without images holds the placeholder 7"):
        list(PackedLoader([source, [[5, IMAGE]]], 4, 1))
    assert len(list(PackedLoader([[[5, IMAGE]]], 4, 1, pad_id=IMAGE))) == 1


def test_bad_arguments() -> None:
    texts, images = corpus(0, 5)
    with pytest.raises(ValueError, match="method: 'in_order' would cut images in two"):
        loader(texts, images, method="in_order")
    with pytest.raises(ValueError, match="worker_kind: got 'fibre', takes 'thread', 'process'"):
        loader(texts, images, worker_kind="fibre")
    sources = [ImageSource([[1]], [[]], layout=name, placeholder=IMAGE) for name in ("clip", "vit")]
    with pytest.raises(ValueError, match="image sources differ in layout"):
        PackedLoader(sources, 8, 1)


def test_pinning_asks_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    texts, images = corpus(1, 12)
    pinned: list[Any] = []

    def pin(tensor: Any) -> Any:
        pinned.append(tensor)
        return tensor.clone()

    if not torch.accelerator.is_available():
        with pytest.raises(ValueError, match="pin_memory: got True"):
            loader(texts, images, pin_memory=True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    whole = list(loader(texts, images))
    made = list(loader(texts, images, pin_memory=True))
    assert len(pinned) == 9 * len(made)
    for a, b in zip(whole, made, strict=True):
        same(a, b)
        held = b.to_torch()
        assert held["pixel_values"].shape == b.patches.values.shape  # type: ignore[union-attr]


def test_a_loader_is_pickled_and_shown() -> None:
    texts, images = corpus(1, 12)
    made = loader(texts, images)
    assert repr(made) == "PackedLoader(1 sources, 12 documents, batches of 2 rows of 24)"
    assert "12 documents of list" in repr(made.sources[0])
    for a, b in zip(made, pickle.loads(pickle.dumps(made)), strict=True):
        same(a, b)


def test_a_batch_with_images_has_no_rows_of_its_own() -> None:
    texts, images = corpus(1, 12)
    batch = next(b for b in loader(texts, images) if b.patches and len(b.patches))
    with pytest.raises(ValueError, match="rows: takes a batch without images"):
        batch.rows(0, 1)
    with pytest.raises(ValueError, match="select: takes a batch without images"):
        batch.select(np.array([0]))
    assert "patches" in repr(batch) or "Patches" in repr(batch)
