"""GPT-2's pair of files: ``vocab.bpe``, the merges, and ``encoder.json``, the ids."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tokfrag.tokens.byte_alphabet import to_text
from tokfrag.tokens.formats.tiktoken_file import read_file
from tokfrag.tokens.specification import BpeModel, Pipeline, Specification, special_added


def _bytes_of(token: str, table: dict[str, int], where: str) -> bytes:
    try:
        return bytes([table[character] for character in token])
    except KeyError as error:
        raise ValueError(f"{where}: {token!r} holds {error}, which stands for no byte") from None


def read_gpt2(
    merges_path: str | os.PathLike[str],
    ids_path: str | os.PathLike[str],
    *,
    pattern: str | None,
    special_tokens: Mapping[str, int] | None,
) -> Specification:
    """Describe the tokenizer of both files.

    An entry of ``encoder.json`` that is no byte and that no merge makes is a special token, beside
    those given.
    """
    table = {to_text(bytes([byte])): byte for byte in range(256)}
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
    numbers = np.array([ids[name] for name in names], np.int64)
    merges = numbers[np.array(pairs, np.int64).reshape(-1, 2)]
    special |= special_tokens or {}
    model = BpeModel(
        tuple(sorted(zip(tokens, numbers.tolist(), strict=True), key=operator.itemgetter(1))),
        merges,
        pattern,
        False,
    )
    return Specification(model, Pipeline(special_added(special)))
