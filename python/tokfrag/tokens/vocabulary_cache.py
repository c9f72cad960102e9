"""What loading a vocabulary makes, kept in a file: loading it again is little more than reading."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag import _core
from tokfrag._core import tokens as _native
from tokfrag._files import whole_file
from tokfrag.tokens.specification import AddedToken, CallDefaults, Pipeline, Profile, Template

_SUFFIX = ".tokfrag"
_HEAD = struct.Struct("<8sQQ")  # magic, length and checksum of the settings
_MAGIC = b"tokfrag\0"
_SETTINGS_VERSION = 2  # of what the settings hold


class Stored(NamedTuple):
    """What a cache holds: settings in JSON, merges by index, and native tables."""

    settings: dict[str, Any]
    merges: NDArray[np.uint32] | None
    archive: memoryview


class VocabularyCache:
    """The cache of one vocabulary file, believed only for the very content that it was made from.

    Parameters
    ----------
    path
        Of the cache.
    content
        The source's, byte for byte.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        self._maker = {
            "source": hashlib.sha256(content).hexdigest(),
            "version": _core.__version__,
            "archive": _native.ARCHIVE_VERSION,
            "settings": _SETTINGS_VERSION,
            "byteorder": sys.byteorder,
        }

    @classmethod
    def chosen(
        cls, cache: bool | str | os.PathLike[str], path: str | os.PathLike[str], content: bytes
    ) -> VocabularyCache | None:
        """The cache that a ``cache=`` argument asks for: see :meth:`Tokenizer.from_tiktoken`."""
        if cache is False:
            return None
        if cache is not True:
            return cls(Path(cache), content)
        folder = os.environ.get("TOKFRAG_CACHE_DIR")
        source = Path(path)
        if folder is None:
            return cls(source.with_name(source.name + _SUFFIX), content)
        if not folder:
            return None
        name = f"{source.name}-{hashlib.sha256(content).hexdigest()[:16]}{_SUFFIX}"
        return cls(Path(folder) / name, content)

    def read(self) -> Stored | None:
        """What the cache holds; None where there is none, or it is damaged or of something else.

        The archive has a checksum of its own, which the native side looks at.
        """
        try:
            # NumPy asks for huge pages for what is large.
            data = np.fromfile(self.path, np.uint8).data
        except OSError:
            return None
        if len(data) < _HEAD.size:
            return None
        magic, length, checksum = _HEAD.unpack_from(data)
        settings = data[_HEAD.size : _HEAD.size + length]
        if magic != _MAGIC or len(settings) != length or _native.checksum(settings) != checksum:
            return None
        rest = data[_HEAD.size + length :]
        try:
            read = json.loads(bytes(settings))
            if read["maker"] != self._maker:
                return None
            if read["merges"] is None:
                return Stored(read["settings"], None, rest)
            size = 8 * read["merges"]["rows"]
            if _native.checksum(rest[:size]) != read["merges"]["checksum"]:
                return None
            merges = np.frombuffer(rest[:size], np.uint32).reshape(-1, 2)
            return Stored(read["settings"], merges, rest[size:])
        except (ValueError, TypeError, LookupError, RecursionError):
            return None  # not of our making, though its checksum fits

    def write(
        self, settings: dict[str, Any], merges: NDArray[np.uint32] | None, archive: bytes
    ) -> None:
        """Replace the cache, whole or not at all; warns where that fails."""
        pairs = None if merges is None else np.ascontiguousarray(merges, np.uint32)
        described = None
        if pairs is not None:
            described = {"rows": len(pairs), "checksum": _native.checksum(pairs.data)}
        document = {"maker": self._maker, "settings": settings, "merges": described}
        text = json.dumps(document).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as file:
                file.write(_HEAD.pack(_MAGIC, len(text), _native.checksum(text)))
                file.write(text)
                if pairs is not None:
                    file.write(pairs.data)
                file.write(archive)
        except OSError as error:
            warnings.warn(
                f"cache: {self.path} cannot be written: {error}", RuntimeWarning, stacklevel=4
            )


def pipeline_to_json(pipeline: Pipeline) -> dict[str, Any]:
    """A pipeline as plain values."""
    return asdict(pipeline)


def pipeline_from_json(values: dict[str, Any]) -> Pipeline:
    """What :func:`pipeline_to_json` has been given.

    >>> pipeline = Pipeline((AddedToken("<s>", 3),), template=Template((("A", 0), (3, 1))))
    >>> pipeline_from_json(json.loads(json.dumps(pipeline_to_json(pipeline)))) == pipeline
    True
    """
    template = {
        name: tuple((item, kind) for item, kind in items)
        for name, items in values["template"].items()
    }
    profile = values["profile"]
    roles = profile["roles"]
    if roles is not None:
        profile = {**profile, "roles": tuple((role, token) for role, token in roles)}
    if isinstance(profile["chat_template"], list):
        profile = {**profile, "chat_template": tuple(map(tuple, profile["chat_template"]))}
    made = {
        "added_tokens": tuple(AddedToken(**token) for token in values["added_tokens"]),
        "normalizers": tuple(values["normalizers"]),
        "template": Template(**template),
        "call": CallDefaults(**values["call"]),
        "profile": Profile(**profile),
    }
    return Pipeline(**{**values, **made})


__all__ = ["Stored", "VocabularyCache", "pipeline_from_json", "pipeline_to_json"]
