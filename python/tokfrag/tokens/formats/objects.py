"""Read a tokenizer of another library that somebody holds."""

from __future__ import annotations

from tokfrag.tokens.formats.huggingface_object import (
    read_huggingface_object,
    read_transformers_object,
)
from tokfrag.tokens.formats.tiktoken_object import read_tiktoken_object
from tokfrag.tokens.specification import Specification


def read_object(tokenizer: object) -> Specification:
    """Describe a tokenizer of another library: see :meth:`Tokenizer.adopt`.

    Raises
    ------
    ValueError
        It does something that cannot be reproduced exactly; says what.
    TypeError
        It is of no library that is known.
    """
    library = type(tokenizer).__module__.partition(".")[0]
    if library == "tiktoken":
        return read_tiktoken_object(tokenizer)
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is not None and hasattr(inner, "to_str"):
        if hasattr(tokenizer, "model_input_names"):
            return read_transformers_object(tokenizer)
        return read_huggingface_object(inner)
    # The implementations of tokenizers hold the tokenizer proper.
    held = getattr(tokenizer, "_tokenizer", tokenizer)
    if type(held).__module__.partition(".")[0] == "tokenizers" and hasattr(held, "to_str"):
        return read_huggingface_object(held)
    raise TypeError(
        f"tokenizer: got a {type(tokenizer).__module__}.{type(tokenizer).__qualname__}, takes a"
        " tiktoken.Encoding, a tokenizers.Tokenizer or a fast tokenizer of transformers"
    )


__all__ = ["read_object"]
