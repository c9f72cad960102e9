"""Files we write are read by other libraries, and give our ids there."""

from __future__ import annotations

import gzip
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given, settings, strategies as st

from tokfrag import Tokenizer
from tokfrag.tokens.formats.huggingface_patterns import SPELLING


@given(text=st.lists(st.sampled_from([" ", "  ", "\n", "\r\n", "\t", "a", "'S", "1234", "!"])))
@settings(max_examples=100)
@example(text=["a", " ", "\n", "  "])
@pytest.mark.parametrize("joined", [b"\n \n", b"\n  "])
def test_cl100k_is_written_as_other_readers_know_it(
    tmp_path_factory: Any, joined: bytes, text: list[str]
) -> None:
    """In Llama 3's spelling, where no token tells the two expressions apart; the same ids."""
    tokens = [bytes([byte]) for byte in range(256)] + [b"\n ", b"  ", joined]
    tokens.remove(b"\n ") if joined == b"\n \n" else None
    ours = Tokenizer(tokens, pattern="cl100k")
    path = tmp_path_factory.mktemp("spelling") / "tokenizer.json"
    ours.save(path)
    written = json.loads(path.read_text())["pre_tokenizer"]["pretokenizers"][0]
    expected = SPELLING["llama3" if joined == b"\n \n" else "cl100k"]
    assert written["pattern"]["Regex"] == expected
    whole = "".join(text)
    wanted = ours.encode(whole).tolist()
    assert tokenizers.Tokenizer.from_file(str(path)).encode(whole).ids == wanted
    assert Tokenizer.from_file(path).encode(whole).tolist() == wanted


def test_a_saved_file_loads_in_other_libraries(data: Path, tmp_path: Path) -> None:
    """In those that are installed; the test extra does not bring them."""
    vocabulary = gzip.decompress((data / "vocab" / "cl100k_base.tiktoken.gz").read_bytes())
    (tmp_path / "cl100k_base.tiktoken").write_bytes(vocabulary)
    ours = Tokenizer.from_tiktoken(tmp_path / "cl100k_base.tiktoken", pattern="cl100k")
    path = tmp_path / "tokenizer.json"
    ours.save(path)
    text = (data / "multilingual.txt").read_bytes()[:100_000].decode("utf-8", "ignore")
    expected = ours.encode(text).tolist()
    # What all of them read is the spelling, whoever is there to read it.
    assert tokenizers.Tokenizer.from_file(str(path)).encode(text).ids == expected
    for peer in filter(find_spec, ("gigatoken", "fastokens", "snaptokens")):
        library = import_module(peer)
        if peer == "gigatoken":
            theirs = library.Tokenizer.from_json(path.read_text("utf-8")).encode(text)
        else:
            flat = library._native.Tokenizer.from_file(str(path)).encode_batch_flat([text])[0]
            theirs = np.frombuffer(flat, np.uint32)
        assert np.asarray(theirs).tolist() == expected, peer
