"""What a tokenizer asks of a model: pieces of text to ids, and ids to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.specification import ModelDescription

Ids = NDArray[np.uint32]
Offsets = NDArray[np.int64]


class Joiner(Protocol):
    """Decodes id by id: the parts joined are what decoding all at once gives."""

    def push(self, id: int) -> bytes:
        """Take an id, give the text that is sure by now; ``IndexError`` if no token has it."""

    def finish(self) -> bytes:
        """Give what is left. The joiner is then as new."""


class Model(Protocol):
    """An engine: immutable, shared by threads, picklable.

    Texts are ``str`` or UTF-8 ``bytes``. A model knows the added tokens by their ids, but they are
    found in the text by what stands around it (:class:`~tokfrag.tokens.pipeline.TextPipeline`),
    unless it ``finds_added`` tokens itself.
    """

    @property
    def description(self) -> ModelDescription:
        """What it was made from."""

    @property
    def id_count(self) -> int:
        """One more than the highest id, added tokens included."""

    @property
    def finds_added(self) -> bool:
        """Whether ``encode`` and ``encode_batch`` heed ``allowed``."""

    @property
    def cuts(self) -> str | None:
        """Where a text may be cut without changing its ids.

        ``"anywhere"``: wherever every native pattern begins a piece; ``"plain"``: there, between
        ASCII characters; ``"space"``: before a blank between two ASCII letters; ``"rest"``: as
        :mod:`tokfrag.tokens.rests` has it; None: nowhere.
        """

    def token_id(self, token: str) -> int | None:
        """The id of a token as ``tokenizer.json`` spells it, added tokens included."""

    def spelling(self, id: int) -> str | None:
        """How ``tokenizer.json`` spells the token of an id; None if no token has it."""

    def bytes_id(self, token: bytes) -> int | None:
        """The id of one of the model's own tokens by the bytes that :meth:`token_bytes` gives."""

    def token_bytes(self, id: int) -> bytes | None:
        """The bytes that a token stands for, or its spelling in UTF-8; None if there is none."""

    @property
    def encode(self) -> Callable[..., Ids]:
        """``encode(text, allowed=None)``: the ids of one text.

        ``allowed``: a byte an added token, not 0 where the text may stand for it; None: for none;
        empty: for all. Not given to a model that does not find them.
        """

    def encode_batch(
        self,
        texts: Sequence[str | bytes],
        allowed: bytes | None,
        threads: int,
        inner: bytes | None = None,
    ) -> tuple[Ids, Offsets]:
        """The ids of many texts, end to end, and where each text's begin: ``(texts + 1,)``.

        ``threads`` 0: the default. ``inner``: a byte a text, not 0 where it does not begin its
        document; None: all begin theirs.
        """

    def encode_with_dropout(
        self,
        texts: Sequence[str | bytes],
        streams: NDArray[np.uint64],
        probability: float,
        seed: int,
        threads: int,
    ) -> tuple[Ids, Offsets]:
        """The same, merges passed over at random; ``ValueError`` if it has none.

        ``streams``: ``(texts,)``, what the piece at byte ``b`` of a text draws from, less ``b``.
        """

    def encode_spans(
        self,
        text: str | bytes,
        allowed: bytes | None = None,
        *,
        inner: bool = False,
        limit: int | None = None,
    ) -> tuple[Ids, Offsets]:
        """The ids of one text, and ``(ids, 2)``: the bytes of its UTF-8 that each stands for.

        With ``limit``, as many ids are enough.
        """

    def count_batch(self, texts: Sequence[str | bytes], threads: int) -> NDArray[np.int64]:
        """How many ids each text has."""

    def decode(self, ids: NDArray[Any]) -> bytes:
        """The text of ids in UTF-8; ``IndexError`` names the first that no token has."""

    def joiner(self) -> Joiner:
        """Decode id by id."""


__all__ = ["Ids", "Joiner", "Model", "Offsets"]
