"""How many tokens a text has, and how much of it has so many: methods of the tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from tokfrag.tokens.arguments import text_list
from tokfrag.tokens.patterns import replace_surrogates
from tokfrag.tokens.pipeline import Piped

Names = str | Collection[str]


def count(
    tokenizer: Piped,
    texts: str | bytes | Iterable[str | bytes],
    *,
    allowed_special: Names = (),
    threads: int | None = None,
) -> Any:
    """Count the tokens of a text, or of each of many, without keeping their ids.

    Parameters
    ----------
    texts : str, bytes, or iterable of them
    allowed_special : "all" or collection of str
        As in :meth:`encode`.
    threads : int, optional
        By default as many as there are processors.

    Returns
    -------
    int or (texts,) array, int64
        An int for one text.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> tok.count("Hi!"), tok.count(["Hi!", "é", ""]).tolist()
    (3, [3, 2, 0])
    """
    way = tokenizer.text_pipeline
    sought = way.sought(allowed_special)
    if isinstance(texts, (str, bytes)):
        # Ids that are few are made in less time than many texts are got ready.
        if len(texts) < 4096:
            return len(way.encode(texts, sought))
        return int(way.count_batch([texts], sought, threads)[0])
    return way.count_batch(text_list(texts), sought, threads)


def truncate(
    tokenizer: Piped, text: str | bytes, max_tokens: int, *, allowed_special: Names = ()
) -> Any:
    """Find the longest beginning of a text found to have at most ``max_tokens`` tokens.

    It ends at the end of a token and of a character. No more of the text is encoded than that
    takes.

    Parameters
    ----------
    text : str or bytes
    max_tokens : int
        0 or more.
    allowed_special : "all" or collection of str
        As in :meth:`encode`.

    Returns
    -------
    str or bytes
        As ``text`` is; the text itself if it is short enough.

    Raises
    ------
    ValueError
        ``max_tokens`` is negative.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> tok.truncate("café!", 4), tok.truncate("café!", 5)
    ('caf', 'café')
    """
    if max_tokens < 0:
        raise ValueError(f"max_tokens: got {max_tokens}, takes 0 or more")
    way = tokenizer.text_pipeline
    sought = way.sought(allowed_special)
    ids, spans = way.encode_spans(text, sought, max_tokens + 1)
    if len(ids) <= max_tokens:
        return text
    utf8 = text if isinstance(text, bytes) else replace_surrogates(text).encode()
    # Alone, a beginning may have more tokens than it has in the text: then less of it is taken.
    kept, step = max_tokens, 1
    while kept > 0:
        end = int(spans[kept - 1, 1])
        while 0 < end < len(utf8) and utf8[end] & 0xC0 == 0x80:
            end -= 1
        part = utf8[:end] if isinstance(text, bytes) else utf8[:end].decode()
        if len(way.encode(part, sought)) <= max_tokens:
            return part
        kept, step = kept - step, 2 * step
    return text[:0]
