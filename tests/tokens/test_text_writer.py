"""Batches written by native steps: against the twins, Python's own steps, and other libraries."""

from __future__ import annotations

import itertools
import random
import signal
import time
from typing import Literal

import numpy as np
import pytest
import regex
from hypothesis import given, strategies as st

from tokfrag._core import writing as native
from tokfrag.reference import charsmap as charsmap_twin, writing as twin
from tokfrag.tokens.models.bert_steps import bert_steps
from tokfrag.tokens.models.graphemes import grapheme_table
from tokfrag.tokens.models.text_steps import (
    METASPACE,
    NMT,
    Lowercase,
    Metaspace,
    Nmt,
    Precompiled,
    Prepend,
    Replace,
    ReplacePattern,
    Strip,
    StripAccents,
    TextStep,
    apply_steps,
    lowered,
    well_formed,
)
from tokfrag.tokens.models.text_writer import text_writer
from tokfrag.tokens.models.unicode_step import UnicodeForm
from tokfrag.tokens.models.unigram import UnigramModel, UnigramValues
from tokfrag.tokens.normalization import Form, normalize
from tokfrag.tokens.patterns import replace_surrogates
from tokfrag.tokens.prepared_text import Preparation

SIGNS = (
    "abcXYZ  \n\t\r\v\u00a0\u2003\u3000\u2581\u0001\u200b\u200d\ufeff"
    "\u00e9e\u0301\u0323\u0307\u00c5\u212b\u1e9b\ufb01\u00bd\u2460\uff21\u0130\u1e9e\u03a3"
    "\u4f60\u597d\u3002\u304b\u3099\u30ab\uff76\uff9e\uac00\uac01\u1100\u1161\u11a8"
    "\u0915\u094d\u0937\u093f\u0e33\u0600\U0001f469\U0001f3fd\U0001f1e9\U0001f1ea\u2764\ufe0f"
)
# Long runs, so that whole blocks of vectors are seen, and their ends.
TEXTS = st.lists(
    st.one_of(
        st.text(SIGNS, max_size=12),
        st.tuples(st.sampled_from([*"a \n", "ab ", "\u4f60"]), st.integers(0, 70)).map(
            lambda run: run[0] * run[1]
        ),
    ),
    max_size=6,
).map("".join)
CHARSMAP = Precompiled(
    charsmap_twin.pack_charsmap(
        {
            old.encode(): new.encode()
            for old, new in {
                "\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "e\u0301": "\u00e9", "\u200b": "",
                "\ufb01": "fi", "\uff21": "A", "\u304b\u3099": "\u304c", "\u0001": "", "X": "x",
            }.items()
        }
    )
)  # fmt: skip
STEPS: list[TextStep] = [
    Lowercase(),
    StripAccents(),
    Nmt(),
    Strip(),
    Strip(True, False),
    Strip(False, True),
    Prepend("ab"),
    Replace("a", "xyz"),
    Replace("ab", ""),
    Replace(METASPACE, "--"),
    Replace("", "x"),
    ReplacePattern(" {2,}", " "),
    ReplacePattern(r"\s{2,}|[\n\r\t]", " "),
    ReplacePattern(r"\s+", " "),
    ReplacePattern(r"\s+", "_"),
    *bert_steps(clean_text=True, split_chinese=True, strip_accents=True, lowercase=False),
    CHARSMAP,
    Metaspace("always"),
    Metaspace("first"),
    Metaspace("never"),
    Metaspace("always", True),
    Metaspace("first", True),
    Metaspace("never", True),
    UnicodeForm("NFC"),
    UnicodeForm("NFD"),
    UnicodeForm("NFKC"),
    UnicodeForm("NFKD"),
]


def writer_of(*steps: TextStep) -> native.TextWriter:
    made = text_writer(steps)
    assert made is not None
    return made


@given(
    st.lists(st.sampled_from(STEPS), max_size=4),
    st.lists(st.tuples(TEXTS, st.booleans()), max_size=4),
    st.booleans(),
)
def test_batches_are_written_as_texts_are(
    steps: list[TextStep], rows: list[tuple[str, bool]], as_bytes: bool
) -> None:
    want = [apply_steps(tuple(steps), text, not inner) for text, inner in rows]
    texts: list[str | bytes] = [text.encode() if as_bytes else text for text, _ in rows]
    inner = bytes(inner for _, inner in rows)
    written = writer_of(*steps).write_batch(texts, inner, 2)
    assert [text.decode() for text in written] == want


@given(st.lists(st.sampled_from(STEPS), max_size=4), st.lists(TEXTS, max_size=4), st.booleans())
def test_what_stands_before_a_model_keeps_its_metaspaces(
    steps: list[TextStep], texts: list[str], as_bytes: bool
) -> None:
    ready = Preparation(tuple(steps))
    given = [text.encode() if as_bytes else text for text in texts]
    assert ready.writer is not None
    assert ready.write_batch(given, 2) == [ready.write(text).encode() for text in texts]


