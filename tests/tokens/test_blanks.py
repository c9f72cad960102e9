"""Cutting at blanks: the native scanner against the expressions that its table names."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import regex
from hypothesis import given, strategies as st

from tokfrag import _core

EXPRESSIONS = {
    "blanks": " ?[^ ]+| ",
    "blank_runs": " *[^ ]+| +",
    "blank_lines": "\n+| *[^ \n]+| +",
}
TEXTS = st.lists(
    st.sampled_from([" ", "  ", "\n", "a", "b" * 61, " " * 63, "\n" * 5, "\u4f60"]), max_size=30
).map("".join)


def ends_of(name: str, text: str) -> list[int]:
    parts = regex.findall(EXPRESSIONS[name], text)
    assert "".join(parts) == text
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part.encode()))
    return ends[1:]


@pytest.mark.parametrize("name", EXPRESSIONS)
@given(text=TEXTS)
def test_pieces_are_those_of_the_expression(name: str, text: str) -> None:
    assert _core.tokens.scan(name, text).tolist() == ends_of(name, text)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_many_pieces(name: str) -> None:
    text = "a  b\n c " * 1000
    assert _core.tokens.scan(name, text).tolist() == ends_of(name, text)


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_every_instruction_set_cuts_the_same(isa: str) -> None:
    code = (
        "from tokfrag import _core\n"
        "text = 'ab  c\\n\\n d' * 50\n"
        f"print([_core.tokens.scan(name, text).tolist() for name in {list(EXPRESSIONS)}])"
    )
    text = "ab  c\n\n d" * 50
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TOKFRAG_ISA": isa},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.strip() == str([ends_of(name, text) for name in EXPRESSIONS])
