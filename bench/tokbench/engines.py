"""The engines of the scoreboard: of each, a function from text to ids, and one of many texts."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Encode(NamedTuple):
    """Text to an array of ids, or to the nearest the engine has; and many texts in one call."""

    one: Callable[[str], Any]
    many: Callable[[list[str]], Any]


#: What ``pip`` calls each.
PACKAGES = {
    "tokfrag": "tokfrag",
    "gigatoken": "gigatoken",
    "snaptokens": "snaptokens",
    "fastokens": "fastokens",
    "tokenizers": "tokenizers",
}


def load(engine: str, path: Path) -> Encode:
    """An engine with a vocabulary, on one thread."""
    if engine == "tokfrag":
        from tokfrag import Tokenizer

        tok = Tokenizer.from_file(path)
        return Encode(tok.encode, lambda texts: tok.encode_batch(texts, threads=1))
    if engine == "gigatoken":
        import gigatoken

        giga = gigatoken.Tokenizer.from_json(path.read_text("utf-8"))
        return Encode(giga.encode, lambda texts: giga.encode_batch(texts, parallel=False))
    if engine in ("fastokens", "snaptokens"):
        native = import_module(engine)._native.Tokenizer.from_file(str(path))
        return Encode(
            lambda text: np.frombuffer(native.encode_batch_flat([text])[0], np.uint32),
            native.encode_batch_flat,
        )
    import tokenizers

    peer = tokenizers.Tokenizer.from_file(str(path))
    return Encode(
        lambda text: peer.encode(text, add_special_tokens=False).ids,
        lambda texts: peer.encode_batch(texts, add_special_tokens=False),
    )


def version_of(engine: str) -> str:
    """Its release, also where it runs from its sources."""
    try:
        return version(PACKAGES[engine])
    except PackageNotFoundError:
        return str(getattr(import_module(engine), "__version__", "unknown"))


def digest(ids: Any) -> str:
    """The same for the same ids, in whatever they are."""
    return hashlib.sha256(np.asarray(ids, np.uint32).tobytes()).hexdigest()[:16]


def seconds(encode: Encode, texts: list[str], at_once: int) -> float:
    """Of processor time, for all texts."""
    calls = [texts[at : at + at_once] for at in range(0, len(texts), at_once)]
    begin = time.process_time()
    if at_once == 1:
        for text in texts:
            encode.one(text)
    else:
        for call in calls:
            encode.many(call)
    return time.process_time() - begin


def serve() -> None:
    """Answer orders, a line of JSON each, in a process of the engine's own.

    ``["load", engine, path]``: its version and seconds; ``["ids", texts]``: a digest each;
    ``["time", texts, n]``: seconds of processor time to encode all of them, n a call.
    """
    encode: Encode | None = None
    for line in sys.stdin:
        what, *rest = json.loads(line)
        try:
            answer: Any
            if what == "load":
                begin = time.process_time()
                encode = load(rest[0], Path(rest[1]))
                answer = [version_of(rest[0]), time.process_time() - begin]
            elif what == "ids":
                assert encode is not None
                answer = [digest(encode.one(text)) for text in rest[0]]
            else:
                assert encode is not None
                answer = seconds(encode, *rest)
        except Exception as refusal:  # a peer may raise anything: the cell says what
            answer = {"refused": f"{type(refusal).__name__}: {refusal}"[:200]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
