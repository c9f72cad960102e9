"""SentencePiece's precompiled map of characters, and a model's own normaliser, by plain loops."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable

METASPACE = "\u2581"


def unpack_charsmap(blob: bytes) -> dict[bytes, bytes]:
    """Return all keys of a precompiled map and what they are replaced by (see charsmap.hpp).

    >>> unpack_charsmap(pack_charsmap({b"a": b"b"}))
    {b'a': b'b'}
    """
    size = int.from_bytes(blob[:4], "little")
    units = struct.unpack(f"<{size // 4}I", blob[4 : 4 + size])
    replacements = blob[4 + size :]

    def offset(unit: int) -> int:
        return (unit >> 10) << ((unit & 1 << 9) >> 6)

    found: dict[bytes, bytes] = {}
    open_nodes = [(offset(units[0]), b"")]
    while open_nodes:
        children, key = open_nodes.pop()
        for byte in range(1, 256):
            at = children ^ byte
            if at >= len(units) or units[at] & (1 << 31 | 0xFF) != byte:
                continue
            below = at ^ offset(units[at])
            longer = key + bytes([byte])
            if units[at] & 1 << 8:
                value = units[below] & ~(1 << 31)
                found[longer] = replacements[value : replacements.index(b"\0", value)]
            open_nodes.append((below, longer))
    return found


def pack_charsmap(rules: dict[bytes, bytes]) -> bytes:
    """Return a precompiled map of rules, in a double array that wastes space: 256 units a node."""
    nodes: list[dict[int, int]] = [{}]
    ends: dict[int, int] = {}
    replacements = b""
    for key, new in rules.items():
        node = 0
        for byte in key:
            if byte not in nodes[node]:
                nodes[node][byte] = len(nodes)
                nodes.append({})
            node = nodes[node][byte]
        ends[node] = len(replacements)
        replacements += new + b"\0"
    # The children of node n are in block n + 1; its value is at the block's own place, byte 0.
    if len(nodes) >= 1 << 13:
        raise ValueError(f"rules: got {len(nodes)} nodes, takes at most {(1 << 13) - 1}")
    units = [0] * 256 * (len(nodes) + 1)

    def offset_to(place: int, block: int) -> int:
        return (place ^ 256 * (block + 1)) << 10

    units[0] = offset_to(0, 0)
    for node, children in enumerate(nodes):
        for byte, child in children.items():
            place = 256 * (node + 1) ^ byte
            units[place] = byte | offset_to(place, child) | (1 << 8 if child in ends else 0)
            if child in ends:
                units[256 * (child + 1)] = 1 << 31 | ends[child]
    table = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(table)) + table + (replacements or b"\0")


def replace_graphemes(graphemes: Iterable[str], rules: dict[bytes, bytes]) -> str:
    """Replace as Hugging Face does: what begins with a key is the key's, whole.

    Graphemes of fewer than six bytes as one, others (and those that begin with no key) character
    by character; of several keys the shortest counts.

    >>> replace_graphemes(["a", "bc"], {b"b": b"x"})
    'ax'
    """

    def replaced(part: str) -> str | None:
        data = part.encode()
        sizes = (size for size in range(1, len(data) + 1) if data[:size] in rules)
        size = next(sizes, None)
        return None if size is None else rules[data[:size]].decode()

    out: list[str] = []
    for grapheme in graphemes:
        whole = replaced(grapheme) if len(grapheme.encode()) < 6 else None
        if whole is not None:
            out.append(whole)
        else:
            for char in grapheme:
                new = replaced(char)
                out.append(char if new is None else new)
    return "".join(out)


def normalize(
    text: str,
    rules: dict[bytes, bytes],
    *,
    user_defined: Collection[str] = (),
    add_dummy_prefix: bool = True,
    remove_extra_whitespaces: bool = True,
) -> str:
    """Write a text as a ``.model`` of sentencepiece does, with blanks for its metaspaces.

    >>> normalize("  a  b ", {})
    ' a b'
    """
    data = text.encode()
    longest_key = max(map(len, rules), default=0)
    parts: list[str] = []
    at = 0
    while at < len(data):
        symbols = [s.encode() for s in user_defined if data.startswith(s.encode(), at)]
        keys = [data[at : at + n] for n in range(longest_key, 0, -1) if data[at : at + n] in rules]
        if symbols:
            taken = max(symbols, key=len)
        else:
            taken = keys[0] if keys else data[at:].decode()[0].encode()
        parts.append((taken if symbols else rules.get(taken, taken)).decode())
        at += len(taken)
    if remove_extra_whitespaces:
        while parts and parts[0] == " ":
            parts.pop(0)
    if not parts:
        return ""
    out = " " if add_dummy_prefix else ""
    after_blank = remove_extra_whitespaces
    for part in parts:
        kept = part.lstrip(" ") if after_blank else part
        if kept:
            out += kept
            after_blank = remove_extra_whitespaces and kept.endswith(" ")
    out = out.replace(METASPACE, " ")
    return out.rstrip(" ") if remove_extra_whitespaces else out
