"""GPT-2's pair of files: ``vocab.bpe``, the merges, and ``encoder.json``, the ids."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.formats.tiktoken_file import read_file


def byte_to_character() -> dict[int, str]:
    """GPT-2's printable character for each byte: itself where printable, else one from U+0100 on.

    >>> byte_to_character()[ord(" ")]
    'Ġ'
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(0x100 + len(table) - len(printable))
    return table


def _bytes_of(token: str, table: dict[str, int], where: str) -> bytes:
    try:
        return bytes([table[character] for character in token])
    except KeyError as error:
        raise ValueError(f"{where}: {token!r} holds {error}, which stands for no byte") from None


def read_gpt2(
    merges_path: str | os.PathLike[str], ids_path: str | os.PathLike[str]
) -> tuple[list[bytes], list[int], NDArray[np.uint32], dict[str, int]]:
    """The tokens, their ids, the merges (n, 2) as indices into the tokens, and what is special.

    An entry of ``encoder.json`` that is no byte and that no merge makes is a special token.
    """
    table = {character: byte for byte, character in byte_to_character().items()}
    try:
        ids = json.loads(read_file(ids_path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{ids_path}: not JSON: {error}") from None
    if not isinstance(ids, dict) or not all(
        isinstance(value, int) and not isinstance(value, bool) and value >= 0
        for value in ids.values()
    ):
        raise ValueError(f"{ids_path}: expected an object of tokens and their ids")
    try:
        lines = read_file(merges_path).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{merges_path}: not UTF-8: {error}") from None

    index = {bytes([table[c]]): i for i, c in enumerate(c for c in ids if c in table)}
    names = [c for c in ids if c in table]
    pairs: list[tuple[int, int]] = []
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if (number == 1 and line.startswith("#version")) or (not line and number == len(lines)):
            continue
        where = f"{Path(merges_path)}: line {number}"
        halves = line.split(" ")
        if len(halves) != 2 or not all(halves):
            raise ValueError(f"{where}: expected two tokens and a space between, got {line!r}")
        left, right = (_bytes_of(half, table, where) for half in halves)
        name = halves[0] + halves[1]
        for half, text in ((left, halves[0]), (right, halves[1])):
            if half not in index:
                raise ValueError(f"{where}: no earlier line makes {text!r}")
        if name not in ids:
            raise ValueError(f"{where}: {name!r} has no id in {ids_path}")
        pairs.append((index[left], index[right]))
        if left + right not in index:
            index[left + right] = len(names)
            names.append(name)
    ordinary = set(names)
    special = {name: id for name, id in ids.items() if name not in ordinary}
    tokens = sorted(index, key=index.__getitem__)
    merges = np.asarray(pairs, dtype=np.uint32).reshape(-1, 2)
    return tokens, [ids[name] for name in names], merges, special
