"""Where ids lie in their text: the twin of ``tokfrag._core.spans``."""

from __future__ import annotations

from collections.abc import Sequence


def _begins_character(byte: int) -> bool:
    return byte & 0xC0 != 0x80


def token_spans(tokens: Sequence[bytes], *, characters: bool) -> list[tuple[int, int]]:
    """The span of each token in the text that the tokens spell.

    Parameters
    ----------
    tokens : sequence of bytes
        None is empty.
    characters : bool
        Spans in characters instead of bytes: a token that begins inside a character begins where
        that does, and one that ends inside a character ends after it.

    Returns
    -------
    list of (begin, end)

    Examples
    --------
    >>> token_spans([b"a", b"\\xc3", b"\\xa9b"], characters=True)
    [(0, 1), (1, 2), (1, 3)]
    """
    spans: list[tuple[int, int]] = []
    done = b""
    for token in tokens:
        spans.append((len(done), len(done) + len(token)))
        done += token
    return spans_in_characters(done, spans) if characters else spans


def spans_in_characters(text: bytes, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in bytes as spans in characters; bytes that no character has go with the one before.

    Parameters
    ----------
    text : bytes
        UTF-8.
    spans : sequence of (begin, end)
        Places in it.

    Returns
    -------
    list of (begin, end)

    Examples
    --------
    >>> spans_in_characters("aéb".encode(), [(2, 4)])
    [(1, 3)]
    """
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        begun = sum(map(_begins_character, text[: begin + 1]))
        found.append((max(begun - 1, 0), sum(map(_begins_character, text[:end]))))
    return found


__all__ = ["spans_in_characters", "token_spans"]
