"""The tokenizer: text to ids and back."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.arguments import into, text_list
from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.calling import call
from tokfrag.tokens.chatting import apply_chat_template
from tokfrag.tokens.continuation import continue_from, first_difference, is_canonical, splice
from tokfrag.tokens.counting import count, truncate
from tokfrag.tokens.decoding import decode, decode_batch, decode_bytes, stream_decoder
from tokfrag.tokens.formats.huggingface_writer import write_huggingface
from tokfrag.tokens.formats.tiktoken_writer import write_tiktoken
from tokfrag.tokens.live import live
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.offsets import encode_with_offsets
from tokfrag.tokens.origins import FilePath, Origins
from tokfrag.tokens.pretrained.writing import save_pretrained
from tokfrag.tokens.shards.writing import encode_files
from tokfrag.tokens.specification import AddedToken, Specification
from tokfrag.tokens.standins.huggingface import HuggingFaceTokenizer
from tokfrag.tokens.standins.tiktoken import Encoding
from tokfrag.tokens.token_lists import added_to
from tokfrag.tokens.training.byte_pair import extend_vocabulary
from tokfrag.tokens.training.word_counts import Source, count_words
from tokfrag.tokens.vocabulary import CompressionCurve, Vocabulary

Names = str | Collection[str]


class Tokenizer(Origins):
    """A tokenizer: immutable, shared freely between threads, picklable.

    It holds a model (byte pairs, WordPiece, ...) and what is done to the text around it. Ids are
    exactly those of the tokenizer whose vocabulary it reads. Text is ``str`` or UTF-8 ``bytes``; a
    byte-pair model keeps bytes outside well-formed UTF-8 (``decode_bytes`` gives them back), and
    reads lone surrogates in a ``str`` as U+FFFD, as tiktoken reads them.

    Parameters
    ----------
    tokens : {bytes: id} or list of bytes
        The tokens of a byte-pair vocabulary and their ids, which are also their ranks; of a list,
        the places.
    pattern : str, optional
        How text is cut before merging: ``"gpt2"`` (also ``"r50k"``, ``"p50k"``), ``"cl100k"``,
        ``"o200k"``, ``"llama3"``, ``"qwen2"``, a regular expression of the ``regex`` package, or
        None for no cutting.
    special_tokens : {str: id}, optional
        Tokens that text stands for only where ``allowed_special`` says so.
    merges : sequence of (bytes, bytes), optional
        The pairs that merge, the first merging first. Without, any two neighbours whose joined
        bytes are a token merge, the lowest rank first, and a piece that is a token is that token:
        tiktoken's rule.

    Raises
    ------
    ValueError
        A token is empty or there twice, a byte has none, ids collide, a pair joins to no token, or
        the pattern is neither a name nor a regular expression.

    Examples
    --------
    >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
    >>> tok.encode("abc").tolist()
    [256, 99]
    >>> tok.decode([256, 99])
    'abc'
    """

    __slots__ = ()

    # Vocabulary.

    @property
    def specification(self) -> Specification:
        """The tokenizer as plain values, from which it can be made again."""
        return self.text_pipeline.specification

    @property
    def pattern(self) -> str | None:
        """The pattern by which a byte-pair model cuts text; None for no cutting, other models."""
        model = self.text_pipeline.model
        return model.pattern if isinstance(model, BytePair) else None

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids."""
        return dict(self.text_pipeline.special_tokens)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, so that an embedding of this size has a row for each."""
        return self.text_pipeline.id_count

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        model = self.text_pipeline.model
        if not isinstance(model, BytePair):
            return f"Tokenizer(vocab_size={self.vocab_size}, {type(model).__name__})"
        return (
            f"Tokenizer(vocab_size={self.vocab_size}, pattern={model.pattern!r}, "
            f"special_tokens={len(self.special_tokens)})"
        )

    def token_to_id(self, token: bytes | str) -> int | None:
        """The id of a token, ordinary or special; None if there is none.

        Parameters
        ----------
        token : bytes or str
            The token's bytes, or their text.

        Returns
        -------
        int or None
        """
        return self.text_pipeline.id_of(token)

    def id_to_token(self, id: int) -> bytes:
        """The bytes of a token.

        Parameters
        ----------
        id : int

        Returns
        -------
        bytes
            A special token in UTF-8.

        Raises
        ------
        IndexError
            No token has this id.
        """
        found = self.text_pipeline.model.token_bytes(id)
        if found is None:
            raise IndexError(f"id: no token has id {id}")
        return found

    def add_tokens(
        self, tokens: str | AddedToken | Iterable[str | AddedToken], *, special: bool = False
    ) -> Tokenizer:
        """A tokenizer with more tokens, which are found in the text before anything else is done.

        Parameters
        ----------
        tokens : str, AddedToken, or iterable of them
            Their text. A token of the vocabulary keeps its id, the others get the next ones; one
            that was added before is passed over. An :class:`AddedToken` says more, and its id
            counts where it is not negative.
        special : bool
            Special tokens are found where ``allowed_special`` names them, the others always.

        Returns
        -------
        Tokenizer
            A new one; this one stays as it is.

        Examples
        --------
        >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
        >>> more = tok.add_tokens(["<tool>"])
        >>> more.encode("a<tool>").tolist(), len(tok)
        ([97, 256], 256)
        """
        return Tokenizer.from_specification(added_to(self.text_pipeline, tokens, special))

    # Encoding.

    def encode(
        self,
        text: str | bytes,
        *,
        allowed_special: Names = (),
        disallowed_special: Names = (),
        out: NDArray[np.uint32] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> NDArray[np.uint32]:
        """The ids of a text.

        Parameters
        ----------
        text : str or bytes
        allowed_special : "all" or collection of str
            Special tokens that text may stand for; the text of others is ordinary text. The
            leftmost comes first, the longest of those that begin together.
        disallowed_special : "all" or collection of str
            Special tokens whose text raises ``ValueError`` ("all": those not allowed).
        out : array (at least tokens,), uint32, optional
            Where to put the ids; the part used is returned.
        dropout : float, 0 to 1
            The probability with which a merge is passed over each time it comes up (BPE-dropout,
            arXiv 1910.13267): 0 gives the usual ids, 1 those of the bytes.
        seed : int
            Of dropout, 0 to ``2**64 - 1``: the same seed gives the same ids.

        Returns
        -------
        array (tokens,), uint32
        """
        if not allowed_special and not disallowed_special and not dropout:
            ids = self._encode_plain(text)
            return ids if out is None else into(out, ids)
        way = self.text_pipeline
        if disallowed_special:
            way.refuse(text, allowed_special, disallowed_special)
        sought = way.sought(allowed_special)
        if dropout:
            ids = way.encode_with_dropout([text], sought, dropout=dropout, seed=seed).ids
        else:
            ids = way.encode(text, sought)
        return ids if out is None else into(out, ids)

    def encode_batch(
        self,
        texts: Iterable[str | bytes],
        *,
        allowed_special: Names = (),
        threads: int | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> TokenBatch:
        """The ids of many texts, on several threads; the result does not depend on how many.

        Parameters
        ----------
        texts : iterable of str or bytes, or a column of strings
            Columns are those of pyarrow (arrays and chunked arrays) and series of polars and
            pandas: their buffers are read, and no Python strings made.
        allowed_special : "all" or collection of str
            As in :meth:`encode`.
        threads : int, optional
            By default as many as there are processors.
        dropout, seed : float, int
            As in :meth:`encode`; each place in the batch draws by itself, so equal texts may
            become different ids.

        Returns
        -------
        TokenBatch
            One row a text.
        """
        way = self.text_pipeline
        items = text_list(texts)
        sought = way.sought(allowed_special)
        if dropout:
            return way.encode_with_dropout(
                items, sought, dropout=dropout, seed=seed, threads=threads
            )
        return way.encode_batch(items, sought, threads)

    def encode_with_offsets(
        self,
        text: str | bytes,
        *,
        unit: str = "char",
        allowed_special: Names = (),
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of a text and where each lies in it.

        Parameters
        ----------
        text : str or bytes
        unit : "char" or "byte"
            "char": offsets index the text's characters; a token that holds part of a character
            has the whole of it. "byte": they index its UTF-8, end to end.
        allowed_special : "all" or collection of str
            As in :meth:`encode`.

        Returns
        -------
        ids : array (tokens,), uint32
        offsets : array (tokens, 2), int64
            Begin and end.

        Raises
        ------
        ValueError
            ``unit`` is neither.
        """
        if unit not in ("char", "byte"):
            raise ValueError(f"unit: got {unit!r}, takes 'char' or 'byte'")
        sought = self.text_pipeline.sought(allowed_special)
        return encode_with_offsets(self.text_pipeline, text, sought, unit)

    count = count
    truncate = truncate
    __call__ = call
    apply_chat_template = apply_chat_template

    # Texts that change, and ids that stay.

    live = live
    continue_from = continue_from
    is_canonical = is_canonical
    first_difference = first_difference
    splice = splice

    # Decoding.

    decode = decode
    decode_bytes = decode_bytes
    decode_batch = decode_batch
    stream_decoder = stream_decoder

    # Training goes on.

    def extend(
        self,
        source: Source,
        vocab_size: int,
        *,
        min_frequency: int = 0,
        max_token_length: int | None = None,
        threads: SupportsIndex | None = None,
        progress: bool = False,
    ) -> Tokenizer:
        """Continue training on other text: ids and merges stay, new ones come after them.

        Parameters
        ----------
        source, vocab_size, min_frequency, max_token_length, threads, progress
            As in :meth:`train`; the tokens there are count towards ``vocab_size``.

        Returns
        -------
        Tokenizer
            A new one; this one stays as it is.

        Raises
        ------
        ValueError
            It is no byte-pair tokenizer.
        """
        model = self.text_pipeline.model
        if not isinstance(model, BytePair):
            raise ValueError(
                f"extend: {self!r} is no byte-pair tokenizer, the only kind that training continues"
            )
        counts = count_words(source, pattern=model.pattern, threads=threads, progress=progress)
        extended = extend_vocabulary(
            Vocabulary.of_model(model, self.special_tokens),
            counts,
            vocab_size,
            min_frequency=min_frequency,
            max_token_length=max_token_length,
            threads=threads,
            progress=progress,
        )
        return self._of_vocabulary(extended, model.pattern, whole_pieces=model.whole_pieces)

    def compression_curve(self) -> CompressionCurve:
        """Tokens of the training text against vocabulary size, from the one training run.

        Returns
        -------
        CompressionCurve

        Raises
        ------
        ValueError
            The tokenizer was not trained in this process: files and pickles do not hold the curve.
        """
        if self._curve is None:
            raise ValueError("the curve is known only to a tokenizer fresh from training")
        return self._curve

    # Files and stand-ins.

    def save(self, path: FilePath) -> None:
        """Write a ``tokenizer.json`` that Hugging Face's ``tokenizers`` reads.

        Parameters
        ----------
        path : str or os.PathLike

        Raises
        ------
        ValueError
            The format cannot say something, or it would give other ids there.
        """
        write_huggingface(self.specification, os.fspath(path))

    def save_tiktoken(self, path: FilePath) -> None:
        """Write the ranks in tiktoken's format.

        Parameters
        ----------
        path : str or os.PathLike
            With ``.gz`` at the end, the file is packed.

        Raises
        ------
        ValueError
            It is no byte-pair tokenizer, or its merges are not in the order of its ids.
        """
        write_tiktoken(self.specification, path)

    def as_tiktoken(self, name: str | None = None) -> Encoding:
        """An object that is called as ``tiktoken.Encoding`` is.

        Parameters
        ----------
        name : str, optional
            By default the name of the adopted encoding, or ``"tokfrag"``.

        Returns
        -------
        tokfrag.compat.tiktoken.Encoding
        """
        return Encoding(self, name)

    def as_huggingface(
        self,
        *,
        pad_token: str | None = None,
        eos_token: str | None = None,
        bos_token: str | None = None,
        model_max_length: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
    ) -> HuggingFaceTokenizer:
        """An object that is called as a fast tokenizer of ``transformers`` is.

        Parameters
        ----------
        pad_token, eos_token, bos_token, model_max_length, padding_side, truncation_side
            As in :class:`tokfrag.compat.huggingface.HuggingFaceTokenizer`.

        Returns
        -------
        tokfrag.compat.huggingface.HuggingFaceTokenizer
        """
        return HuggingFaceTokenizer(
            self,
            pad_token=pad_token,
            eos_token=eos_token,
            bos_token=bos_token,
            model_max_length=model_max_length,
            padding_side=padding_side,
            truncation_side=truncation_side,
        )

    save_pretrained = save_pretrained
    encode_files = encode_files


__all__ = ["Tokenizer"]
