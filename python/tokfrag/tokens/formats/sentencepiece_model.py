"""Reading sentencepiece's ``.model`` files: protobuf's wire format, of which they use a part."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class PieceType(IntEnum):
    """What a piece of a model is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One token of a model: its id is its place."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True)
class SentencePieceFile:
    """What a ``.model`` file says: the pieces and how text is written before it is cut.

    ``kind`` is ``"unigram"`` or ``"bpe"``; the other values have the names of the file's own
    fields.
    """

    kind: str
    pieces: tuple[Piece, ...]
    byte_fallback: bool = False
    unk_surface: str = " \u2047 "
    precompiled_charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True

    @property
    def unknown(self) -> int:
        """The id of the piece for unknown characters."""
        return next(i for i, p in enumerate(self.pieces) if p.type is PieceType.UNKNOWN)


_KINDS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def read_sentencepiece(path: str | os.PathLike[str]) -> SentencePieceFile:
    """Read a ``.model`` file of sentencepiece, without the sentencepiece package.

    Parameters
    ----------
    path
        A file that sentencepiece's trainer wrote, of type unigram or bpe.

    Raises
    ------
    ValueError
        The file is no such model, is cut short, or asks for what cannot be reproduced; the message
        names the file and the place.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "x.model")
    ...     _ = path.write_bytes(b"\\n@<unk>")
    ...     read_sentencepiece(path)
    Traceback (most recent call last):
    ValueError: ...x.model: pieces: got a file cut short at byte 2, takes a sentencepiece model
    """
    data = Path(path).read_bytes()
    try:
        return parse_sentencepiece(data)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def parse_sentencepiece(data: bytes) -> SentencePieceFile:
    """Read the bytes of a ``.model`` file; see :func:`read_sentencepiece`."""
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    denormalizer: dict[int, int | bytes] = {}
    for number, value in _fields(data, "pieces"):
        if number == 1:
            pieces.append(_piece(_message(value, f"pieces[{len(pieces)}]"), len(pieces)))
        elif number == 2:
            trainer = dict(_fields(_message(value, "trainer_spec"), "trainer_spec"))
        elif number == 3:
            normalizer = dict(_fields(_message(value, "normalizer_spec"), "normalizer_spec"))
        elif number == 5:
            denormalizer = dict(_fields(_message(value, "denormalizer_spec"), "denormalizer_spec"))
    for name, fields in (("trainer_spec", trainer), ("normalizer_spec", normalizer)):
        if not fields:
            raise ValueError(f"{name}: got none, takes a sentencepiece model")
    kind = _KINDS.get(_integer(trainer, 3, 1), "?")
    if kind not in ("unigram", "bpe"):
        raise ValueError(f"trainer_spec.model_type: got {kind!r}, takes 'unigram' or 'bpe'")
    if sum(piece.type is PieceType.UNKNOWN for piece in pieces) != 1:
        raise ValueError("pieces: got not one of type unknown, takes a sentencepiece model")
    if _integer(trainer, 24, 0):
        raise ValueError("trainer_spec.treat_whitespace_as_suffix: got true, takes false")
    if not _integer(normalizer, 5, 1):
        raise ValueError("normalizer_spec.escape_whitespaces: got false, takes true")
    if denormalizer.get(2):
        raise ValueError("denormalizer_spec.precompiled_charsmap: got rules, takes none")
    surface = trainer.get(44, " \u2047 ".encode())
    return SentencePieceFile(
        kind,
        tuple(pieces),
        bool(_integer(trainer, 35, 0)),
        _text(surface, "trainer_spec.unk_surface"),
        _message(normalizer.get(2, b""), "normalizer_spec.precompiled_charsmap"),
        bool(_integer(normalizer, 3, 1)),
        bool(_integer(normalizer, 4, 1)),
    )


def _piece(message: bytes, index: int) -> Piece:
    fields = dict(_fields(message, f"pieces[{index}]"))
    text = _text(fields.get(1, b""), f"pieces[{index}].piece")
    score = struct.unpack("<f", _message(fields.get(2, bytes(4)), f"pieces[{index}].score"))[0]
    number = _integer(fields, 3, 1)
    if not text:
        raise ValueError(f"pieces[{index}].piece: got '', takes at least one character")
    if number not in tuple(PieceType):
        raise ValueError(f"pieces[{index}].type: got {number}, takes 1 to 6")
    return Piece(text, score, PieceType(number))


def _integer(fields: dict[int, int | bytes], number: int, default: int) -> int:
    value = fields.get(number, default)
    return value if isinstance(value, int) else default


def _message(value: int | bytes, where: str) -> bytes:
    if isinstance(value, int):
        raise ValueError(f"{where}: got a number, takes a sentencepiece model")
    return value


def _text(value: int | bytes, where: str) -> str:
    try:
        return _message(value, where).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{where}: got bytes that are not UTF-8") from None


def _fields(data: bytes, where: str) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: numbers as they are, everything else as its bytes."""
    at = 0

    def cut_short() -> ValueError:
        return ValueError(
            f"{where}: got a file cut short at byte {at}, takes a sentencepiece model"
        )

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise cut_short()
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        tag = varint()
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            yield number, varint()
            continue
        if wire not in (_EIGHT, _BYTES, _FOUR) or number == 0:
            raise ValueError(
                f"{where}: got an unknown field at byte {at}, takes a sentencepiece model"
            )
        size = varint() if wire == _BYTES else 8 if wire == _EIGHT else 4
        if at + size > len(data):
            raise cut_short()
        yield number, data[at : at + size]
        at += size
