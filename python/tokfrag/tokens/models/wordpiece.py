"""WordPiece, as BERT has it: the ids of Hugging Face's ``BertWordPieceTokenizer``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag import _bert_characters as tables
from tokfrag._bert_tables import HANGUL, code_points, replacements, strip_char
from tokfrag._core import wordpiece as _native
from tokfrag.tokens.arguments import check_count
from tokfrag.tokens.contracts import Ids, Joiner, Offsets
from tokfrag.tokens.models.spelled import Spelled
from tokfrag.tokens.models.word_decoding import clean_up
from tokfrag.tokens.specification import AddedToken, WordPieceModel

_MOST_IDS = (1 << 24) - 1
# The fates of a character, as csrc/tokens/wordpiece/wordpiece.hpp numbers it.
_CHAR, _SPACE, _ALONE, _DROPPED, _STARTER, _MARK, _SEVERAL = (kind << 29 for kind in range(7))


class WordPiece:
    """BERT's model, its normaliser and splitter included.

    Text is cleaned, split at white space, punctuation and around Chinese characters, and each word
    is cut into the longest tokens from the left (in time linear in the word: arXiv 2012.15524); a
    word that cannot be cut so is unknown. Decoding puts blanks between words, as BERT's does:
    encoding loses the white space between them.

    Parameters
    ----------
    description : WordPieceModel
        Ids are 0 to the number of tokens less 1, or with gaps below ``2**24 - 1``.
    added : tuple of AddedToken
        The tokens that are added to it.

    Raises
    ------
    ValueError
        The unknown token is missing, or two tokens have one id.
    """

    __slots__ = ("_added", "_ids", "_native", "_tokens", "description", "encode")

    description: WordPieceModel
    encode: Callable[..., Ids]

    def __init__(self, description: WordPieceModel, added: tuple[AddedToken, ...] = ()) -> None:
        ids: dict[str, int] = {}
        for token, id in description.tokens:
            if not isinstance(token, str):
                raise TypeError(f"vocab: got the token {token!r}, takes str")
            if token in ids:
                raise ValueError(f"vocab: {token!r} is there twice")
            ids[token] = check_count(f"vocab[{token!r}]", id, 0, _MOST_IDS - 1)
        if description.unknown_token not in ids:
            raise ValueError(
                f"unknown: got {description.unknown_token!r}, which the vocabulary lacks"
            )
        own = _by_id(ids)
        for extra in added:
            if ids.setdefault(extra.content, extra.id) != extra.id:
                raise ValueError(f"added_tokens: {extra.content!r} has two ids")
        longest = check_count("max_word_length", description.max_word_length, 0)
        self.description = description
        self._added = added
        self._ids = ids
        self._tokens = _by_id(ids)
        for extra in added:
            self._tokens[extra.id] = extra.spelling
        units, lists = character_units(
            description.lowercase,
            description.strip_accents,
            description.clean_text,
            description.split_chinese,
        )
        native = _native.WordPiece(
            # A word is never an added token: these are found before.
            [token.encode() for token in own],
            description.prefix.encode(),
            units,
            lists,
            ids[description.unknown_token],
            longest,
        )
        self._native = native
        self.encode = native.encode

    @classmethod
    def make(cls, description: WordPieceModel, added: tuple[AddedToken, ...]) -> WordPiece:
        """The model of a description."""
        return cls(description, added)

    def __reduce__(self) -> tuple[Any, ...]:
        return WordPiece, (self.description, self._added)

    # Vocabulary.

    @property
    def id_count(self) -> int:
        """One more than the highest id."""
        return len(self._tokens)

    @property
    def finds_added(self) -> bool:
        """False: what stands around it cuts the text at added tokens."""
        return False

    @property
    def cuts(self) -> str | None:
        """Between words of ASCII letters."""
        return "plain"

    def token_id(self, token: str) -> int | None:
        """The id of a token."""
        return self._ids.get(token)

    def spelling(self, id: int) -> str | None:
        """The token of an id."""
        return (self._tokens[id] or None) if 0 <= id < len(self._tokens) else None

    def bytes_id(self, token: bytes) -> int | None:
        """The id of a token in UTF-8."""
        return self._ids.get(token.decode("utf-8", "surrogateescape"))

    def token_bytes(self, id: int) -> bytes | None:
        """The token of an id in UTF-8."""
        token = self.spelling(id)
        return None if token is None else token.encode()

    # Encoding and decoding.

    def encode_batch(
        self,
        texts: Sequence[str | bytes],
        allowed: bytes | None,
        threads: int,
        inner: bytes | None = None,
    ) -> tuple[Ids, Offsets]:
        """The ids of many texts; an invalid byte is U+FFFD, which cleaning removes."""
        return self._native.encode_batch(texts, threads)

    def encode_with_dropout(
        self,
        texts: Sequence[str | bytes],
        streams: NDArray[np.uint64],
        probability: float,
        seed: int,
        threads: int,
    ) -> tuple[Ids, Offsets]:
        """Refused."""
        raise ValueError(f"dropout: got {probability!r}; WordPiece merges nothing, takes 0")

    def encode_spans(
        self,
        text: str | bytes,
        allowed: bytes | None = None,
        *,
        inner: bool = False,
        limit: int | None = None,
    ) -> tuple[Ids, Offsets]:
        """The ids of a text, and the bytes that each stands for.

        From the first character of the token to behind the last: characters that normalisation
        removes belong to a token only inside it.
        """
        return self._native.encode_spans(text)

    def count_batch(self, texts: Sequence[str | bytes], threads: int) -> NDArray[np.int64]:
        """How many ids each text has."""
        return np.diff(self._native.encode_batch(texts, threads)[1])

    def decode(self, ids: NDArray[Any]) -> bytes:
        """Words parted by blanks, as Hugging Face's WordPiece decoder joins them."""
        joiner = self.joiner()
        return b"".join([joiner.push(id) for id in ids.tolist()])

    def joiner(self) -> Joiner:
        """Decode id by id."""
        if self.description.spaced_decoding:
            return Spelled(self.spelling)
        return _Words(self._tokens, self.description.prefix, self.description.clean_up_decoding)


