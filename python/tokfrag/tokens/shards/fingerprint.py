"""A hash of all that the ids of a text depend on, and the hashes of an earlier release."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import chain

import numpy as np

from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.pipeline import TextPipeline
from tokfrag.tokens.specification import AddedToken, Pipeline, WordPieceModel

_VERSION = "2:"
# What has an effect on decoding alone.
_DECODING = frozenset({"spaced_decoding", "clean_up_decoding", "decoding", "layout", "normal"})


def fingerprint(way: TextPipeline) -> str:
    """A hash of the specification: of the model, the added tokens and what is done to the text.

    Roles, templates, truncation and padding do not count. It begins with a version.
    """
    pipeline = way.values
    digest = hashlib.sha256()
    for part in _leaves(
        (
            way.model.description,
            pipeline.added_tokens,
            pipeline.normalizers,
            pipeline.prefix_space,
        )
    ):
        digest.update(b"%d:" % len(part) + part)
    return _VERSION + digest.hexdigest()


def is_fingerprint(text: str) -> bool:
    """Whether :func:`fingerprint` of this release has made it."""
    return text.startswith(_VERSION)


def _leaves(value: object) -> Iterator[bytes]:
    """A value as byte strings, from which nothing but that value could come."""
    if is_dataclass(value):
        yield type(value).__name__.encode()
        for item in fields(value):
            if item.name not in _DECODING:
                yield item.name.encode()
                yield from _leaves(getattr(value, item.name))
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype.str}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, tuple) and _is_table(value):
        # A vocabulary, of a hundred thousand entries and more.
        texts = [text.encode() if isinstance(text, str) else text for text, _ in value]
        yield b"bytes" if isinstance(value[0][0], bytes) else b"str"
        yield np.array([len(text) for text in texts], np.int64).tobytes()
        yield b"".join(texts)
        yield np.array([id for _, id in value], np.int64).tobytes()
    elif isinstance(value, tuple):
        yield b"(%d" % len(value)
        yield from chain.from_iterable(map(_leaves, value))
    else:
        yield f"{type(value).__name__} {value!r}".encode()


def _is_table(value: tuple[object, ...]) -> bool:
    first = value[0] if value else None
    return (
        isinstance(first, tuple)
        and len(first) == 2
        and isinstance(first[0], (bytes, str))
        and type(first[1]) is int
    )


# Until version 2 the state of the pickle was hashed. It is made here as it was then, so that
# folders of that time can be resumed.


def earlier_fingerprints(way: TextPipeline) -> set[str]:
    """The hashes that version 0.1 may have given the same tokenizer."""
    pipeline, model = way.values, way.model
    described = _earlier_pipeline(pipeline, model.description)
    if not isinstance(model, BytePair):
        text = f"Specification(model={model.description!r}, pipeline={described})"
        return {_earlier_hash([("Specification", text)])}
    blob, offsets, ids = model.native.vocabulary()
    state: list[object] = [
        blob,
        offsets,
        ids,
        model.pattern,
        {token.content: token.id for token in pipeline.added_tokens},
        model.merges,
        model.whole_pieces,
    ]
    found = {_earlier_hash([*state, ("Pipeline", described)])}
    plain = Pipeline(tuple(AddedToken(token.content, token.id) for token in pipeline.added_tokens))
    if described == _earlier_pipeline(plain, model.description):
        found.add(_earlier_hash(state))
    return found


def _earlier_pipeline(pipeline: Pipeline, description: object) -> str:
    clean_up = description.clean_up_decoding if isinstance(description, WordPieceModel) else True
    return (
        f"Pipeline(added_tokens={pipeline.added_tokens!r}, normalizers={pipeline.normalizers!r}, "
        f"prefix_space={pipeline.prefix_space!r}, template={pipeline.template!r}, "
        f"trim_offsets={pipeline.trim_offsets!r}, "
        f"trim_prefix_space={pipeline.trim_prefix_space!r}, "
        f"clean_up_decoding={clean_up!r}, call={pipeline.call!r})"
    )


def _earlier_hash(parts: list[object]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
            continue
        name, data = type(part).__name__, repr(part).encode()
        if isinstance(part, tuple):
            name, data = part[0], part[1].encode()
        elif isinstance(part, bytes):
            data = part
        digest.update(f"{name}{len(data)}:".encode() + data)
    return digest.hexdigest()


__all__ = ["earlier_fingerprints", "fingerprint", "is_fingerprint"]
