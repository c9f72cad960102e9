"""Pre-tokenisation: the native scanner, its twin and a regular expression engine agree."""

from __future__ import annotations

import pytest
import regex
from hypothesis import example, given, strategies as st

from support import run_python
from token_cases import BYTES, SCANNERS, TEXTS, WORD_SCANNERS
from tokfrag import _core
from tokfrag._core import tokens as native
from tokfrag.reference.scanning import character_class, scan
from tokfrag.tokens.patterns import REGEX

_CLASSES = {"u": r"[\p{Lu}\p{Lt}]", "l": r"\p{Ll}", "x": r"[\p{Lm}\p{Lo}]", "m": r"\p{M}"}
_CLASSES |= {"n": r"\p{N}", "s": r"\s", "o": r"[^\p{L}\p{M}\p{N}\s]"}
_CLASSES = {kind: regex.compile(pattern) for kind, pattern in _CLASSES.items()}


def same_classes(text: str) -> bool:
    """Whether the regex package, which follows later Unicode, has the same class for each."""
    return all(_CLASSES[character_class(c)].match(c) for c in text)


@pytest.mark.parametrize("family", [*SCANNERS, *WORD_SCANNERS])
@given(text=TEXTS)
@example("a" * 15 + "'s" * 9 + "文AB文ABc's'S\n//x\n\n  y\t\n z   ")
@example("a" * 60 + " 's '\u017f '\u017f" + "1" * 70 + " " * 70 + "\n" * 3 + " " * 70)
def test_scanner_equals_twin_and_regex(family: str, text: str) -> None:
    utf8 = text.encode("utf-8", "replace")
    ends = native.scan(family, utf8).tolist()
    assert ends == scan(utf8, family)
    text = utf8.decode()
    if family in REGEX and same_classes(text):
        version = regex.V1 if "&&" in REGEX[family] else regex.V0
        pieces = [match.end() for match in regex.finditer(REGEX[family], text, version)]
        assert ends == [len(text[:end].encode()) for end in pieces]


@pytest.mark.parametrize("family", [*SCANNERS, *WORD_SCANNERS])
@given(text=BYTES)
@example(b"\xe4\xbd" * 20)
@example(b" \xff\xff a\x80b \xc2 \xe4\xb8\xad\xe4\xb8")
def test_scanner_equals_twin_on_bytes(family: str, text: bytes) -> None:
    assert native.scan(family, text).tolist() == scan(text, family)


@pytest.mark.parametrize("family", [*SCANNERS, *WORD_SCANNERS])
@given(text=TEXTS, shift=st.integers(0, 130), filler=st.sampled_from("a 1\n!中'"))
def test_every_alignment(family: str, text: str, shift: int, filler: str) -> None:
    """What stands before in the 64-byte block, or at its edge, makes no difference."""
    utf8 = (filler * shift + text + filler * 70).encode("utf-8", "replace")
    assert native.scan(family, utf8).tolist() == scan(utf8, family)


@pytest.mark.parametrize("family", [*SCANNERS, *WORD_SCANNERS])
@given(before=TEXTS, after=TEXTS)
def test_every_edge_of_a_block(family: str, before: str, after: str) -> None:
    utf8 = (before + after).encode("utf-8", "replace")
    expected = scan(utf8, family)
    for shift in range(0, 64, 7):
        moved = b"\n\nx" * 30 + b"y" * shift + b"\x01\n" + utf8
        lead = len(moved) - len(utf8)
        assert [end for end in native.scan(family, moved).tolist() if end > lead] == [
            end for end in scan(moved, family) if end > lead
        ]
    assert native.scan(family, utf8).tolist() == expected


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_every_instruction_set(isa: str) -> None:
    """The same pieces from every code path, at the end of a page too."""
    result = run_python(
        """
        import ctypes, mmap, random
        from tokfrag._core import tokens as native
        from tokfrag.reference.scanning import FAMILIES, scan

        turns = ["'s", "'LL", "don't", " ", "  ", "\\n", "\\r\\n", "\\t", "a", "Bc", "ABC",
                 "12345", "!", "//", "/", "中文", "é", "É", "\\u0301", "٣", "\\u3000", "👍",
                 "ſ", "'ſ", "ไทย", "ü", "½", "۲", "\u2017", "\x01", "〇", "⺀", "・", "!é", "$"]
        pick = random.Random(5)
        page = mmap.PAGESIZE
        block = mmap.mmap(-1, 2 * page)
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.addressof(ctypes.c_char.from_buffer(block))
        assert libc.mprotect(ctypes.c_void_p(address + page), page, 0) == 0
        for _ in range(400):
            text = "".join(pick.choices(turns, k=pick.randrange(60))).encode()
            for bad in (b"", b"\\xe4\\xbd", b"\\xff"):
                piece = text + bad
                block[page - len(piece):page] = piece
                for family in FAMILIES:
                    got = native.scan_at(family, address + page - len(piece), len(piece)).tolist()
                    assert got == scan(piece, family), (family, piece)
        print("same")
        """,
        TOKFRAG_ISA=isa,
    )
    assert result.stdout.strip() == "same", result.stderr


def test_classes_are_those_of_tiktoken() -> None:
    """Every scalar value, through the pattern classes of the installed engine."""
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {bytes([byte]): byte for byte in range(256)}
    text = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    kinds = {"u": r"[\p{Lu}\p{Lt}]", "l": r"\p{Ll}", "x": r"[\p{Lm}\p{Lo}]", "m": r"\p{M}"}
    for kind, pattern in (kinds | {"n": r"\p{N}", "s": r"\s"}).items():
        engine = tiktoken.Encoding(
            "probe", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
        )
        found = set()
        for begin in range(0, len(text), 4096):
            found |= set(bytes(engine.encode_ordinary(text[begin : begin + 4096])).decode())
        assert found == {c for c in text if character_class(c) == kind}
