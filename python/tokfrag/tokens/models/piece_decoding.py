"""Ids of SentencePiece-like models back to text, as Hugging Face or SentencePiece has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tokfrag.tokens.models.text_steps import METASPACE

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_of_byte(token: str) -> int | None:
    """Return the byte that a token such as ``"<0x0A>"`` stands for; None: it is no such token."""
    match = _BYTE.fullmatch(token)
    return None if match is None else int(match[1], 16)


def _decode_run(run: bytes) -> str:
    """A run of bytes is the text it spells, or a U+FFFD each."""
    try:
        return run.decode()
    except UnicodeDecodeError:
        return "\ufffd" * len(run)


@dataclass(frozen=True)
class PieceDecoding:
    """Hugging Face's decoders ``Replace``, ``ByteFallback``, ``Fuse``, ``Strip``, ``Metaspace``.

    Parameters
    ----------
    replace : tuple of (str, str)
        In each token every first text becomes the second, pair after pair.
    byte_fallback : bool
        Runs of tokens such as ``<0x0A>`` are the bytes they name.
    strip : (str, int)
        A character and how many of it go from the beginning of the whole.
    drop_first : str
        A character that goes from the whole first token (``Metaspace`` with a prefix).
    joint : str
        Stands between tokens: a blank where a file names no decoder at all.
    """

    replace: tuple[tuple[str, str], ...] = ((METASPACE, " "),)
    byte_fallback: bool = False
    strip: tuple[str, int] = (" ", 0)
    drop_first: str = ""
    joint: str = ""

    def joiner(self) -> PieceJoiner:
        """Return what joins tokens one by one."""
        return PieceJoiner(self)


class PieceJoiner:
    """Tokens to text, one by one: ``push`` gives what is settled, ``finish`` the rest.

    >>> joiner = PieceDecoding(byte_fallback=True, strip=(" ", 1)).joiner()
    >>> joiner.push("\\u2581a") + joiner.push("<0xC3>") + joiner.push("<0xA9>") + joiner.finish()
    'aé'
    """

    def __init__(self, decoding: PieceDecoding) -> None:
        self._decoding = decoding
        self._run = bytearray()
        self._begun = False
        self._strip_left = decoding.strip[1]

    def push(self, token: str) -> str:
        """Add a token; return the text that no later token can change."""
        decoding = self._decoding
        if not self._begun and decoding.drop_first:
            token = token.replace(decoding.drop_first, "")
        joint = decoding.joint if self._begun else ""
        self._begun = True
        for old, new in decoding.replace:
            token = token.replace(old, new)
        if decoding.byte_fallback:
            byte = token_of_byte(token)
            if byte is not None:
                self._run.append(byte)
                return ""
        return self._strip(self._take_run() + joint + token)

    def finish(self) -> str:
        """Return the text of the bytes at the end; the joiner is then as new."""
        text = self._strip(self._take_run())
        self._begun = False
        self._strip_left = self._decoding.strip[1]
        return text

    def _take_run(self) -> str:
        run = _decode_run(bytes(self._run))
        self._run.clear()
        return run

    def _strip(self, text: str) -> str:
        while self._strip_left and text:
            if text[0] != self._decoding.strip[0]:
                self._strip_left = 0
                break
            text = text[1:]
            self._strip_left -= 1
        return text


@dataclass(frozen=True)
class ModelDecoding:
    """SentencePiece's own decoding of a ``.model``'s pieces.

    ``control``, ``unknown`` and ``bytes`` say which ids are of these types; ``prefix`` whether the
    first metaspace goes, ``blanks`` whether all do that the text begins with.
    """

    control: frozenset[int]
    unknown: int
    unk_surface: str
    bytes: tuple[tuple[int, int], ...]
    prefix: bool
    blanks: bool

    def joiner(self) -> ModelJoiner:
        """Return what joins pieces one by one."""
        return ModelJoiner(self)


class ModelJoiner:
    """Pieces to text as SentencePiece has it, one by one."""

    def __init__(self, decoding: ModelDecoding) -> None:
        self._decoding = decoding
        self._bytes: Mapping[int, int] = dict(decoding.bytes)
        self._run = b""
        self._empty = True  # no text yet
        self._strips = decoding.prefix or decoding.blanks

    def push(self, id: int, token: str) -> str:
        """Add a piece; return the text that no later piece can change."""
        if id in self._bytes:
            self._run += bytes([self._bytes[id]])
            return self._take_run(False)
        before = self._take_run(True)
        strips = self._strips and self._empty
        if id in self._decoding.control:
            text = ""
        elif id == self._decoding.unknown:
            text = self._decoding.unk_surface
        else:
            if strips and token.startswith(METASPACE):
                token = token[1:]
                self._strips = self._decoding.blanks
            text = token.replace(METASPACE, " ")
        self._empty &= not text
        return before + text

    def finish(self) -> str:
        """Return the text of the bytes at the end; the joiner is then as new."""
        text = self._take_run(True)
        self._empty = True
        self._strips = self._decoding.prefix or self._decoding.blanks
        return text

    def _take_run(self, ended: bool) -> str:
        """Decode the bytes at hand; a byte that cannot become a character is a U+FFFD."""
        text = ""
        while self._run:
            size = next((n for n in range(1, 5) if _spells(self._run[:n])), 0)
            if not size and not ended and _may_spell(self._run):
                break
            text += self._run[:size].decode() if size else "\ufffd"
            self._run = self._run[size or 1 :]
        self._empty &= not text
        return text


def _spells(data: bytes) -> bool:
    try:
        return len(data.decode()) == 1
    except UnicodeDecodeError:
        return False


def _may_spell(data: bytes) -> bool:
    """Whether bytes could still become a character with more of them."""
    if len(data) > 3:
        return False
    fill = (b"\x80", b"\xbf", b"\x90", b"\x8f", b"\xa0", b"\x9f")
    more = (data + first + b"\x80" * n for first in fill for n in range(3))
    return any(_spells(longer) for longer in more)


def join_pieces(
    push: Callable[[str], str], finish: Callable[[], str], tokens: Iterable[str]
) -> str:
    """Join tokens with a joiner.

    >>> joiner = PieceDecoding(drop_first="\\u2581").joiner()
    >>> join_pieces(joiner.push, joiner.finish, ["\\u2581a", "\\u2581b"])
    'a b'
    """

    def parts() -> Iterator[str]:
        yield from map(push, tokens)
        yield finish()

    return "".join(parts())
