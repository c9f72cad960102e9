"""BERT's ``vocab.txt``: a WordPiece token a line."""

from __future__ import annotations

import os
from pathlib import Path

from tokfrag import _bert_characters as tables
from tokfrag._bert_tables import code_points
from tokfrag.tokens.specification import (
    AddedToken,
    Pipeline,
    Specification,
    Template,
    WordPieceModel,
)

_SPECIAL = ("[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]")


def read_bert(path: str | os.PathLike[str], *, lowercase: bool = True) -> Specification:
    """Describe BERT's tokenizer with this vocabulary; accents go where case goes, as there.

    Raises
    ------
    ValueError
        A line is empty or comes twice (names it), or ``[UNK]`` is missing.
    """
    vocab = read_vocab(path)
    if "[UNK]" not in vocab:
        raise ValueError(f"{os.fspath(path)}: no [UNK] in it, takes a vocabulary with one")
    added = tuple(AddedToken(token, vocab[token]) for token in _SPECIAL if token in vocab)
    template = Template()
    if "[CLS]" in vocab and "[SEP]" in vocab:
        first, last = vocab["[CLS]"], vocab["[SEP]"]
        single: tuple[tuple[int | str, int], ...] = ((first, 0), ("A", 0), (last, 0))
        template = Template(single, (*single, ("B", 1), (last, 1)))
    model = WordPieceModel(
        tuple((token, id) for token, id in vocab.items()),
        lowercase=lowercase,
        strip_accents=lowercase,
    )
    return Specification(model, Pipeline(added, template=template))


def read_vocab(path: str | os.PathLike[str]) -> dict[str, int]:
    """Read a ``vocab.txt``; ValueError names a line that is not UTF-8 or repeats a token."""
    spaces = "".join(map(chr, code_points(tables.WHITE_SPACE)))
    lines = Path(path).read_bytes().split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    vocab: dict[str, int] = {}
    for number, line in enumerate(lines):
        try:
            token = line.decode().rstrip(spaces)
        except UnicodeDecodeError as error:
            raise ValueError(f"{os.fspath(path)}, line {number + 1}: {error}") from None
        if token in vocab:
            raise ValueError(
                f"{os.fspath(path)}, line {number + 1}: {token!r} is on line {vocab[token] + 1} too"
            )
        vocab[token] = number
    return vocab
