"""What is read back is what was written, or a ValueError that names it: damage of every kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from scale_cases import OPTIONS, tokenizer

from tokfrag import PackedLoader, TokenShards
from tokfrag.fragments.grid import FragmentGrid
from tokfrag.scale import encode_corpus, join_corpus, map_volume, verify_volume

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.integers(-3, 3), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a tree of dicts and lists."""
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, (dict, list, tuple)):
        for key, item in members:
            yield from (
                places(item, (*path, key)) if isinstance(item, (dict, list)) else [(*path, key)]
            )


def refusal(act: Callable[[], object]) -> str | None:
    """What a ValueError, or one of a file that is not there, says; None: there is none."""
    try:
        act()
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return None


def damaged(value: Any, data: st.DataObject) -> Any:
    """A copy in which one place is gone or holds something else."""
    value = deepcopy(value)
    *path, last = data.draw(st.sampled_from(list(places(value))))
    holder = value
    for key in path:
        holder = holder[key]
    if data.draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = data.draw(VALUES)
    return value


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    for n in range(3):
        (folder / f"{n}.txt").write_text(f"the text {n}. " * 40)
    files = [folder / f"{n}.txt" for n in range(3)]
    encode_corpus(tokenizer(), files, folder / "ids", workers=1, **{**OPTIONS, "part_bytes": 600})
    return folder / "ids"


@given(data=st.data())
def test_states_of_shards(corpus: Path, data: st.DataObject) -> None:
    shards = TokenShards(corpus)
    batches = shards.batches(2, 8, seed=1, epochs=None)
    next(batches)
    state = shards.state_dict()
    wanted = [next(batches)[0].tolist() for _ in range(2)]
    again = TokenShards(corpus)
    changed = damaged(state, data)

    def resume() -> None:
        again.load_state_dict(changed)
        again.batches(2, 8, seed=1, epochs=None)

    told = refusal(resume)
    if told is None:
        assert min(changed["epoch"], changed["step"]) >= 0
        return
    assert told.startswith("state")
    again.load_state_dict(state)  # it takes a whole one none the less
    batches = again.batches(2, 8, seed=1, epochs=None)
    assert [next(batches)[0].tolist() for _ in range(2)] == wanted


@given(data=st.data(), weighted=st.booleans())
@settings(max_examples=40)
def test_states_of_loaders(corpus: Path, data: st.DataObject, weighted: bool) -> None:
    sources = [TokenShards(corpus), TokenShards(corpus)]
    weights = [0.5, 0.5] if weighted else None
    loader = PackedLoader(sources, weights=weights, length=32, batch=2, seed=1)
    for _ in zip(range(2), loader, strict=False):
        pass
    state = json.loads(json.dumps(loader.state_dict()))
    fresh = PackedLoader(sources, weights=weights, length=32, batch=2, seed=1)
    changed = damaged(state, data)
    told = refusal(lambda: fresh.load_state_dict(changed))
    assert told is None or told.startswith("state")
    fresh.load_state_dict(state)
    assert json.loads(json.dumps(fresh.state_dict())) == state


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plans_and_records_of_corpora(corpus: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted([corpus / "plan.json", *corpus.glob("0*.json")])))
    whole = path.read_bytes()
    path.write_bytes(changed(whole, data))
    try:
        if path.read_bytes() == whole:
            join_corpus(corpus)
        else:
            with pytest.raises(ValueError, match=path.name):
                join_corpus(corpus)
    finally:
        path.write_bytes(whole)


@given(data=st.data())
def test_the_index_of_shards(corpus: Path, data: st.DataObject) -> None:
    path = corpus / "index.json"
    whole = path.read_bytes()
    path.write_bytes(changed(whole, data))
    try:
        told = refusal(lambda: TokenShards(corpus).verify())
        left = json.loads(path.read_bytes()) if told is None else None
    finally:
        path.write_bytes(whole)
    if left is None:
        assert str(path) in str(told)
        return
    facts = json.loads(whole)
    del facts["seal"]  # what is refused is another content; that of earlier releases has no seal
    assert {name: left[name] for name in facts} == facts


def test_an_index_of_an_earlier_release_has_no_seal(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "ids")
    facts = json.loads((tmp_path / "ids" / "index.json").read_text())
    del facts["seal"]
    (tmp_path / "ids" / "index.json").write_text(json.dumps(facts))
    assert TokenShards(tmp_path / "ids")[:].tolist() == TokenShards(corpus)[:].tolist()


@given(data=st.data())
def test_plans_and_records_of_volumes(made_volume: Path, data: st.DataObject) -> None:
    records = Path(f"{made_volume}.blocks")
    path = data.draw(st.sampled_from(sorted(records.glob("*.json"))))
    whole = path.read_bytes()
    path.write_bytes(changed(whole, data))
    try:
        if path.read_bytes() == whole:
            verify_volume(made_volume)
        elif path.name in ("plan.json", "000002.json", "000003.json"):
            with pytest.raises(ValueError, match=path.name):
                verify_volume(made_volume)
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def made_volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volume")
    np.save(folder / "a.npy", np.arange(24, dtype=np.float32))
    grid = FragmentGrid((24,), size=6, stride=3)
    options: dict[str, Any] = {"borders": "exchange", "block": (12,), "workers": 1}
    map_volume(np.negative, folder / "a.npy", folder / "b.npy", grid, progress=False, **options)
    return folder / "b.npy"


def changed(whole: bytes, data: st.DataObject) -> bytes:
    """Bits flipped, an end cut off, or another value somewhere in the JSON."""
    kind = data.draw(st.sampled_from(["bit", "cut", "value"]))
    if kind == "value":
        return json.dumps(damaged(json.loads(whole), data), indent=1).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    if kind == "cut":
        return whole[:at]
    made = bytearray(whole)
    made[at] ^= 1 << data.draw(st.integers(0, 7))
    # White space between values means nothing.
    return whole if whole[at : at + 1].isspace() and made[at : at + 1].isspace() else bytes(made)
