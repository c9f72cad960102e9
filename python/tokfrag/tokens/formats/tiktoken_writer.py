"""Write tiktoken's vocabulary file: a line a token, its bytes in base64 and its rank."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import numpy as np

from tokfrag._files import whole_file
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.specification import BpeModel, Specification


def write_tiktoken(specification: Specification, path: str | os.PathLike[str]) -> None:
    """Write a ``.tiktoken`` file. It holds neither the pattern nor special tokens.

    Raises
    ------
    ValueError
        The tokens do not merge by their ids alone, so that tiktoken would give other ids.
    """
    model, pipeline = specification.model, specification.pipeline
    if not isinstance(model, BpeModel):
        raise ValueError("tiktoken: the file holds byte-pair tokens only")
    if pipeline.normalizers or pipeline.prefix_space:
        raise ValueError("tiktoken: the text is changed before it is encoded")
    for added in pipeline.added_tokens:
        if not added.special:
            raise ValueError(f"tiktoken: {added.content!r} is found in every text")
    _check_ranks(model)
    with whole_file(Path(path)) as file:
        for token, id in model.tokens:
            file.write(b"%s %d\n" % (b64encode(token), id))


def _check_ranks(model: BpeModel) -> None:
    """Refuse merges that differ from those of the ids.

    They are the same if each token of several bytes has one merge, the merges are in the order of
    ids, and they make each token out of its own bytes: what merging makes of these has two parts
    at one moment only, so that no other pair for the token ever occurs.
    """
    if model.merges is None:
        if not model.whole_pieces:
            raise ValueError("tiktoken: a piece that is a token is always that token there")
        return
    ids = dict(model.tokens)
    tokens = {id: token for token, id in model.tokens}
    made = [ids[tokens[left] + tokens[right]] for left, right in model.merges.tolist()]
    longer = [id for token, id in model.tokens if len(token) > 1]
    if made != longer:
        raise ValueError("tiktoken: the merges are not one a token, in the order of ids")
    order = np.array([id for _, id in model.tokens])
    merging = BytePair.make(replace(model, pattern=None, whole_pieces=False), ())
    encoded, offsets = merging.encode_batch(list(ids), None, 0)
    if len(encoded) != len(order) or (encoded != order).any():
        lengths = np.diff(offsets)
        token = list(ids)[int(np.flatnonzero(lengths != 1)[0])]
        raise ValueError(f"tiktoken: merging does not make {token!r}, which tiktoken would use")
