"""Importing the package: fast, torch-free, and every public name there."""

from __future__ import annotations

import pytest

import tokfrag
from support import run_python
from tokfrag import _core


def test_import_leaves_torch_and_the_optional_packages_alone() -> None:
    code = (
        "import sys, tokfrag\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'regex', 'tqdm', 'tiktoken', 'tokenizers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = run_python(code)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("name", tokfrag.__all__)
def test_public_names_resolve_and_are_documented(name: str) -> None:
    value = getattr(tokfrag, name)
    assert isinstance(value, str) or value.__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tokenise'"):
        tokfrag.tokenise  # noqa: B018


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_environment_forces_the_instruction_set(isa: str) -> None:
    done = run_python("from tokfrag import _core; print(_core.active_isa())", TOKFRAG_ISA=isa)
    assert done.stdout.strip() == isa


def test_unknown_instruction_set_is_one_clear_error() -> None:
    done = run_python("from tokfrag import _core; _core.active_isa()", TOKFRAG_ISA="z80")
    assert "ValueError: TOKFRAG_ISA: got 'z80', takes baseline, v3 or v4" in done.stderr
