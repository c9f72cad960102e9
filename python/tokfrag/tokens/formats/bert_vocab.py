"""BERT's ``vocab.txt``: a WordPiece token a line."""

from __future__ import annotations

import os

from tokfrag.tokens.models.wordpiece import read_vocab
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
