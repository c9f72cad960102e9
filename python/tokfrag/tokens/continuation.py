"""Token in, token out: ids that stay what they are while text comes after them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.tokens.arguments import id_array
from tokfrag.tokens.contracts import Ids
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.pipeline import Names, Piped, TextPipeline
from tokfrag.tokens.safe_cuts import SafeCuts


def continue_from(
    tokenizer: Piped, ids: ArrayLike, text: str, *, allowed_special: Names = ()
) -> Ids:
    """Ids, and after them those of a text that goes on where they end; ``ids`` stay as they are.

    The text is encoded as one that begins at the seam: no pattern looks back, so this is what a
    scan gives that came there with these ids behind it, and what a model expects that sampled them.
    No blank is put before it where the pipeline puts one before texts; a model that writes one
    before every stretch itself (SentencePiece's dummy prefix) does so here too.

    Parameters
    ----------
    ids : array, tensor or sequence of int
    text : str
        What comes.
    allowed_special : "all" or collection of str
        As in :meth:`encode`.

    Returns
    -------
    array (tokens,), uint32

    Raises
    ------
    IndexError
        No token has one of the ids.
    TypeError
        The text is no ``str``.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
    >>> tok.continue_from([97], "b").tolist(), tok.encode("ab").tolist()
    ([97, 98], [256])
    """
    _check_text(text)
    way = tokenizer.text_pipeline
    kept = _known(way, ids)
    if way.values.prefix_space:
        way = TextPipeline(way.model, replace(way.values, prefix_space=False))
    return np.concatenate([kept, way.encode_inner(text, way.sought(allowed_special))])


def is_canonical(tokenizer: Piped, ids: ArrayLike) -> bool:
    """Whether ids are those that encoding gives of the text they spell.

    Added tokens among them stand as they are; each stretch between them is decoded and encoded.

    Parameters
    ----------
    ids : array, tensor or sequence of int

    Returns
    -------
    bool

    Raises
    ------
    IndexError
        No token has one of the ids.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
    >>> tok.is_canonical([256]), tok.is_canonical([97, 98])
    (True, False)
    """
    way = tokenizer.text_pipeline
    numbers = _known(way, ids)
    added = np.isin(numbers, np.fromiter(way.added_ids.values(), np.uint32))
    bounds = [-1, *np.flatnonzero(added).tolist(), len(numbers)]
    stretches = [numbers[a + 1 : b] for a, b in pairwise(bounds) if a + 1 < b]
    texts: list[str | bytes] = [way.model.decode(stretch) for stretch in stretches]
    again = way.encode_batch(texts, way.sought(()))
    return all(np.array_equal(a, b) for a, b in zip(stretches, again, strict=True))


def first_difference(
    tokenizer: Piped, ids: ArrayLike, text: str, *, allowed_special: Names = ()
) -> int:
    """How many of the first ids a full encode of a text keeps.

    Parameters
    ----------
    ids : array, tensor or sequence of int
    text : str
    allowed_special : "all" or collection of str
        As in :meth:`encode`.

    Returns
    -------
    int
        The place of the first id that is not the text's; the length of the shorter where there is
        none.

    Raises
    ------
    IndexError
        No token has one of the ids.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
    >>> tok.first_difference([120, 97, 98], "xab")
    1
    """
    _check_text(text)
    way = tokenizer.text_pipeline
    return _same(_known(way, ids), way.encode(text, way.sought(allowed_special)))


def splice(tokenizer: Piped, ids: ArrayLike, text: str, *, allowed_special: Names = ()) -> Ids:
    """Ids of a text that begins as ``ids`` do: as many of them as can stay, then those of the rest.

    For the turns of a chat: the text is the whole of it, the ids those of its beginning, sampled
    ones among them. They are kept up to the last place where both texts are still the same and
    where every text falls apart: the end of a plain added token, or a safe cut. From there the text
    is encoded. Of ids that an encode gave, the result is that of encoding the whole text; others
    (sampled, not as an encode cuts) stay what they are up to that place. Where tokens do not spell
    the text as it is (Unicode normalisation, WordPiece), the whole text is encoded.

    Parameters
    ----------
    ids : array, tensor or sequence of int
    text : str
    allowed_special : "all" or collection of str
        As in :meth:`encode`; also that by which the ids were made.

    Returns
    -------
    array (tokens,), uint32

    Raises
    ------
    IndexError
        No token has one of the ids.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer(
    ...     [bytes([b]) for b in range(256)] + [b"ab"],
    ...     pattern="gpt2",
    ...     special_tokens={"<end>": 300},
    ... )
    >>> tok.splice([97, 98, 300], "ab<end>ab", allowed_special="all").tolist()
    [97, 98, 300, 256]
    """
    _check_text(text)
    way = tokenizer.text_pipeline
    sought = way.sought(allowed_special)
    given = _known(way, ids)
    keep, at = _seam(way, given, text, allowed_special) if _spells(way) else (0, 0)
    if keep == 0:
        return way.encode(text, sought)
    return np.concatenate([given[:keep], way.encode(text[at:], sought)])


def _seam(way: TextPipeline, ids: Ids, text: str, allowed: Names) -> tuple[int, int]:
    """How many ids stay, and the character of the text from which on it is encoded."""
    spelled = way.model.decode(ids)
    wanted = text.encode("utf-8", "replace")
    common = _same(np.frombuffer(spelled, np.uint8), np.frombuffer(wanted, np.uint8))
    # Only whole characters are compared from here on.
    while common > 0 and _is_inside(wanted, common):
        common -= 1
    before = spelled[:common].decode("utf-8", "replace")
    if not text.startswith(before):
        return 0, 0
    old = before + spelled[common:].decode("utf-8", "replace")
    ends = np.cumsum([len(way.model.token_bytes(id) or b"") for id in ids.tolist()])
    heeded = [
        token
        for token in way.values.added_tokens
        if not token.special or allowed == "all" or token.content in allowed
    ]
    cuts = SafeCuts(way, heeded)
    plain = {token.id for token in heeded if token.plain}
    at, end = len(before), common
    for keep in range(int(np.searchsorted(ends, common, "right")), 0, -1):
        while end > ends[keep - 1]:
            at -= 1
            end -= len(before[at].encode())
        if end == ends[keep - 1] and all(
            _parts(cuts, whole, at, int(ids[keep - 1]) in plain) for whole in (old, text)
        ):
            return keep, at
    return 0, 0


def _parts(cuts: SafeCuts, text: str, at: int, after_added: bool) -> bool:
    """Whether a text falls apart at a place, an added token before it or not."""
    if at == len(text):
        return True
    return cuts.parts_tokens(text, at) if after_added else cuts.allows(text, at)


def _spells(way: TextPipeline) -> bool:
    """Whether the bytes of tokens, end to end, are those of the text that was encoded."""
    model = way.model
    values = way.values
    return (
        isinstance(model, BytePair)
        and not model.spaced_decoding
        and not values.normalizers
        and not values.prefix_space
        and all(token.plain for token in values.added_tokens)
    )


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text: got {type(text).__name__}, takes str")


def _known(way: TextPipeline, ids: ArrayLike) -> Ids:
    numbers = id_array(ids)
    kinds = np.unique(numbers)
    unknown = [id for id in kinds.tolist() if id < 0 or way.model.token_bytes(id) is None]
    if unknown:
        place = int(np.flatnonzero(numbers == unknown[0])[0])
        raise IndexError(f"ids: no token has id {unknown[0]}, at position {place}")
    return numbers.astype(np.uint32)


def _same(a: NDArray[np.generic], b: NDArray[np.generic]) -> int:
    """How many items two arrays begin with in common."""
    shorter = min(len(a), len(b))
    differing = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(differing[0]) if len(differing) else shorter


def _is_inside(utf8: bytes, at: int) -> bool:
    """Whether a place is inside a character, as far as bytes tell."""
    return at < len(utf8) and utf8[at] & 0xC0 == 0x80


__all__ = ["continue_from", "first_difference", "is_canonical", "splice"]