@given(st.binary(max_size=12) | st.text("a\u00e9e\u0301\ud83d\ude42\udc00", max_size=8))
def test_damage_is_prepared_as_it_is_without_native_code(text: bytes | str) -> None:
    for steps in ((UnicodeForm("NFC"),), (UnicodeForm("NFC"), Lowercase()), ("NFC", "NFKD")):
        utf8 = text if isinstance(text, bytes) else replace_surrogates(text).encode()
        ready = Preparation(steps)
        assert ready.write_batch([text], 1) == [ready.write_utf8(utf8)]


def test_many_texts_lie_in_many_blocks() -> None:
    texts = [f"{i}  word \u4f60\n" * (i % 400) for i in range(600)]
    steps = (CHARSMAP, ReplacePattern(" {2,}", " "), Metaspace())
    want = [apply_steps(steps, text) for text in texts]
    for threads in (1, 2):
        assert [x.decode() for x in writer_of(*steps).write_batch([*texts], None, threads)] == want


@given(TEXTS, st.sampled_from(["always", "first", "never"]), st.booleans(), st.booleans())
def test_metaspaces_are_those_of_the_twin(
    text: str, prepend: Literal["always", "first", "never"], words: bool, first: bool
) -> None:
    writer = native.TextWriter([native.metaspace(prepend, words)], True)
    want = twin.mark_words(text, prepend, words=words, first=first)
    assert writer.write_batch([text], bytes([not first]), 1) == [want.encode()]


@given(TEXTS, st.booleans(), st.booleans())
def test_spaces_are_those_of_the_twin(text: str, left: bool, right: bool) -> None:
    steps = {
        native.squeeze(): twin.squeeze_blanks(text),
        native.squeeze_spaces("_", False): twin.squeeze_spaces(text, "_"),
        native.squeeze_spaces("_", True): twin.squeeze_spaces(text, "_", alone=True),
        native.squeeze_spaces(" ", True): twin.squeeze_spaces(text, " ", alone=True),
        native.strip(left, right): twin.strip_spaces(text, left=left, right=right),
    }
    for step, want in steps.items():
        assert native.TextWriter([step], True).write_batch([text], None, 1) == [want.encode()]


@given(TEXTS, st.sampled_from([NMT, lowered(), {97: "", 0x4F60: "you", 0x1F469: "\u00e9"}]))
def test_characters_are_those_of_the_twin(text: str, rules: dict[int, str]) -> None:
    writer = native.TextWriter([native.map(native.CharacterMap(rules))], True)
    assert writer.write_batch([text], None, 1) == [twin.map_characters(text, rules).encode()]


def test_characters_beyond_unicode_are_refused() -> None:
    with pytest.raises(ValueError, match="takes points up to"):
        native.CharacterMap({0x110000: "a"})


# Of regex too; but it joins consonants behind a linker that no consonant is before.
@given(st.text(SIGNS.replace("\u094d", ""), max_size=40))
def test_graphemes_end_where_regex_ends_them(text: str) -> None:
    want = np.cumsum([len(g.encode()) for g in regex.findall(r"\X", text)], dtype=np.int64)
    assert grapheme_table().ends(text).tolist() == want.tolist()


def test_graphemes_of_all_kinds_end_where_regex_ends_them() -> None:
    random_ = random.Random(3)
    every = [chr(i) for i in range(0x20000) if not 0xD800 <= i < 0xE000]
    every = [char for char in every if not regex.match(r"\p{InCB=Linker}", char)]
    joining = [char for char in every if not regex.match(r"\p{GCB=Other}", char)]
    for _ in range(300):
        pool = (
            random_.choices(joining, k=20)
            + random_.choices(every, k=5)
            + [*SIGNS.replace("\u094d", "")]
        )
        text = "".join(random_.choices(pool, k=60))
        want = np.cumsum([len(g.encode()) for g in regex.findall(r"\X", text)], dtype=np.int64)
        assert grapheme_table().ends(text).tolist() == want.tolist(), ascii(text)


