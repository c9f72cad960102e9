"""Stand-ins for what users already hold, and the way from theirs to ours."""

from __future__ import annotations

from tokfrag.tokens.tokenizer import Tokenizer


def adopt(tokenizer: object) -> Tokenizer:
    """Make a :class:`Tokenizer` with the ids of a tokenizer of another library.

    Parameters
    ----------
    tokenizer : object
        A ``tiktoken.Encoding``, a ``tokenizers.Tokenizer`` (or one of its ``implementations``), or
        a fast tokenizer of ``transformers``.

    Returns
    -------
    Tokenizer
        One that gives the same ids; a :class:`Tokenizer` is returned as it is.

    Raises
    ------
    ValueError
        It does something that cannot be reproduced exactly; says what.
    TypeError
        It is none of these.

    Examples
    --------
    >>> import tiktoken
    >>> ranks = {bytes([byte]): byte for byte in range(256)}
    >>> theirs = tiktoken.Encoding("b", pat_str="[a-z]+", mergeable_ranks=ranks, special_tokens={})
    >>> adopt(theirs).encode("abc").tolist()
    [97, 98, 99]
    """
    return Tokenizer.adopt(tokenizer)


__all__ = ["adopt"]
