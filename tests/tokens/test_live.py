"""Live tokens: after every edit the ids of a full encode, for every kind of tokenizer."""

from __future__ import annotations

import copy
import os
import pickle
import random
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from live_cases import BITS, KINDS, made
from tokfrag import Tokenizer
from tokfrag._core.live import PartIndex, common_ids
from tokfrag.reference import live as twin
from tokfrag.tokens import live as live_module, live_parts, safe_cuts
from tokfrag.tokens.edit import Edit, common_beginning, common_ending
from tokfrag.tokens.live import LiveTokens
from tokfrag.tokens.rests import encode_rest
from tokfrag.tokens.safe_cuts import SafeCuts

# 8,100 rounds are a million edits of each kind.
ROUNDS = int(os.environ.get("TOKFRAG_LIVE_ROUNDS", "6"))

texts = st.lists(st.sampled_from(BITS), max_size=40).map("".join)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few characters, so that a short text has many."""
    monkeypatch.setattr(safe_cuts, "PART", 5)
    for module in (safe_cuts, live_parts):
        monkeypatch.setattr(module, "LONGEST", 10)
    monkeypatch.setattr(live_module, "_SHORTEST", 3)


def drawn(pick: random.Random, most: int, least: int = 0) -> str:
    return "".join(pick.choices(BITS, k=pick.randint(least, most)))


def edit_at_random(live: LiveTokens, text: str, pick: random.Random) -> tuple[str, Edit]:
    """One edit of any kind, and the text it must give."""
    new = drawn(pick, 4)
    choice = pick.random()
    if choice < 0.15:
        return text + new, live.append(new)
    if choice < 0.2:
        length = max(0, len(text) - pick.randint(0, 20))
        return text[:length], live.truncate(length)
    start = pick.randint(0, len(text))
    stop = min(len(text), start + pick.randint(0, 6))
    return text[:start] + new + text[stop:], live.replace(start, stop, new)


def check(live: LiveTokens, text: str, edit: Edit, before: np.ndarray) -> None:
    wanted = live._tokenizer.encode(text, allowed_special=live._make.allowed)
    assert live.text == text
    assert live.ids.tolist() == wanted.tolist(), text
    assert len(live) == len(wanted)
    assert edit.apply(before).tolist() == wanted.tolist()
    if len(edit.ids) and edit.removed:
        assert edit.ids[0] != before[edit.first]
        assert edit.ids[-1] != before[edit.first + edit.removed - 1]


@pytest.mark.parametrize("allowed", ["all", ()])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("small_parts")
def test_random_edits_give_the_ids_of_a_full_encode(kind: str, allowed: str) -> None:
    """Ten thousand edits over all kinds."""
    pick = random.Random(f"{kind} {allowed}")
    tok = made(kind)
    for _ in range(ROUNDS):
        text = drawn(pick, 60)
        live = tok.live(text, allowed_special=allowed)
        for _ in range(62):
            before = live.ids
            text, edit = edit_at_random(live, text, pick)
            check(live, text, edit, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("small_parts")
def test_most_kinds_have_parts(kind: str) -> None:
    """What holds of one part holds of many: the texts above are cut."""
    live = made(kind).live("The cat sat on the mat and the dog. " * 5)
    uncut = {"none", "regex", "unseen", "unigram whole", "unigram pattern"}
    assert (len(live._parts) == 1) == (kind in uncut)


@given(data=st.data(), kind=st.sampled_from(KINDS), text=texts)
@settings(max_examples=150)
def test_hypothesis_finds_no_edit_that_differs(data: st.DataObject, kind: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(safe_cuts, "PART", 3)
        for module in (safe_cuts, live_parts):
            patch.setattr(module, "LONGEST", 6)
        patch.setattr(live_module, "_SHORTEST", 1)
        live = made(kind).live(text, allowed_special="all")
        for _ in range(data.draw(st.integers(1, 6))):
            start = data.draw(st.integers(0, len(text)))
            stop = data.draw(st.integers(start, len(text)))
            new = data.draw(texts)
            before = live.ids
            edit = live.replace(start, stop, new)
            text = text[:start] + new + text[stop:]
            check(live, text, edit, before)


@pytest.mark.parametrize("kind", KINDS)
@given(bits=st.lists(st.sampled_from(BITS), max_size=30))
@settings(max_examples=60)
def test_no_cut_changes_an_id(kind: str, bits: list[str]) -> None:
    """At every single place that is allowed, whatever is around it."""
    tok = made(kind)
    text = "".join(bits)
    cuts = SafeCuts(tok.text_pipeline, tok.text_pipeline.values.added_tokens)
    whole = tok.encode(text, allowed_special="all").tolist()
    for at in range(len(text) + 1):
        if cuts.allows(text, at):
            halves = [text[:at], text[at:]]
            way = tok.text_pipeline
            rest = encode_rest(way, halves[1], way.sought("all"))
            ids = [tok.encode(halves[0], allowed_special="all"), rest]
            assert np.concatenate(ids).tolist() == whole, halves


def test_long_texts_at_their_usual_size() -> None:
    pick = random.Random(3)
    tok = made("cl100k")
    text = drawn(pick, 4000, 3000)
    live = tok.live(text)
    assert len(live._parts) > 20
    for _ in range(100):
        before = live.ids
        text, edit = edit_at_random(live, text, pick)
        check(live, text, edit, before)
    assert max(map(len, live._parts)) <= 2 * safe_cuts.LONGEST


def test_a_long_run_is_one_part() -> None:
    tok = made("llama3")
    live = tok.live("a cat " + "1" * 3000 + " b")
    live.replace(1000, 1001, "2")
    assert live.ids.tolist() == tok.encode(live.text).tolist()
    assert max(map(len, live._parts)) >= 3000


@given(
    before=st.lists(st.integers(0, 2), max_size=6), after=st.lists(st.integers(0, 2), max_size=6)
)
def test_what_two_arrays_have_in_common(before: list[int], after: list[int]) -> None:
    rows = (np.array(ids, np.uint32).tobytes() for ids in (before, after))
    assert common_ids(*rows) == twin.common_ids(before, after)


@given(
    data=st.data(),
    many=st.lists(st.sampled_from([0, 1, 2, 200, 300, 700]), min_size=1, max_size=6),
)
@settings(max_examples=100, deadline=None)
def test_an_index_of_parts_is_a_list_of_sizes(data: st.DataObject, many: list[int]) -> None:
    """In blocks that are filled, halved and emptied."""
    index, plain = PartIndex([], []), twin.PartIndex([], [])
    for count in many:
        first = data.draw(st.integers(0, len(plain)))
        end = data.draw(st.integers(first, len(plain)))
        pick = random.Random(data.draw(st.integers(0, 99)))
        lengths = [pick.randint(0, 4) for _ in range(count)]
        counts = [pick.randint(0, 3) for _ in range(count)]
        before = index.copy()
        old = plain.copy()
        for each in (index, plain):
            each.replace(first, end, lengths, counts)
        for found, wanted in ((index, plain), (before, old)):
            assert len(found) == len(wanted)
            assert (found.characters, found.tokens) == (wanted.characters, wanted.tokens)
            for _ in range(8):
                part = pick.randint(0, len(wanted))
                assert found.boundary(part) == wanted.boundary(part)
                start = pick.randint(0, wanted.characters)
                stop = pick.randint(start, wanted.characters)
                assert found.around(start, stop, 2) == wanted.around(start, stop, 2)
                assert found.last_at_character(start) == wanted.last_at_character(start)
                token = pick.randint(0, wanted.tokens)
                assert found.last_at_token(token) == wanted.last_at_token(token)


def test_an_index_refuses_parts_that_are_not_there() -> None:
    index = PartIndex([3, 4], [1, 2])
    for wrong, error in (
        (lambda: index.boundary(3), IndexError),
        (lambda: index.boundary(-1), IndexError),
        (lambda: index.replace(0, 3, [], []), IndexError),
        (lambda: index.replace(2, 1, [], []), IndexError),
        (lambda: index.replace(0, 1, [1], []), ValueError),
        (lambda: index.replace(0, 1, [-1], [0]), ValueError),
        (lambda: index.replace(0, 1, ["a"], [0]), RuntimeError),
        (lambda: index.around(-1, 2, 2), IndexError),
        (lambda: index.around(3, 2, 2), IndexError),
        (lambda: index.around(0, 8, 2), IndexError),
        (lambda: index.around(0, 7, -1), IndexError),
    ):
        with pytest.raises(error):
            wrong()
    assert (len(index), index.characters, index.tokens) == (2, 7, 3)


def test_an_index_that_changes_while_numbers_are_read_is_checked_afterwards() -> None:
    index = PartIndex([1] * 600, [1] * 600)

    class Number:
        def __index__(self) -> int:
            index.replace(0, len(index), [], [])
            return 1

    with pytest.raises(IndexError, match="take a range of 0 parts"):
        index.replace(500, 600, [Number()], [1])  # type: ignore[list-item]
    assert (len(index), index.characters) == (0, 0)


def test_an_edit_that_ctrl_c_ends_is_whole() -> None:
    class Interrupted:
        def __init__(self, index: PartIndex) -> None:
            self.index = index

        def __getattr__(self, name: str) -> Any:
            return getattr(self.index, name)

        def replace(self, *arguments: Any) -> None:
            self.index.replace(*arguments)
            raise KeyboardInterrupt

    tok = made("gpt2")
    live = tok.live("The cat sat. " * 100)
    assert len(live.ids)
    index = live._index
    live._index = Interrupted(index)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        live.replace(600, 700, "A dog. " * 200)
    live._index = index
    text = "The cat sat. " * 100
    assert live.text == text[:600] + "A dog. " * 200 + text[700:]
    assert live.ids.tolist() == tok.encode(live.text).tolist()
    assert len(live) == len(live.ids)
    live.append("!")
    assert live.ids.tolist() == tok.encode(live.text).tolist()


@given(one=st.text("ab\u4f60", max_size=12), other=st.text("ab\u4f60", max_size=12))
def test_what_two_texts_have_in_common(one: str, other: str) -> None:
    begin, end = common_beginning(one, other), common_ending(one, other)
    assert one[:begin] == other[:begin]
    assert one[begin : begin + 1] != other[begin : begin + 1] or begin == min(len(one), len(other))
    assert one[len(one) - end :] == other[len(other) - end :]
    before = one[: len(one) - end][-1:], other[: len(other) - end][-1:]
    assert before[0] != before[1] or end == min(len(one), len(other))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("small_parts")
@given(text=texts, other=texts, around=texts)
@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_a_rewritten_text_is_that_of_a_full_encode(
    kind: str, text: str, other: str, around: str
) -> None:
    live = made(kind).live(around + text + around, allowed_special="all")
    before = live.ids
    whole = around + other + around
    check(live, whole, live.rewrite(whole), before)
    assert live.rewrite(whole).ids.tolist() == []


def test_specials_that_an_edit_completes_and_breaks() -> None:
    tok = made("cl100k")
    end = tok.special_tokens["<|end|>"]
    live = tok.live("hello <|end| world", allowed_special="all")
    assert end not in live.ids
    edit = live.replace(12, 12, ">")
    assert end in edit.ids
    assert live.ids.tolist() == tok.encode("hello <|end|> world", allowed_special="all").tolist()
    live.replace(8, 8, "x")
    assert end not in live.ids


def test_mistakes_change_nothing() -> None:
    tok = made("cl100k")
    live = tok.live("hello <|end| world 🙂", disallowed_special="all")
    before = pickle.dumps((live.text, live.ids))
    for wrong, error in [
        (lambda: live.replace(12, 12, ">"), "special token '<|end|>'"),
        (lambda: live.replace(3, 2, ""), "start: got 3"),
        (lambda: live.replace(-1, 2, ""), "start: got -1"),
        (lambda: live.replace(0, 99, ""), "stop: got 99"),
        (lambda: live.truncate(99), "length: got 99"),
        (lambda: live.append("ab\ud83d"), "surrogate pair at character 2"),
        (lambda: live.rewrite("hello \ud83d"), "surrogate pair at character 6"),
        (lambda: live.rewrite("hello <|end|>"), "special token '<|end|>'"),
        (lambda: live.token_at(99), "position: got 99"),
        (lambda: live.offsets(0, 99), "stop: got 99"),
        (lambda: live.fit(-1), "max_tokens: got -1"),
        (lambda: tok.live("\udc00"), "surrogate"),
        (lambda: tok.live("a", allowed_special=["<none>"]), "is not a special token"),
        (lambda: tok.live("a", disallowed_special=["<none>"]), "is not a special token"),
    ]:
        with pytest.raises(ValueError, match=error.replace("|", r"\|")):
            wrong()
    for value in (b"a", None, 3):
        with pytest.raises(TypeError, match="text: got"):
            live.append(value)
    with pytest.raises(TypeError, match="takes an int"):
        live.replace(0.5, 1, "")
    assert pickle.dumps((live.text, live.ids)) == before
    assert live.ids.tolist() == tok.encode(live.text).tolist()


def test_forks_go_their_own_ways() -> None:
    tok = made("gpt2")
    live = tok.live("The cat. " * 200, allowed_special=["<|end|>"])
    fork, text = live.fork(), live.text
    fork.append("<|end|>")
    live.replace(0, 3, "A")
    assert fork.text == text + "<|end|>"
    assert fork.ids.tolist() == tok.encode(fork.text, allowed_special="all").tolist()
    assert live.ids.tolist() == tok.encode(live.text).tolist()
    again = pickle.loads(pickle.dumps(fork))
    again.append("<|end|>")
    assert np.count_nonzero(again.ids == tok.special_tokens["<|end|>"]) == 2
    assert copy.deepcopy(live).ids.tolist() == live.ids.tolist()


def test_ids_cannot_be_written_and_read_as_arrays() -> None:
    tok = made("gpt2")
    live = tok.live("The cat")
    with pytest.raises(ValueError, match="read-only"):
        live.ids[0] = 1
    assert np.asarray(live).tolist() == list(live) == live.ids.tolist()
    assert np.array(live, np.int64).dtype == np.int64
    assert tok.decode(live) == "The cat"
    decoder = tok.stream_decoder()
    assert "".join(map(decoder.push, live)) + decoder.finish() == live.text


@pytest.mark.parametrize("kind", ["cl100k", "none", "wordpiece", "added"])
def test_offsets_and_budgets_are_those_of_the_whole(kind: str) -> None:
    pick = random.Random(kind)
    tok = made(kind)
    live = tok.live(drawn(pick, 900, 600), allowed_special="all")
    live.replace(100, 200, "the cat ")
    ids, spans = tok.encode_with_offsets(live.text, allowed_special="all")
    assert ids.tolist() == live.ids.tolist()
    assert live.offsets().tolist() == spans.tolist()
    for _ in range(20):
        first = pick.randint(0, len(live))
        stop = pick.randint(first, len(live))
        assert live.offsets(first, stop).tolist() == spans[first:stop].tolist()
        budget = pick.randint(0, len(live))
        kept = live.fit(budget)
        beginning = live.text[:kept]
        assert tok.count(beginning, allowed_special="all") <= budget
        assert beginning == tok.truncate(live.text, budget, allowed_special="all")
        place = pick.randint(0, len(live.text) - 1)
        token = live.token_at(place)
        assert token == np.count_nonzero(spans[:, 1] <= place)
    assert live.token_at(len(live.text)) == len(live)
    assert live.fit(10**9) == len(live.text)


def test_readers_see_whole_states_while_another_thread_edits() -> None:
    tok = made("cl100k")
    short, long = "The cat. " * 100, "The cat. " * 50 + "12345" + "The cat. " * 50
    wanted = {tok.encode(text).tobytes() for text in (short, long)}
    live = tok.live(short)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(live.ids.tobytes())

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(200):
        live.replace(450, 450, "12345")
        live.replace(450, 455, "")
    done.set()
    for reader in readers:
        reader.join()
    assert seen
    assert seen <= wanted


def test_empty() -> None:
    tok: Tokenizer = made("gpt2")
    live = tok.live()
    assert (live.text, len(live), live.fit(0), live.offsets().shape) == ("", 0, 0, (0, 2))
    live.append("")
    live.append("The")
    assert live.ids.tolist() == tok.encode("The").tolist()
    live.truncate(0)
    assert live.ids.tolist() == []
    assert repr(live) == "LiveTokens(characters=0, tokens=0)"
