"""Ids of models that know words back to text, by one of Hugging Face's decoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tokfrag.tokens import byte_alphabet


class TokenJoiner(Protocol):
    """Tokens to text one by one: ``push`` gives what is settled, ``finish`` the rest."""

    def push(self, token: str) -> str | bytes:
        """Add a token; return the text that no later one can change."""

    def finish(self) -> str | bytes:
        """Return the rest."""


class TokenDecoding(Protocol):
    """How tokens become text."""

    def joiner(self) -> TokenJoiner:
        """Return what joins tokens one by one."""


@dataclass(frozen=True)
class WordPieceDecoding:
    """Words parted by blanks; what begins with ``prefix`` goes on with the word before.

    With ``clean_up``, the blanks before punctuation go.
    """

    prefix: str = "##"
    clean_up: bool = True

    def joiner(self) -> TokenJoiner:
        """Return what joins tokens one by one."""
        return _WordPieces(self)


class _WordPieces:
    def __init__(self, decoding: WordPieceDecoding) -> None:
        self._decoding = decoding
        self._begun = False

    def push(self, token: str) -> str:
        decoding = self._decoding
        if self._begun and token.startswith(decoding.prefix):
            token = token.replace(decoding.prefix, "", 1)
        elif self._begun:
            token = " " + token
        self._begun = True
        return clean_up(token) if decoding.clean_up else token

    def finish(self) -> str:
        self._begun = False
        return ""


@dataclass(frozen=True)
class SuffixDecoding:
    """The suffix that ends words becomes a blank, but for that of the last token."""

    suffix: str = "</w>"

    def joiner(self) -> TokenJoiner:
        """Return what joins tokens one by one."""
        return _Suffixed(self.suffix)


class _Suffixed:
    def __init__(self, suffix: str) -> None:
        self._suffix = suffix
        self._last = ""

    def push(self, token: str) -> str:
        settled = self._last.replace(self._suffix, " ")
        self._last = token
        return settled

    def finish(self) -> str:
        rest, self._last = self._last.replace(self._suffix, ""), ""
        return rest


@dataclass(frozen=True)
class ByteLevelDecoding:
    """The characters of tokens stand for bytes (GPT-2's alphabet); other tokens are themselves."""

    def joiner(self) -> TokenJoiner:
        """Return what joins tokens one by one."""
        return _ByteLevel()


class _ByteLevel:
    def push(self, token: str) -> bytes:
        spelled = byte_alphabet.to_bytes(token)
        return token.encode() if spelled is None else spelled

    def finish(self) -> bytes:
        return b""


def clean_up(token: str) -> str:
    """Take out the blanks before punctuation and English endings, as Hugging Face's decoder does.

    >>> clean_up(" n't")
    "n't"
    """
    for blanked, joined in (
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ):
        token = token.replace(blanked, joined)
    return token
