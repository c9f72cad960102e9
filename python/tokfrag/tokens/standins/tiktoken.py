"""Stand in for ``tiktoken.Encoding``, and adopt one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokfrag.tokens.description import tokens_of
from tokfrag.tokens.formats.huggingface_patterns import portable
from tokfrag.tokens.patterns import native_name
from tokfrag.tokens.tokenizer import Tokenizer

Special = str | Collection[str]


def adopt_tiktoken(encoding: Any) -> Tokenizer:
    """Make the tokenizer of a ``tiktoken.Encoding``; ValueError if its pattern cannot be."""
    pattern: str = encoding._pat_str
    unsure = None if native_name(pattern) else portable(pattern, braces_possess=True)
    if unsure is not None:
        raise ValueError(
            f"pattern: {unsure!r} in {pattern!r} may mean something else outside tiktoken"
        )
    ranked = sorted(encoding._mergeable_ranks.items(), key=lambda entry: entry[1])
    return Tokenizer._from_tokens(
        [token for token, _ in ranked],
        ids=[rank for _, rank in ranked],
        pattern=pattern,
        special_tokens=encoding._special_tokens,
    )


class Encoding:
    """A :class:`Tokenizer` with the methods of ``tiktoken.Encoding``, and what they mean there.

    Parameters
    ----------
    tokenizer
        What encodes and decodes.
    name
        Its name.

    Examples
    --------
    >>> tok = Tokenizer._from_tokens([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> encoding = Encoding(tok)
    >>> encoding.decode(encoding.encode("hello"))
    'hello'
    """

    def __init__(self, tokenizer: Tokenizer, name: str = "tokfrag") -> None:
        self.name = name
        self._tokenizer = tokenizer

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
        """The ids of a text; ValueError if it holds a special token that is not allowed."""
        ids: list[int] = self.encode_to_numpy(
            text, allowed_special=allowed_special, disallowed_special=disallowed_special
        ).tolist()
        return ids

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of a text in which special tokens are plain text."""
        ids: list[int] = self._tokenizer.encode(text).tolist()
        return ids

    def encode_to_numpy(
        self,
        text: str,
        *,
        allowed_special: Special = (),
        disallowed_special: Special = "all",
    ) -> NDArray[np.uint32]:
        """The same as :meth:`encode`, as an array."""
        return self._tokenizer.encode(
            text,
            allowed_special=self._known(allowed_special),
            disallowed_special=self._disallowed(allowed_special, disallowed_special),
        )

    def encode_batch(
        self,
        text: Sequence[str],
        *,
        num_threads: int = 8,
        allowed_special: Special = (),
        disallowed_special: Special = "all",
    ) -> list[list[int]]:
        """The ids of several texts."""
        texts = list(text)
        disallowed = self._disallowed(allowed_special, disallowed_special)
        if disallowed:
            for item in texts:
                if any(name in item for name in disallowed):
                    self._tokenizer.encode(
                        item,
                        allowed_special=self._known(allowed_special),
                        disallowed_special=disallowed,
                    )
        batch = self._tokenizer.encode_batch(
            texts, allowed_special=self._known(allowed_special), threads=num_threads
        )
        return [ids.tolist() for ids in batch]

    def encode_ordinary_batch(
        self, text: Sequence[str], *, num_threads: int = 8
    ) -> list[list[int]]:
        """The ids of several texts in which special tokens are plain text."""
        return [ids.tolist() for ids in self._tokenizer.encode_batch(text, threads=num_threads)]

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of a token; KeyError if it is none."""
        found = self._tokenizer.token_to_id(text_or_bytes)
        if found is None:
            raise KeyError(text_or_bytes)
        return found

    def _known(self, names: Special) -> Special:
        # Names that are no special token mean nothing there.
        return names if isinstance(names, str) else self.special_tokens_set & set(names)

    def _disallowed(self, allowed: Special, disallowed: Special) -> Collection[str]:
        if disallowed == "all":
            allowed_names = self.special_tokens_set if allowed == "all" else set(allowed)
            return self.special_tokens_set - allowed_names
        return self.special_tokens_set & set(disallowed)

    # Decoding.

    def decode(self, tokens: ArrayLike, errors: str = "replace") -> str:
        """The text of ids; KeyError for an id that no token has."""
        return self.decode_bytes(tokens).decode("utf-8", errors)

    def decode_bytes(self, tokens: ArrayLike) -> bytes:
        """The bytes of ids."""
        try:
            return self._tokenizer.decode_bytes(tokens)
        except IndexError as error:
            raise KeyError(str(error)) from None

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes of a token; KeyError if it is none."""
        try:
            return self._tokenizer.id_to_token(token)
        except IndexError:
            raise KeyError(token) from None

    def decode_tokens_bytes(self, tokens: Iterable[int]) -> list[bytes]:
        """The bytes of each id."""
        return [self.decode_single_token_bytes(token) for token in tokens]

    def decode_with_offsets(self, tokens: Sequence[int]) -> tuple[str, list[int]]:
        """The text of ids, and the character where each begins (or that it goes on with)."""
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
        """The texts of several lists of ids."""
        return [self.decode(tokens, errors) for tokens in batch]

    def decode_bytes_batch(
        self, batch: Iterable[ArrayLike], *, num_threads: int = 8
    ) -> list[bytes]:
        """The bytes of several lists of ids."""
        return [self.decode_bytes(tokens) for tokens in batch]

    # What it holds.

    def token_byte_values(self) -> list[bytes]:
        """The bytes of every token that is not special, sorted."""
        return sorted(token for token, _ in tokens_of(self._tokenizer))

    @property
    def eot_token(self) -> int:
        """The id of ``<|endoftext|>``; KeyError if there is none."""
        return self._tokenizer.special_tokens["<|endoftext|>"]

    @property
    def special_tokens_set(self) -> set[str]:
        """The special tokens."""
        return set(self._tokenizer.special_tokens)

    def is_special_token(self, token: int) -> bool:
        """Whether an id is that of a special token."""
        return token in self._tokenizer.special_tokens.values()

    @property
    def max_token_value(self) -> int:
        """The highest id."""
        return self._tokenizer.vocab_size - 1

    @property
    def n_vocab(self) -> int:
        """The highest id, and one."""
        return self._tokenizer.vocab_size
