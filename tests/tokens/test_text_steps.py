"""How models write text: against the twins, and against the normalisers of tokenizers."""

from __future__ import annotations

import random

import pytest
import regex
from hypothesis import given, strategies as st

from tokfrag._core import unigram as native, writing
from tokfrag.reference import charsmap as twin
from tokfrag.tokens.models.graphemes import grapheme_table
from tokfrag.tokens.models.text_steps import (
    METASPACE,
    Lowercase,
    Metaspace,
    Nmt,
    Precompiled,
    Prepend,
    Replace,
    Strip,
    StripAccents,
    TextStep,
    align_steps,
    apply_steps,
)
from tokfrag.tokens.models.unicode_step import UnicodeForm

KEYS = ["a", "ab", "e\u0301", "\u00e9", "\u3000", "\t", "\r", "\ufb01", "\u4f60", "x\u0323"]
RULES = st.dictionaries(
    st.sampled_from([key.encode() for key in KEYS]),
    st.sampled_from([b"", b" ", b"A", b" a ", "\u597d".encode(), b"fi"]),
)
TEXTS = st.text(
    f"ab e\u0301\u00e9\u3000\t\r\n\ufb01\u4f60x\u0323{METASPACE}\u200d\U0001f469", max_size=30
)


@given(RULES)
def test_packed_rules_unpack(rules: dict[bytes, bytes]) -> None:
    assert twin.unpack_charsmap(twin.pack_charsmap(rules)) == rules


@given(RULES, TEXTS)
def test_graphemes_are_replaced_as_by_the_twin(rules: dict[bytes, bytes], text: str) -> None:
    step = Precompiled(twin.pack_charsmap(rules))
    want = twin.replace_graphemes(regex.findall(r"\X", text), rules)
    assert step.apply(text, True) == want
    aligned, sources = step.align(text, [(i, i + 1) for i in range(len(text))], True)
    assert aligned == want
    assert len(sources) == len(want)


@given(
    RULES,
    TEXTS,
    st.booleans(),
    st.booleans(),
    st.sets(st.sampled_from(["ab", "  ", "\u4f60b", "a"])),
)
def test_models_write_as_the_twin(
    rules: dict[bytes, bytes], text: str, prefix: bool, remove: bool, symbols: set[str]
) -> None:
    normalizer = native.ModelNormalizer(
        twin.pack_charsmap(rules), [symbol.encode() for symbol in symbols], prefix, remove
    )
    want = twin.normalize(
        text,
        rules,
        user_defined=symbols,
        add_dummy_prefix=prefix,
        remove_extra_whitespaces=remove,
    )
    writer = writing.TextWriter([normalizer], False)
    assert writer.write_batch([text, text], None, 2) == [want.encode()] * 2
    written, sources = normalizer.normalize_aligned(text)
    assert written == want.encode()
    assert len(sources) == len(written) + 1
    assert (sources[1:] >= sources[:-1]).all()


@pytest.mark.parametrize("blob", [b"", b"\4\0\0\0", b"\4\0\0\0abcd", b"\xff\xff\xff\xffabcd\0"])
def test_a_map_cut_short_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="precompiled_charsmap: the blob is cut short"):
        writing.Charsmap(blob)


def test_a_damaged_map_reads_nothing_outside() -> None:
    random_ = random.Random(5)
    blob = bytearray(twin.pack_charsmap({b"ab": b"c", "\u4f60".encode(): b"you"}))
    for _ in range(300):
        damaged = bytearray(blob)
        for _ in range(20):
            damaged[random_.randrange(4, len(blob) - 1)] = random_.randrange(256)
        text = "abc\u4f60\u597d" * 3
        charsmap = writing.charsmap(writing.Charsmap(bytes(damaged)), grapheme_table())
        written = writing.TextWriter([charsmap], True).write_batch([text], None, 1)[0]
        assert written == writing.Charsmap(bytes(damaged)).replace(text, grapheme_table())[0]


STEPS: list[tuple[str, TextStep]] = [
    ("Lowercase()", Lowercase()),
    ("StripAccents()", StripAccents()),
    ("Nmt()", Nmt()),
    ("Strip()", Strip()),
    ("Strip(False, True)", Strip(False, True)),
    ("Prepend('ab')", Prepend("ab")),
    ("Replace('a', 'xyz')", Replace("a", "xyz")),
    ("NFKD()", UnicodeForm("NFKD")),
    ("NFC()", UnicodeForm("NFC")),
]


@pytest.mark.parametrize(("theirs", "step"), STEPS, ids=[name for name, _ in STEPS])
def test_steps_write_as_tokenizers_does(theirs: str, step: TextStep) -> None:
    normalizers = pytest.importorskip("tokenizers").normalizers
    name, _, arguments = theirs.partition("(")
    values = [part.strip() for part in arguments[:-1].split(",") if part.strip()]
    known = {"False": False, "True": True}
    peer = getattr(normalizers, name)(*[known.get(v, v.strip("'")) for v in values])
    random_ = random.Random(6)
    signs = "aAé\u00c9e\u0301 \t\u3000\u00a0\ufb01\uac00İ\u0001\u200b\u4f60\U0001f642"
    for _ in range(300):
        text = "".join(random_.choice(signs) for _ in range(random_.randrange(12)))
        assert step.apply(text, True) == peer.normalize_str(text)
        written, sources = step.align(text, [(i, i + 1) for i in range(len(text))], True)
        assert written == peer.normalize_str(text)
        assert len(sources) == len(written)


@pytest.mark.parametrize(
    ("prepend", "first", "want"),
    [
        ("always", True, " a b"),
        ("first", False, "a b"),
        ("first", True, " a b"),
        ("never", True, "a b"),
    ],
)
def test_a_metaspace_stands_in_front(prepend: str, first: bool, want: str) -> None:
    step = Metaspace(prepend)  # type: ignore[arg-type]
    assert apply_steps((step,), "a b", first) == want
    assert align_steps((step,), "a b", first)[0] == want
    assert apply_steps((step,), " a", first) == " a"
    assert apply_steps((step,), "", first) == ""


def test_words_begin_with_metaspaces() -> None:
    step = Metaspace(words=True)
    assert apply_steps((step,), f" a\n\u3000b{METASPACE}c\x1c ") == " a b c\x1c"
    assert align_steps((step,), "a\nb") == (" a b", [(0, 1), (0, 1), (2, 3), (2, 3)])
