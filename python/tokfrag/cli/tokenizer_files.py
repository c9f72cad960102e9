"""Tokenizers from files, as the commands name them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokfrag.tokens import Tokenizer

PATTERN_HELP = "for a .tiktoken file: gpt2, cl100k, o200k, ... or a regex (default cl100k)"


def load_tokenizer(path: Path, pattern: str) -> Tokenizer:
    """The tokenizer in a file: tokenizer.json, a .tiktoken table, or a WordPiece vocab.txt."""
    from tokfrag.tokens import Tokenizer

    if not path.is_file():
        raise FileNotFoundError(f"--tokenizer: no such file: {path}")
    name = path.name.removesuffix(".gz")
    if name.endswith(".tiktoken"):
        return Tokenizer.from_tiktoken(path, pattern=pattern)
    if name.endswith(".json"):
        return Tokenizer.from_file(path)
    if name.endswith(".txt"):
        return Tokenizer.from_wordpiece(path)
    raise ValueError(f"--tokenizer: got {path.name!r}; it takes .json, .tiktoken or .txt")


def check_texts(paths: list[Path]) -> None:
    """Refuse, before any work is done, a text that is not there."""
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
