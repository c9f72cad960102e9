"""Small encodings of tiktoken, for several test files."""

from __future__ import annotations

import tiktoken

TOKENS = [bytes([byte]) for byte in range(256)] + [b"th", b"the", b" the", b"he", b"  ", b"12"]
PATTERNS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++"
    r"[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "own": r"\p{N}{1,2}+| ?\p{L}+|[^\p{L}\p{N}]",
}


def encoding(pattern: str) -> tiktoken.Encoding:
    return tiktoken.Encoding(
        pattern,
        pat_str=PATTERNS.get(pattern, pattern),
        mergeable_ranks={token: rank for rank, token in enumerate(TOKENS)},
        special_tokens={"<|endoftext|>": 300, "<|end|>": 301},
    )
