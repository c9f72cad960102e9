"""The vocabularies that tiktoken knows by name, read from its own cache folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tokfrag._files import read_bytes

_BLOBS = "https://openaipublic.blob.core.windows.net/"
_END, _PROMPT = "<|endoftext|>", "<|endofprompt|>"
_FILL = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")


class Named(NamedTuple):
    """A vocabulary: its file's address and SHA-256, how text is cut, and its special tokens."""

    blob: str
    sha256: str
    pattern: str
    special_tokens: Mapping[str, int]


# The names and numbers are those of tiktoken 0.14.
_R50K = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
_P50K = "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
_CL100K = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_O200K = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_O200K_SPECIAL = {_END: 199999, _PROMPT: 200018}
_HARMONY = {
    "<|startoftext|>": 199998,
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
}
_TAKEN = {*_O200K_SPECIAL.values(), *_HARMONY.values()}
_RESERVED = {f"<|reserved_{id}|>": id for id in range(200000, 201088) if id not in _TAKEN}

# Its two files are older, and of another format.
GPT2 = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}
_GPT2_FOLDER = "gpt-2/encodings/main/"

ENCODINGS: dict[str, Named] = {
    "r50k_base": Named("encodings/r50k_base.tiktoken", _R50K, "r50k", {_END: 50256}),
    "p50k_base": Named("encodings/p50k_base.tiktoken", _P50K, "p50k", {_END: 50256}),
    "p50k_edit": Named(
        "encodings/p50k_base.tiktoken",
        _P50K,
        "p50k",
        {_END: 50256, **dict(zip(_FILL, range(50281, 50284), strict=True))},
    ),
    "cl100k_base": Named(
        "encodings/cl100k_base.tiktoken",
        _CL100K,
        "cl100k",
        {_END: 100257, **dict(zip(_FILL, range(100258, 100261), strict=True)), _PROMPT: 100276},
    ),
    "o200k_base": Named("encodings/o200k_base.tiktoken", _O200K, "o200k", _O200K_SPECIAL),
    "o200k_harmony": Named(
        "encodings/o200k_base.tiktoken",
        _O200K,
        "o200k",
        {**_O200K_SPECIAL, **_HARMONY, **_RESERVED},
    ),
}


def cached_file(name: str) -> Path:
    """The file of a named vocabulary in tiktoken's cache folder.

    The folder is ``TIKTOKEN_CACHE_DIR``, else ``DATA_GYM_CACHE_DIR``, else ``data-gym-cache`` among
    the temporary files; a file there is called by the SHA-1 of its address.

    Raises
    ------
    ValueError
        The name is none of those known, or the file's content is not what it should be.
    FileNotFoundError
        It is not there. Nothing is ever downloaded.
    """
    if name not in ENCODINGS:
        raise ValueError(f"name: got {name!r}, takes gpt2, {', '.join(ENCODINGS)}")
    return _cached(name, ENCODINGS[name].blob, ENCODINGS[name].sha256)


def cached_gpt2() -> tuple[Path, Path]:
    """The merges and the ids of ``gpt2``: as :func:`cached_file`."""
    merges, ids = (_cached("gpt2", _GPT2_FOLDER + name, sha256) for name, sha256 in GPT2.items())
    return merges, ids


def _cached(name: str, blob: str, sha256: str) -> Path:
    default = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    path = Path(folder) / hashlib.sha1((_BLOBS + blob).encode()).hexdigest()
    if not folder or not path.is_file():
        raise FileNotFoundError(
            f"{name}: {Path(blob).name} is not in tiktoken's cache folder {folder!r} (as "
            f"{path.name}); TIKTOKEN_CACHE_DIR names another, and nothing is downloaded here"
        )
    found = hashlib.sha256(read_bytes(path)).hexdigest()
    if found != sha256:
        raise ValueError(f"{path}: has SHA-256 {found}, that of {name} is {sha256}")
    return path


__all__ = ["ENCODINGS", "GPT2", "Named", "cached_file", "cached_gpt2"]