def test_conjuncts_are_one_grapheme() -> None:
    ends = grapheme_table().ends
    assert ends("\u0915\u094d\u0937").tolist() == [9]
    assert ends("\u0915\u094d\u200d\u0937a").tolist() == [12, 13]
    assert ends("\u094d\u0937").tolist() == [3, 6]
    assert ends("\u0915a\u094d\u0937").tolist() == [3, 7, 10]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_forms_are_those_of_the_tables(form: Form) -> None:
    writer = writer_of(UnicodeForm(form))
    every = [chr(i) for i in range(0x32000) if not 0xD800 <= i < 0xE000 and i != 0x2581]
    want = [normalize(char, (form,)) for char in every]
    assert [x.decode() for x in writer.write_batch([*every], None, 1)] == want
    random_ = random.Random(4)
    turning = [c for c, w in zip(every, want, strict=True) if c != w] + [*SIGNS] * 40
    marks = [char for char in every if regex.match(r"\p{M}", char)]
    texts = [
        "".join(
            random_.choice(random_.choice((turning, marks, "ae\u1100\u1161"))) for _ in range(9)
        )
        for _ in range(4000)
    ]
    texts = [text.replace(METASPACE, "") for text in texts]
    made = [x.decode() for x in writer.write_batch([*texts], None, 2)]
    for text, got in zip(texts, made, strict=True):
        assert got == normalize(text, (form,)), ascii(text)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_any_number_of_marks_are_put_in_order(form: Form) -> None:
    """One after the other they would take half a minute."""
    count = 400_000
    text = "a" + "\u0301\u0323" * count + "b"
    began = time.process_time()
    (made,) = writer_of(UnicodeForm(form)).write_batch([text], None, 1)
    assert time.process_time() - began < 3
    first = "\u1ea1" + "\u0323" * (count - 1) if form == "NFC" else "a" + "\u0323" * count
    assert made.decode() == first + "\u0301" * count + "b"


@given(st.lists(st.sampled_from([b"a", b"\xc3", b"\xa9", b"\xe4\xbd", b"\xa0", b"\xf0\x9f", b"\xff",
                                 b"\xed\xa0\x80", b"b " * 40])))  # fmt: skip
def test_bytes_that_are_no_text_become_marks(parts: list[bytes]) -> None:
    data = b"".join(parts)
    want = data.decode(errors="tokfrag.mark_bytes")
    assert writer_of().write_batch([data], None, 1) == [want.encode()]


def test_half_a_pair_is_a_mark() -> None:
    text = "a\ud800b\ud83d\ude42"
    assert writer_of().write_batch([text], None, 1) == [well_formed(text).encode()]


def test_a_pattern_of_ones_own_has_no_native_code() -> None:
    steps = (ReplacePattern("[aeiou]", "_"), Metaspace())
    assert text_writer(steps) is None
    tokens = tuple(zip(("<unk>", METASPACE, "_", "t", f"{METASPACE}t"), range(5), strict=True))
    model = UnigramModel.make(UnigramValues(tokens, (0, -1, -1, -1, -1.5), 0, text=steps), ())
    assert model.encode("tat").tolist() == [4, 2, 3]
    ids, offsets = model.encode_batch(["tat", b"a\xff", "\ud800"], None, 1)
    assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)] == [
        [4, 2, 3],
        [1, 2, 0],
        [1, 0],
    ]
    assert model.count_batch(["tat", ""], 1).tolist() == [3, 0]


def test_wrong_flags_are_refused() -> None:
    with pytest.raises(ValueError, match="inner: takes a byte for each text"):
        writer_of().write_batch(["a"], b"", 1)
    with pytest.raises(ValueError, match="classes: takes 0x110000 bytes"):
        native.GraphemeTable(b"")
    with pytest.raises(ValueError, match="prepend: unknown name"):
        native.metaspace("sometimes", False)


def test_points_beyond_unicode_are_refused_in_forms() -> None:
    with pytest.raises(ValueError, match=r"classes, pairs: take points up to U\+10FFFF"):
        native.unicode_form({}, [(0x110000, 1)], [], False)
    with pytest.raises(ValueError, match=r"classes, pairs: take points up to U\+10FFFF"):
        native.unicode_form({}, [], [[1, 2**32 - 1, 3]], True)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_a_signal_handler_may_encode_while_its_thread_does() -> None:
    tokens = (("<unk>", 0), (METASPACE, 1), ("b", 2), ("c", 3))
    steps = (Replace("a", "b" * 12_000), Replace("d", "c" * 12_000), Metaspace())
    model = UnigramModel.make(UnigramValues(tokens, (0.0, -1.0, -1.0, -1.0), 0, text=steps), ())
    wanted, others = (np.repeat([1, id], [1, 2_400_000]) for id in (2, 3))
    inner: list[bool] = []

    def handle(*_: object) -> None:
        inner.append(np.array_equal(model.encode("d" * 200), others))

    old = signal.signal(signal.SIGALRM, handle)
    same = []
    try:
        for _ in range(6):
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            same.append(np.array_equal(model.encode("a" * 200), wanted))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert inner
    assert all(inner)
    assert all(same)


def test_loading_is_linear_in_the_tokens() -> None:
    # Tokens that begin high, and control characters that none has: free places that nothing fills.
    tokens = [f"{chr(0x4E00 + i % 5000)}{chr(0x4E00 + i // 5000)}" for i in range(40_000)]
    values = UnigramValues(
        tuple(zip(("<unk>", *tokens), itertools.count(), strict=False)), (-1.0,) * 40_001, 0
    )
    assert UnigramModel.make(values, ()).encode(tokens[39_999]).tolist() == [40_000]
