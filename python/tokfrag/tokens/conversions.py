"""Ways into and out of a tokenizer: training, files, adapters. Each is imported when called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, SupportsIndex

from tokfrag.tokens.calling import call

if TYPE_CHECKING:
    from pathlib import Path

    from tokfrag.tokens.standins.huggingface import HuggingFaceTokenizer
    from tokfrag.tokens.standins.tiktoken import Encoding
    from tokfrag.tokens.tokenizer import Tokenizer
    from tokfrag.tokens.training.byte_pair import CompressionCurve, Vocabulary
    from tokfrag.tokens.training.word_counts import Source, WordCounts

    FilePath = str | os.PathLike[str]


class Conversions:
    """The part of :class:`Tokenizer` that other modules do."""

    __slots__ = ()

    @staticmethod
    def train(
        source: Source,
        vocab_size: int,
        *,
        pattern: str | None = "cl100k",
        special_tokens: Sequence[str] = (),
        min_frequency: int = 0,
        max_token_length: int | None = None,
        threads: SupportsIndex | None = None,
        progress: bool = False,
        max_memory: SupportsIndex | None = None,
    ) -> Tokenizer:
        """Train byte-level BPE; the result is that of Hugging Face's ``BpeTrainer``.

        Parameters
        ----------
        source
            Path(s) of text files, whose lines are units of text with their newline; or an iterable
            of texts.
        vocab_size
            Tokens wanted, special ones and the 256 bytes included.
        pattern, special_tokens, min_frequency, max_token_length, progress
            As in :func:`tokfrag.tokens.training.byte_pair.train_vocabulary`.
        threads
            For counting words; the result does not depend on it.
        max_memory
            Bytes that counting may hold, about, beside the text it is at; the rest goes to
            temporary files (:class:`WordCounts`). The result does not depend on it.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> tok = Tokenizer.train(["low lower lowest"] * 9, 260, pattern="gpt2")
        >>> [tok.id_to_token(id) for id in tok.encode("slow lower")]
        [b's', b'low', b' lowe', b'r']
        """
        from tokfrag.tokens.training.byte_pair import train_vocabulary
        from tokfrag.tokens.training.word_counts import count_words

        counts = count_words(
            source, pattern=pattern, threads=threads, progress=progress, max_memory=max_memory
        )
        vocabulary = train_vocabulary(
            counts,
            vocab_size,
            special_tokens=special_tokens,
            min_frequency=min_frequency,
            max_token_length=max_token_length,
            progress=progress,
            keep_counts=False,
        )
        return _of_vocabulary(vocabulary, pattern, whole_pieces=False)

    @staticmethod
    def train_from_counts(
        counts: WordCounts,
        vocab_size: int,
        *,
        special_tokens: Sequence[str] = (),
        min_frequency: int = 0,
        max_token_length: int | None = None,
        progress: bool = False,
    ) -> Tokenizer:
        """Train from :class:`WordCounts`, however and wherever they were counted; see `train`."""
        from tokfrag.tokens.training.byte_pair import train_vocabulary

        vocabulary = train_vocabulary(
            counts,
            vocab_size,
            special_tokens=special_tokens,
            min_frequency=min_frequency,
            max_token_length=max_token_length,
            progress=progress,
        )
        return _of_vocabulary(vocabulary, counts.pattern, whole_pieces=False)

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

        The arguments are those of `train`.
        """
        from tokfrag.tokens.training.byte_pair import extend_vocabulary
        from tokfrag.tokens.training.word_counts import count_words

        tokenizer = _own(self)
        counts = count_words(source, pattern=tokenizer.pattern, threads=threads, progress=progress)
        extended = extend_vocabulary(
            _vocabulary_of(tokenizer),
            counts,
            vocab_size,
            min_frequency=min_frequency,
            max_token_length=max_token_length,
            progress=progress,
        )
        return _of_vocabulary(extended, tokenizer.pattern, whole_pieces=tokenizer._whole)

    def compression_curve(self) -> CompressionCurve:
        """Tokens of the training text against vocabulary size, from the one training run.

        Raises
        ------
        ValueError
            The tokenizer was not trained in this process: files and pickles do not hold the curve.
        """
        curve = _own(self)._curve
        if curve is None:
            raise ValueError("the curve is known only to a tokenizer fresh from training")
        return curve

    @staticmethod
    def from_tiktoken(
        path: FilePath,
        *,
        pattern: str | None,
        special_tokens: Mapping[str, int] | None = None,
        cache: bool | FilePath = False,
    ) -> Tokenizer:
        """Read a vocabulary of tiktoken's format, plain or gzip.

        Parameters
        ----------
        path
            A line a token: its bytes in base64, a space, its rank, which is also its id.
        pattern
            How text is cut before merging: ``"gpt2"`` (also ``"r50k"``, ``"p50k"``),
            ``"cl100k"``, ``"o200k"``, ``"llama3"``, ``"qwen2"``, a regular expression of the
            ``regex`` package, or None for no cutting.
        special_tokens
            Tokens that text stands for only where ``allowed_special`` says so.
        cache
            Where to keep what loading makes, so that the next time takes milliseconds: True for a
            file in ``TOKFRAG_CACHE_DIR`` (where that is not set, beside ``path``), or a path. It
            is used only where it is whole and made from just this content, and replaced where not.
            It is as much to be trusted as a program: keep it where nobody else writes.

        Raises
        ------
        ValueError
            For a file that is not exactly of this format, with the line; for a pattern that is
            neither a name nor a regular expression; for special tokens whose ids collide.
        """
        from tokfrag.tokens.loading import load_tiktoken

        return load_tiktoken(path, pattern, special_tokens, cache)

    @staticmethod
    def from_gpt2(
        merges: FilePath,
        ids: FilePath,
        *,
        pattern: str | None = "gpt2",
        special_tokens: Mapping[str, int] | None = None,
    ) -> Tokenizer:
        """Read GPT-2's pair of files, ``vocab.bpe`` (merges) and ``encoder.json`` (ids).

        Entries of ``encoder.json`` that no merge makes, such as ``<|endoftext|>``, are special
        tokens, beside those given.
        """
        from tokfrag.tokens.loading import load_gpt2

        return load_gpt2(merges, ids, pattern, special_tokens)

    @staticmethod
    def from_file(path: FilePath, *, cache: bool | FilePath = False) -> Tokenizer:
        """Read a Hugging Face ``tokenizer.json``: byte-level BPE or WordPiece, plain or ``.gz``.

        ``cache`` is that of :meth:`from_tiktoken`; WordPiece, quick to load, has none.

        Raises
        ------
        ValueError
            The file is malformed, or asks for what cannot be reproduced exactly; says where.
        """
        from tokfrag.tokens.loading import load_huggingface

        return load_huggingface(path, cache)

    @staticmethod
    def from_wordpiece(path: FilePath, lowercase: bool = True) -> Tokenizer:
        """Read BERT's ``vocab.txt``: a token a line, its number its id."""
        from tokfrag.tokens.formats.bert_vocab import read_bert
        from tokfrag.tokens.pipeline import PreparedTokenizer

        return PreparedTokenizer.from_specification(read_bert(path, lowercase=lowercase))

    @staticmethod
    def adopt(tokenizer: object) -> Tokenizer:
        """Make a tokenizer with the ids of another library's.

        `tokenizer` is a ``tiktoken.Encoding``, a ``tokenizers.Tokenizer`` or a fast tokenizer of
        ``transformers``; what cannot be reproduced exactly is refused with a ``ValueError``.
        """
        from tokfrag.compat import adopt

        return adopt(tokenizer)

    def save(self, path: FilePath) -> None:
        """Write a ``tokenizer.json`` that Hugging Face's ``tokenizers`` reads."""
        from tokfrag.tokens.description import specification_of
        from tokfrag.tokens.formats.huggingface_writer import write_huggingface

        write_huggingface(specification_of(_own(self)), os.fspath(path))

    def save_tiktoken(self, path: FilePath) -> None:
        """Write the ranks in tiktoken's format; with ``.gz`` at the end, packed."""
        from tokfrag.tokens.description import specification_of
        from tokfrag.tokens.formats.tiktoken_writer import write_tiktoken

        write_tiktoken(specification_of(_own(self)), path)

    def as_tiktoken(self, name: str = "tokfrag") -> Encoding:
        """An object that is called as ``tiktoken.Encoding`` is."""
        from tokfrag.tokens.standins.tiktoken import Encoding

        return Encoding(_own(self), name)

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

        The arguments are those of :class:`tokfrag.compat.huggingface.HuggingFaceTokenizer`.
        """
        from tokfrag.tokens.standins.huggingface import HuggingFaceTokenizer

        return HuggingFaceTokenizer(
            _own(self),
            pad_token=pad_token,
            eos_token=eos_token,
            bos_token=bos_token,
            model_max_length=model_max_length,
            padding_side=padding_side,
            truncation_side=truncation_side,
        )

    def encode_files(
        self,
        paths: FilePath | Iterable[FilePath],
        out: FilePath,
        *,
        end_of_text: str | int | None = None,
        dtype: str = "auto",
        field: str = "text",
        layout: str = "tokfrag",
        shard_bytes: int = 1 << 30,
        threads: int | None = None,
        progress: bool = False,
    ) -> Path:
        """Encode text files to shards; see :func:`tokfrag.tokens.shards.writing.encode_files`."""
        from tokfrag.tokens.shards.writing import encode_files

        return encode_files(
            _own(self),
            paths,
            out,
            end_of_text=end_of_text,
            dtype=dtype,
            field=field,
            layout=layout,
            shard_bytes=shard_bytes,
            threads=threads,
            progress=progress,
        )

    __call__ = call


def _own(self: Any) -> Tokenizer:
    # The mixin has one heir.
    tokenizer: Tokenizer = self
    return tokenizer


def _of_vocabulary(vocabulary: Vocabulary, pattern: str | None, *, whole_pieces: bool) -> Tokenizer:
    from tokfrag.tokens.tokenizer import Tokenizer

    tokens, ids, merges = vocabulary.ranked()
    tokenizer = Tokenizer._from_tokens(
        tokens,
        ids=ids,
        pattern=pattern,
        special_tokens=vocabulary.special_tokens,
        merges=merges,
        whole_pieces=whole_pieces,
    )
    tokenizer._curve = vocabulary.curve
    return tokenizer


def _vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    import numpy as np

    from tokfrag.tokens.training.byte_pair import Vocabulary

    blob, offsets, ids = tokenizer._model.vocabulary()
    tokens = [blob[begin:end] for begin, end in pairwise(offsets.tolist())]
    ranks = dict(zip(tokens, ids.tolist(), strict=True))
    if tokenizer._merges is None:
        return Vocabulary.from_ranks(ranks, tokenizer.special_tokens)
    pairs = tokenizer._merges.tolist()
    made = [ranks[tokens[left] + tokens[right]] for left, right in pairs]
    merges = np.column_stack([ids[tokenizer._merges], np.array(made, np.uint32)])
    return Vocabulary(ranks, merges.astype(np.uint32), tokenizer.special_tokens)
