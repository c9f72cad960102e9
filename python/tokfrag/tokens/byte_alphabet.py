"""GPT-2's spelling of bytes as printable characters, which JSON vocabularies use."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_HIDDEN = [byte for byte in range(256) if byte not in _PRINTABLE]
_CHAR_OF_BYTE = {byte: byte for byte in _PRINTABLE} | {
    byte: 0x100 + index for index, byte in enumerate(_HIDDEN)
}
# What spells no byte must not slip through as Latin-1.
_NONE = 0xFFFF
_BYTE_OF_CHAR = dict.fromkeys(_HIDDEN, _NONE) | {char: byte for byte, char in _CHAR_OF_BYTE.items()}

# By character; what is beyond the end is as the last: nothing.
_TABLE = np.full(max(_BYTE_OF_CHAR) + 2, _NONE, np.uint16)
_TABLE[list(_CHAR_OF_BYTE.values())] = list(_CHAR_OF_BYTE)


def to_text(token: bytes) -> str:
    """Spell bytes as characters.

    >>> to_text(b" the")
    'Ġthe'
    """
    return token.decode("latin-1").translate(_CHAR_OF_BYTE)


def to_bytes(text: str) -> bytes | None:
    """The bytes that characters spell, or None if one of them spells no byte.

    >>> to_bytes("Ġthe"), to_bytes("the end")
    (b' the', None)
    """
    try:
        return text.translate(_BYTE_OF_CHAR).encode("latin-1")
    except UnicodeEncodeError:
        return None


def all_to_bytes(texts: Collection[str]) -> list[bytes | None]:
    """What :func:`to_bytes` says of each, all at once.

    >>> all_to_bytes(["Ġthe", "the end", ""])
    [b' the', None, b'']
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths)
    spelled = "".join(texts).encode("utf-32-le", "surrogatepass")
    characters = np.frombuffer(spelled, np.uint32)
    values = _TABLE[np.minimum(characters, len(_TABLE) - 1)]
    blob = values.astype(np.uint8).tobytes()
    foreign = set(np.searchsorted(ends, np.flatnonzero(values == _NONE), side="right").tolist())
    return [
        None if index in foreign else blob[end - length : end]
        for index, (end, length) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True))
    ]
