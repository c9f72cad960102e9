"""WordPiece, as BERT has it: the ids of Hugging Face's ``BertWordPieceTokenizer``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from tokfrag import _bert_characters as tables
from tokfrag._core import wordpiece as _native
from tokfrag.reference.wordpiece import HANGUL, code_points, replacements, strip_char
from tokfrag.tokens.checks import check_count, check_threads

_SPECIALS = ("[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]")
_MOST_IDS = (1 << 24) - 1
# What a character becomes, as csrc/tokens/wordpiece/wordpiece.hpp numbers it.
_CHAR, _SPACE, _ALONE, _DROPPED, _STARTER, _MARK, _SEVERAL = (kind << 29 for kind in range(7))


class WordPieceTokenizer:
    """BERT's tokenizer: immutable, shared by threads, pickled by its arguments.

    Text is cleaned, split at white space, punctuation and around Chinese characters, and each word
    is cut into the longest tokens from the left (in time linear in the word: arXiv 2012.15524); a
    word that cannot be cut so is ``unknown``. Ids are those of Hugging Face's
    ``BertWordPieceTokenizer`` for every text.

    Parameters
    ----------
    vocab
        The id of each token: 0 to ``len(vocab) - 1``, or with gaps below ``2**24 - 1``.
    lowercase
        Lower the case (of each character by itself: no final sigma).
    strip_accents
        Remove accents; None: if ``lowercase``.
    clean_text
        Remove control characters, make every white space a blank.
    handle_chinese_chars
        Make every Chinese character a word.
    unknown
        The token of words that cannot be cut into tokens.
    prefix
        How tokens begin that continue a word.
    longest_word
        Longer words, in characters, are unknown.
    special_tokens
        Tokens that :meth:`encode` may find in the text as they are (``specials=True``); by default
        those of ``[UNK] [SEP] [CLS] [PAD] [MASK]`` that the vocabulary has.

    Raises
    ------
    ValueError
        The vocabulary lacks ``unknown``, a special token, or gives one id twice.

    Examples
    --------
    >>> vocab = {"[UNK]": 0, "un": 1, "##able": 2, "!": 3}
    >>> WordPieceTokenizer(vocab).encode("Unable! unfit").tolist()
    [1, 2, 3, 0]
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        unknown: str = "[UNK]",
        prefix: str = "##",
        longest_word: int = 100,
        special_tokens: Sequence[str] | None = None,
    ) -> None:
        self._ids = _check_vocab(vocab)
        if unknown not in self._ids:
            raise ValueError(f"unknown: got {unknown!r}, which the vocabulary lacks")
        if special_tokens is None:
            special_tokens = [token for token in _SPECIALS if token in self._ids]
        for token in special_tokens:
            if not token or token not in self._ids:
                raise ValueError(f"special_tokens: got {token!r}, which the vocabulary lacks")
        self._special = tuple(special_tokens)
        self._prefix = prefix
        self._options: dict[str, Any] = {
            "lowercase": bool(lowercase),
            "strip_accents": strip_accents,
            "clean_text": bool(clean_text),
            "handle_chinese_chars": bool(handle_chinese_chars),
            "unknown": unknown,
            "prefix": prefix,
            "longest_word": check_count("longest_word", longest_word, 0),
            "special_tokens": self._special,
        }
        self._tokens = [""] * (1 + max(self._ids.values()))
        for token, id in self._ids.items():
            self._tokens[id] = token
        strip = lowercase if strip_accents is None else strip_accents
        units, lists = character_units(
            bool(lowercase), bool(strip), bool(clean_text), bool(handle_chinese_chars)
        )
        self._model = _native.WordPiece(
            [token.encode() for token in self._tokens],
            prefix.encode(),
            units,
            lists,
            [(token.encode(), self._ids[token]) for token in special_tokens],
            self._ids[unknown],
            longest_word,
        )

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        unknown: str = "[UNK]",
        prefix: str = "##",
        longest_word: int = 100,
    ) -> WordPieceTokenizer:
        """Read a ``vocab.txt``: a token a line, its id the number of the line, from 0.

        Raises
        ------
        ValueError
            A line is not UTF-8 or holds a token for the second time; both name the line.
        """
        return cls(
            read_vocab(path),
            lowercase=lowercase,
            strip_accents=strip_accents,
            clean_text=clean_text,
            handle_chinese_chars=handle_chinese_chars,
            unknown=unknown,
            prefix=prefix,
            longest_word=longest_word,
        )

    @property
    def vocab(self) -> dict[str, int]:
        """The id of each token, in a new dict."""
        return dict(self._ids)

    @property
    def vocab_size(self) -> int:
        """The highest id, and one."""
        return len(self._tokens)

    @property
    def special_tokens(self) -> dict[str, int]:
        """The id of each special token."""
        return {token: self._ids[token] for token in self._special}

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token, or None."""
        return self._ids.get(token)

    def id_to_token(self, id: SupportsIndex) -> str:
        """Return the token of an id; IndexError if it has none."""
        number = check_count("id", id, -(2**63))
        if not 0 <= number < len(self._tokens):
            raise IndexError(f"id: got {number}, takes 0 to {len(self._tokens) - 1}")
        return self._tokens[number]

    def encode(
        self, text: str | bytes, *, specials: bool = False, add_special_tokens: bool = False
    ) -> NDArray[np.uint32]:
        """Return the ids of one text.

        Parameters
        ----------
        text
            str, or bytes in UTF-8 (each invalid byte is U+FFFD, which cleaning removes).
        specials
            Find special tokens in the text, instead of reading ``[SEP]`` as three words. Hugging
            Face does; text from others is safe only where it is not done.
        add_special_tokens
            Put ``[CLS]`` before and ``[SEP]`` behind.

        Returns
        -------
        ids
            ``(n,)`` uint32.
        """
        return self.encode_batch([text], specials=specials, add_special_tokens=add_special_tokens)[
            0
        ]

    def encode_batch(
        self,
        texts: Iterable[str | bytes],
        *,
        specials: bool = False,
        add_special_tokens: bool = False,
        threads: SupportsIndex | None = None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the ids of many texts in one array, and where each text's begin and end.

        Parameters
        ----------
        texts
            str or bytes, each on its own.
        specials, add_special_tokens
            As in :meth:`encode`.
        threads
            At most so many; by default as many as there are processors.

        Returns
        -------
        ids
            ``(n,)`` uint32, text after text.
        offsets
            ``(len(texts) + 1,)`` int64: text ``i`` has ``ids[offsets[i]:offsets[i + 1]]``.

        Raises
        ------
        TypeError
            An item is neither str nor bytes.
        ValueError
            A str holds a lone surrogate.

        Examples
        --------
        >>> tokenizer = WordPieceTokenizer({"[UNK]": 0, "a": 1, "b": 2})
        >>> tokenizer.encode_batch(["a b", "b"])
        (array([1, 2, 2], dtype=uint32), array([0, 2, 3]))
        """
        if isinstance(texts, (str, bytes)):
            raise TypeError(f"texts: got one {type(texts).__name__}, takes an iterable of them")
        before, after = self._around(add_special_tokens)
        return self._model.encode_batch(
            list(texts), bool(specials), before, after, check_threads(threads)
        )

    def encode_with_offsets(
        self,
        text: str | bytes,
        *,
        unit: str = "char",
        specials: bool = False,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the ids of one text and where in it each token begins and ends.

        Parameters
        ----------
        text, specials
            As in :meth:`encode`.
        unit
            ``"char"`` or ``"byte"`` (of UTF-8): what the places count.

        Returns
        -------
        ids
            ``(n,)`` uint32.
        offsets
            ``(n, 2)`` int64: from the first character of the token to behind the last. Characters
            that normalisation removes belong to a token only inside it.
        """
        if unit not in ("char", "byte"):
            raise ValueError(f"unit: got {unit!r}, takes 'char' or 'byte'")
        ids, spans = self._model.encode_spans(text, bool(specials))
        if unit == "char" and not (isinstance(text, str) and text.isascii()):
            data = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)
            # A character begins at every byte that does not continue one.
            before = np.concatenate([[0], np.cumsum(data & 0xC0 != 0x80)])
            spans = before[spans]
        return ids, spans

    def count(self, text: str | bytes) -> int:
        """Return the number of ids of one text."""
        return len(self.encode(text))

    def decode(
        self,
        ids: Iterable[SupportsIndex],
        *,
        skip_special_tokens: bool = True,
        cleanup: bool = True,
    ) -> str:
        """Return the text of ids as Hugging Face's WordPiece decoder does: words parted by blanks.

        Parameters
        ----------
        ids
            Ids of the vocabulary; IndexError names the first that is not.
        skip_special_tokens
            Leave the special tokens out.
        cleanup
            Take away the blanks before ``. ? ! ,`` and in English contractions.
        """
        special = set(self.special_tokens.values()) if skip_special_tokens else set()
        parts: list[str] = []
        for id in ids:
            token = self.id_to_token(id)
            if self._ids[token] in special:
                continue
            if parts and token.startswith(self._prefix):
                token = token.replace(self._prefix, "", 1)
            elif parts:
                token = " " + token
            parts.append(_cleanup(token) if cleanup else token)
        return "".join(parts)

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"WordPieceTokenizer: {len(self._ids)} tokens, {self._options}"

    def __getstate__(self) -> tuple[dict[str, int], dict[str, Any]]:
        return self._ids, self._options

    def __setstate__(self, state: tuple[dict[str, int], dict[str, Any]]) -> None:
        vocab, options = state
        self.__init__(vocab, **options)  # type: ignore[misc]

    def _around(self, add: bool) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        names = ("[CLS]", "[SEP]") if add else ()
        for name in names:
            if name not in self._ids:
                raise ValueError(f"add_special_tokens: the vocabulary lacks {name!r}")
        ids = np.array([self._ids[name] for name in names], np.uint32)
        return ids[:1], ids[1:]


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


def _check_vocab(vocab: Mapping[str, int]) -> dict[str, int]:
    checked: dict[str, int] = {}
    for token, id in vocab.items():
        if not isinstance(token, str):
            raise TypeError(f"vocab: got the token {token!r}, takes str")
        checked[token] = check_count(f"vocab[{token!r}]", id, 0, _MOST_IDS - 1)
    if len(set(checked.values())) < len(checked):
        seen: dict[int, str] = {}
        for token, id in checked.items():
            if id in seen:
                raise ValueError(f"vocab: {seen[id]!r} and {token!r} have one id, {id}")
            seen[id] = token
    return checked


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


def _cleanup(token: str) -> str:
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
