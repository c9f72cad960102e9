"""Text to ids: cold and warm, one text and batches, against the exact peers, on every corpus.

``cold`` is the first call on a text in a fresh process that has encoded one word; ``warm`` is the
best of repeated calls on the same text. Ids are compared with tiktoken's before anything is timed.
"""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peers import data_folder, describe, need

CORPORA = ("english", "code", "chinese_pure", "multilingual")
FILES = {
    "gpt2": "r50k_base.tiktoken",
    "cl100k": "cl100k_base.tiktoken.gz",
    "o200k": "o200k_base.tiktoken.gz",
}
PEERS = ("tokfrag", "gigatoken", "fastokens", "toktok", "tiktoken")
SLICE = 2_000_000  # bytes of each corpus


def unpacked(family: str, folder: Path) -> Path:
    """The vocabulary as a plain file under the name that peers know it by."""
    source = data_folder() / "vocab" / FILES[family]
    path = folder / source.name.removesuffix(".gz")
    if not path.exists():
        content = source.read_bytes()
        path.write_bytes(gzip.decompress(content) if source.suffix == ".gz" else content)
    return path


def encoder(peer: str, family: str, path: Path) -> Any:
    """A function from str to an array (or list) of ids."""
    need(peer)
    if peer == "tokfrag":
        from tokfrag import Tokenizer

        return Tokenizer.from_tiktoken(path, pattern=family).encode
    if peer == "gigatoken":
        import gigatoken

        return gigatoken.Tokenizer.from_tiktoken(path).encode
    if peer == "fastokens":
        import fastokens

        if family not in ("cl100k", "o200k"):
            pytest.skip(f"fastokens has no preset for {family}")
        tok = fastokens._native.Tokenizer.from_tiktoken(str(path), encoding=path.stem)
        return lambda text: np.frombuffer(tok.encode_batch_flat([text])[0], np.uint32)
    if peer == "toktok":
        import toktok

        if family == "gpt2":
            pytest.skip("toktok has no gpt2 vocabulary")
        return toktok._encoding(path.stem).encode_to_numpy
    import tiktoken

    from tokfrag.tokens.patterns import REGEX

    pairs = (line.split() for line in path.read_bytes().splitlines())
    enc = tiktoken.Encoding(
        family,
        pat_str=REGEX[family],
        mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in pairs},
        special_tokens={},
    )
    return lambda text: enc.encode_to_numpy(text, disallowed_special=())


@cache
def corpus_text(name: str) -> str:
    return (data_folder() / f"{name}.txt").read_bytes()[:SLICE].decode("utf-8", "ignore")


@cache
def expected_ids(family: str, corpus: str, path: Path) -> Any:
    return encoder("tiktoken", family, path)(corpus_text(corpus))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vocabularies")


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("family", FILES)
def bench_warm(benchmark: Any, folder: Path, family: str, corpus: str, peer: str) -> None:
    benchmark.group = f"encode {family} {corpus}, warm, one text"
    path = unpacked(family, folder)
    encode, text = encoder(peer, family, path), corpus_text(corpus)
    ids = encode(text)
    np.testing.assert_array_equal(np.asarray(ids), expected_ids(family, corpus, path))
    describe(benchmark, peer, bytes=len(text.encode()), tokens=len(ids))
    benchmark.pedantic(encode, args=(text,), rounds=3)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("corpus", CORPORA)
def bench_cold(benchmark: Any, folder: Path, corpus: str, peer: str) -> None:
    """The first call in a fresh process, timed there; the round is the whole process."""
    need(peer)
    benchmark.group = f"encode cl100k {corpus}, cold (extra_info: seconds of the call)"
    path = unpacked("cl100k", folder)
    code = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from bench_encode import corpus_text, encoder
        encode, text = encoder({peer!r}, "cl100k", Path({str(path)!r})), corpus_text({corpus!r})
        encode("word")
        begin = time.process_time()
        encode(text)
        print(time.process_time() - begin)
    """
    seconds: list[float] = []

    def call() -> None:
        out = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            check=True,
            env=dict(os.environ),
        )
        seconds.append(float(out.stdout))

    benchmark.pedantic(call, rounds=1)
    describe(benchmark, peer, bytes=len(corpus_text(corpus).encode()))
    benchmark.extra_info["seconds"] = min(seconds)


@pytest.mark.parametrize("peer", ["tokfrag", "gigatoken", "toktok", "tiktoken"])
@pytest.mark.parametrize("characters", [12, 60, 1000])
def bench_latency(benchmark: Any, folder: Path, characters: int, peer: str) -> None:
    benchmark.group = f"encode cl100k, one call on {characters} characters"
    encode = encoder(peer, "cl100k", unpacked("cl100k", folder))
    text = corpus_text("english")[5000 : 5000 + characters]
    describe(benchmark, peer, bytes=len(text.encode()))
    benchmark(encode, text)


@pytest.mark.parametrize("what", ["plain", "offsets", "padded", "count"])
def bench_outputs(benchmark: Any, folder: Path, what: str) -> None:
    """What offsets, a padded torch-ready batch and counting cost beside plain encoding."""
    benchmark.group = "encode cl100k english, kinds of output"
    from tokfrag import Tokenizer

    tok = Tokenizer.from_tiktoken(unpacked("cl100k", folder), pattern="cl100k")
    text = corpus_text("english")
    texts = [text[i : i + 1000] for i in range(0, len(text), 1000)]
    calls = {
        "plain": lambda: tok.encode(text),
        "offsets": lambda: tok.encode_with_offsets(text),
        "padded": lambda: tok.encode_batch(texts, threads=1).to_padded(),
        "count": lambda: tok.count(text),
    }
    describe(benchmark, "tokfrag", bytes=len(text.encode()))
    benchmark(calls[what])
