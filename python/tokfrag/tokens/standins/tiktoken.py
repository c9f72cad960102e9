"""Stand in for ``tiktoken.Encoding``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.tokens.arguments import id_array
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.patterns import BYTE_PATTERNS, REGEX
from tokfrag.tokens.pipeline import Piped, Sought
from tokfrag.tokens.words import piece_ends

Special = str | Collection[str]


class Encoding:
    """A :class:`Tokenizer` with the methods of ``tiktoken.Encoding``, and what they mean there.

    Parameters
    ----------
    tokenizer : Tokenizer
        Encodes and decodes.
    name : str, optional
        By default the name of the adopted encoding, or ``"tokfrag"``.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> encoding = Encoding(tok)
    >>> encoding.decode(encoding.encode("hello"))
    'hello'
    """

    def __init__(self, tokenizer: Piped, name: str | None = None) -> None:
        self._way = tokenizer.text_pipeline
        self.name = name or self._way.values.profile.name or "tokfrag"

    def __repr__(self) -> str:
        return f"<Encoding {self.name!r}>"

    # Encoding.

    def encode(
        self,
        text: str,
        *,
        allowed_special: Special = (),
        disallowed_special: Special = "all",
    ) -> list[int]:
        """The ids of a text.

        Parameters
        ----------
        text : str
        allowed_special : "all" or collection of str
            Special tokens that text may stand for; names of no special token mean nothing.
        disallowed_special : "all" or collection of str
            Special tokens whose text is refused ("all": those not allowed).

        Returns
        -------
        list of int

        Raises
        ------
        ValueError
            The text holds a special token that is disallowed.
        """
        ids: list[int] = self.encode_to_numpy(
            text, allowed_special=allowed_special, disallowed_special=disallowed_special
        ).tolist()
        return ids

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of a text in which special tokens are plain text.

        Parameters
        ----------
        text : str

        Returns
        -------
        list of int
        """
        ids: list[int] = self._way.encode_plain(text).tolist()
        return ids

    def encode_to_numpy(
        self,
        text: str,
        *,
        allowed_special: Special = (),
        disallowed_special: Special = "all",
    ) -> NDArray[np.uint32]:
        """The same as :meth:`encode`, as an array.

        Parameters
        ----------
        text, allowed_special, disallowed_special
            As in :meth:`encode`.

        Returns
        -------
        (tokens,) array, uint32
        """
        sought = self._sought(text, allowed_special, disallowed_special)
        return self._way.encode(text, sought)

    def encode_batch(
        self,
        text: Sequence[str],
        *,
        num_threads: int = 8,
        allowed_special: Special = (),
        disallowed_special: Special = "all",
    ) -> list[list[int]]:
        """The ids of several texts.

        Parameters
        ----------
        text : sequence of str
        num_threads : int
            Threads that encode, 1 or more.
        allowed_special, disallowed_special
            As in :meth:`encode`.

        Returns
        -------
        list of list of int
        """
        texts = list(text)
        sought = self._way.sought(self._known(allowed_special))
        for item in texts:
            self._sought(item, allowed_special, disallowed_special)
        batch = self._way.encode_batch([*texts], sought, num_threads)
        return batch.tolist()

    def encode_ordinary_batch(
        self, text: Sequence[str], *, num_threads: int = 8
    ) -> list[list[int]]:
        """The ids of several texts in which special tokens are plain text.

        Parameters
        ----------
        text : sequence of str
        num_threads : int
            Threads that encode, 1 or more.

        Returns
        -------
        list of list of int
        """
        batch = self._way.encode_batch([*text], self._way.sought(()), num_threads)
        return batch.tolist()

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of a token.

        Parameters
        ----------
        text_or_bytes : str or bytes
            The whole token.

        Returns
        -------
        int

        Raises
        ------
        KeyError
            It is no token.
        """
        found = self._way.id_of(text_or_bytes)
        if found is None:
            raise KeyError(text_or_bytes)
        return found

    def _known(self, names: Special) -> Special:
        # tiktoken passes over names of no special token; Tokenizer refuses them.
        return names if isinstance(names, str) else self.special_tokens_set & set(names)

    def _sought(self, text: str, allowed: Special, disallowed: Special) -> Sought:
        """Say which special tokens to look for; refuse a text that holds a disallowed one."""
        known = self._known(allowed)
        if disallowed:
            refused = disallowed if isinstance(disallowed, str) else self._known(disallowed)
            self._way.refuse(text, known, refused)
        return self._way.sought(known)

    # Decoding.

    def decode(self, tokens: ArrayLike, errors: str = "replace") -> str:
        """The text of ids.

        Parameters
        ----------
        tokens : (tokens,) array or sequence of int
        errors : str
            As in ``bytes.decode``.

        Returns
        -------
        str

        Raises
        ------
        KeyError
            No token has an id.
        """
        return self.decode_bytes(tokens).decode("utf-8", errors)

    def decode_bytes(self, tokens: ArrayLike) -> bytes:
        """The bytes of ids.

        Parameters
        ----------
        tokens : (tokens,) array or sequence of int

        Returns
        -------
        bytes

        Raises
        ------
        KeyError
            No token has an id.
        """
        try:
            return self._way.model.decode(id_array(tokens))
        except IndexError as error:
            raise KeyError(str(error)) from None

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes of a token.

        Parameters
        ----------
        token : int

        Returns
        -------
        bytes

        Raises
        ------
        KeyError
            No token has this id.
        """
        found = self._way.model.token_bytes(token)
        if found is None:
            raise KeyError(token)
        return found

    def decode_tokens_bytes(self, tokens: Iterable[int]) -> list[bytes]:
        """The bytes of each id.

        Parameters
        ----------
        tokens : iterable of int

        Returns
        -------
        list of bytes
        """
        return [self.decode_single_token_bytes(token) for token in tokens]

    def decode_with_offsets(self, tokens: Sequence[int]) -> tuple[str, list[int]]:
        """The text of ids, and the character where each begins (or that it goes on with).

        Parameters
        ----------
        tokens : sequence of int

        Returns
        -------
        text : str
        offsets : list of int
            Places in the text, one a token.
        """
        parts = self.decode_tokens_bytes(tokens)
        offsets: list[int] = []
        characters = 0
        for part in parts:
            continues = 0x80 <= part[0] < 0xC0
            offsets.append(max(0, characters - continues))
            characters += sum(not 0x80 <= byte < 0xC0 for byte in part)
        return b"".join(parts).decode("utf-8"), offsets

    def decode_batch(
        self, batch: Iterable[ArrayLike], *, errors: str = "replace", num_threads: int = 8
    ) -> list[str]:
        """The texts of several lists of ids.

        Parameters
        ----------
        batch : iterable of (tokens,) arrays or sequences of int
        errors : str
            As in ``bytes.decode``.
        num_threads : int
            Has no effect: decoding runs on one thread.

        Returns
        -------
        list of str
        """
        return [self.decode(tokens, errors) for tokens in batch]

    def decode_bytes_batch(
        self, batch: Iterable[ArrayLike], *, num_threads: int = 8
    ) -> list[bytes]:
        """The bytes of several lists of ids.

        Parameters
        ----------
        batch : iterable of (tokens,) arrays or sequences of int
        num_threads : int
            Has no effect: decoding runs on one thread.

        Returns
        -------
        list of bytes
        """
        return [self.decode_bytes(tokens) for tokens in batch]

    # Vocabulary.

    def token_byte_values(self) -> list[bytes]:
        """The bytes of every token that is not special.

        Returns
        -------
        list of bytes
            Sorted.
        """
        return sorted(self._mergeable_ranks)

    @property
    def eot_token(self) -> int:
        """The id of ``<|endoftext|>``; KeyError if there is none."""
        return self._way.special_tokens["<|endoftext|>"]

    @property
    def special_tokens_set(self) -> set[str]:
        """The special tokens."""
        return set(self._way.special_tokens)

    def is_special_token(self, token: int) -> bool:
        """Whether a special token has an id.

        Parameters
        ----------
        token : int

        Returns
        -------
        bool
        """
        return token in self._way.special_tokens.values()

    @property
    def max_token_value(self) -> int:
        """The highest id."""
        return self._way.id_count - 1

    @property
    def n_vocab(self) -> int:
        """The highest id, and one."""
        return self._way.id_count

    # Converters read these, though they are private there.

    @property
    def _special_tokens(self) -> dict[str, int]:
        return dict(self._way.special_tokens)

    @property
    def _mergeable_ranks(self) -> dict[bytes, int]:
        return dict(self._bytes_model().tokens)

    @property
    def _pat_str(self) -> str:
        pattern = self._bytes_model().pattern
        if pattern in BYTE_PATTERNS:
            raise ValueError(f"pattern: no expression says what {pattern!r} does")
        return r"[\s\S]+" if pattern is None else REGEX.get(pattern, pattern)

    def _encode_bytes(self, text: bytes) -> list[int]:
        """The ids of bytes; where they stop being UTF-8, the last piece takes all that follows.

        So does white space before it, where it begins with some.
        """
        try:
            text.decode()
        except UnicodeDecodeError as error:
            whole = text[: error.start]
        else:
            ids: list[int] = self._way.encode_plain(text).tolist()
            return ids
        model = self._bytes_model()
        ends = piece_ends(model.pattern, whole)
        begin = int(ends[-2]) if len(ends) > 1 else 0
        kept: list[int] = model.native.encode_pieces(whole[:begin], ends[:-1]).tolist()
        last = model.native.encode_pieces(whole[begin:], ends[-1:] - begin).tolist()
        if last and self._is_blank(last[0]):
            while kept and self._is_blank(kept[-1]):
                begin -= len(model.token_bytes(kept.pop()) or b"")
        rest = text[begin:]
        kept += model.native.encode_pieces(rest, np.array([len(rest)], np.int64)).tolist()
        return kept

    def _is_blank(self, id: int) -> bool:
        return not (self._way.model.token_bytes(id) or b"").strip(b" \n\t")

    def _bytes_model(self) -> BytePair:
        model = self._way.model
        if not isinstance(model, BytePair):
            raise ValueError(f"tiktoken: a {type(model).__name__} model has no ranks")
        return model


__all__ = ["Encoding"]