class _Words:
    """Words parted by blanks: the text of a token depends on whether it is the first."""

    __slots__ = ("_begun", "_clean_up", "_prefix", "_tokens")

    def __init__(self, tokens: list[str], prefix: str, clean_up: bool) -> None:
        self._tokens = tokens
        self._prefix = prefix
        self._clean_up = clean_up
        self._begun = False

    def push(self, id: int) -> bytes:
        if not 0 <= id < len(self._tokens) or not self._tokens[id]:
            raise IndexError(f"id: no token has id {id}")
        token = self._tokens[id]
        if self._begun and token.startswith(self._prefix):
            token = token.replace(self._prefix, "", 1)
        elif self._begun:
            token = " " + token
        self._begun = True
        return (clean_up(token) if self._clean_up else token).encode()

    def finish(self) -> bytes:
        self._begun = False
        return b""


def _by_id(ids: Mapping[str, int]) -> list[str]:
    tokens = [""] * (1 + max(ids.values(), default=-1))
    for token, id in ids.items():
        if tokens[id]:
            raise ValueError(f"vocab: {tokens[id]!r} and {token!r} have one id, {id}")
        tokens[id] = token
    return tokens


@lru_cache(maxsize=4)
def character_units(
    lowercase: bool, strip: bool, clean: bool, chinese: bool
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return what each character becomes, as the native model takes it.

    Returns
    -------
    units
        ``(0x110000,)`` uint32: a kind in the top 3 bits, its payload below.
    lists
        uint32: for characters that become several, how many, then their units.
    """
    units = np.arange(0x110000, dtype=np.uint32)
    lists: list[int] = [0]
    lowered = replacements(tables.LOWERED) if lowercase else {}
    classes = {code: ord(c) for code, c in replacements(tables.CLASSES).items()} if strip else {}
    white_space = code_points(tables.WHITE_SPACE)
    punctuation = code_points(tables.PUNCTUATION)
    alone = frozenset(punctuation)
    spaces = frozenset(white_space)

    def parts(code: int, char: str, isolated: bool) -> list[int]:
        """The units of one character that cleaning keeps."""
        found: list[int] = []
        for part in strip_char(char) if strip else char:
            for final in lowered.get(ord(part), part):
                number = ord(final)
                if number in spaces:
                    found.append(_SPACE)
                elif number in alone:
                    found.append(_ALONE | number)
                elif ord(part) in classes:
                    found.append(_MARK | classes[ord(part)] << 21 | number)
                else:
                    found.append(number)
        if isolated:
            found = [_SPACE, *found, _SPACE]
            if len(found) == 3 and found[1] < _SPACE:
                return [_ALONE | found[1]]
        return found

    def put(code: int, found: list[int]) -> None:
        if len(found) == 1:
            units[code] = found[0]
        else:
            units[code] = _SEVERAL | len(lists)
            lists.extend([len(found), *found])

    ideographs = code_points(tables.CHINESE) if chinese else []
    special = {*lowered, *classes, *(replacements(tables.STRIPPED) if strip else ())}
    units[ideographs] |= np.uint32(_ALONE)
    units[white_space] = _SPACE
    units[punctuation] |= np.uint32(_ALONE)
    isolated = frozenset(ideographs)
    for code in sorted(special | (isolated & alone)):
        put(code, parts(code, chr(code), code in isolated))
    if strip:
        for code in HANGUL:
            put(code, parts(code, chr(code), False))
        units[code_points(tables.MARKS)] = _DROPPED
        units[code_points(tables.STARTER_MARKS)] = _STARTER
    if clean:
        units[code_points(tables.DROPPED)] = _DROPPED
        units[code_points(tables.SPACES)] = _SPACE
    return units, np.array(lists, np.uint32)
