"""The engines of the scoreboard: of each, a function from text to ids."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[str], Any]

#: What ``pip`` calls each.
PACKAGES = {
    "tokfrag": "tokfrag",
    "gigatoken": "gigatoken",
    "snaptokens": "snaptokens",
    "fastokens": "fastokens",
    "tokenizers": "tokenizers",
}


def load(engine: str, path: Path) -> Encode:
    """Text to an array of ids, or to the nearest the engine has."""
    if engine == "tokfrag":
        from tokfrag import Tokenizer

        return Tokenizer.from_file(path).encode
    if engine == "gigatoken":
        import gigatoken

        return gigatoken.Tokenizer.from_json(path.read_text("utf-8")).encode
    if engine in ("fastokens", "snaptokens"):
        native = import_module(engine)._native.Tokenizer.from_file(str(path))
        return lambda text: np.frombuffer(native.encode_batch_flat([text])[0], np.uint32)
    import tokenizers

    peer = tokenizers.Tokenizer.from_file(str(path))
    return lambda text: peer.encode(text, add_special_tokens=False).ids


def version_of(engine: str) -> str:
    """Its release, also where it runs from its sources."""
    try:
        return version(PACKAGES[engine])
    except PackageNotFoundError:
        return str(getattr(import_module(engine), "__version__", "unknown"))


def digest(ids: Any) -> str:
    """The same for the same ids, in whatever they are."""
    return hashlib.sha256(np.asarray(ids, np.uint32).tobytes()).hexdigest()[:16]


def serve() -> None:
    """Answer orders, a line of JSON each, in a process of the engine's own.

    ``["load", engine, path]``: its version and seconds; ``["ids", texts]``: a digest each;
    ``["time", texts]``: seconds of processor time to encode all of them, one call each.
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
                answer = [digest(encode(text)) for text in rest[0]]
            else:
                assert encode is not None
                texts = rest[0]
                begin = time.process_time()
                for text in texts:
                    encode(text)
                answer = time.process_time() - begin
        except Exception as refusal:  # a peer may raise anything: the cell says what
            answer = {"refused": f"{type(refusal).__name__}: {refusal}"[:200]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
