"""Text in samples that split no character, and text files."""

from __future__ import annotations

from pathlib import Path

from tokfrag.compare.files import read_data


def chunks(text: bytes, size: int) -> list[bytes]:
    """The text in samples of at most ``size`` bytes, none of which splits a character.

    >>> chunks("ab\u00e9cd".encode(), 3)
    [b'ab', b'\\xc3\\xa9c', b'd']
    """
    found = []
    begin = 0
    while begin < len(text):
        end = min(begin + size, len(text))
        # A byte of the form 10xxxxxx continues a character.
        while end < len(text) and text[end] & 0xC0 == 0x80:
            end -= 1
        found.append(text[begin:end])
        begin = end
    return found


def read_text(path: Path) -> bytes:
    """A file of UTF-8, or an error that names the line and the byte that are not."""
    raw = read_data(path)
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise ValueError(f"{path}: line {line}, byte {column}: is not UTF-8") from None
    return raw
