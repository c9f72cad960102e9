"""Where tokenizers come from: lists of tokens, files, objects of other libraries, training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, SupportsIndex

from tokfrag.tokens.formats.bert_vocab import read_bert
from tokfrag.tokens.formats.objects import read_object
from tokfrag.tokens.formats.tiktoken_names import ENCODINGS, cached_file, cached_gpt2
from tokfrag.tokens.loading import (
    load_file,
    load_gpt2,
    load_pretrained,
    load_sentencepiece,
    load_tiktoken,
)
from tokfrag.tokens.pipeline import TextPipeline
from tokfrag.tokens.pretrained.adopted import with_chat_template
from tokfrag.tokens.specification import Profile, Specification
from tokfrag.tokens.token_lists import specification_of_tokens
from tokfrag.tokens.training.byte_pair import train_vocabulary
from tokfrag.tokens.training.word_counts import Source, WordCounts, count_words
from tokfrag.tokens.vocabulary import CompressionCurve, Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

FilePath = str | os.PathLike[str]


class Origins:
    """The constructors of :class:`~tokfrag.tokens.tokenizer.Tokenizer`, which is the class to use.

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
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)] + [b"ab"], pattern="gpt2")
    >>> tok.encode("abc").tolist()
    [256, 99]
    >>> tok.decode([256, 99])
    'abc'
    """

    __slots__ = ("_curve", "_encode_plain", "text_pipeline")

    #: The whole way from text to ids.
    text_pipeline: TextPipeline

    def __init__(
        self,
        tokens: Mapping[bytes, int] | Sequence[bytes],
        *,
        pattern: str | None,
        special_tokens: Mapping[str, int] | None = None,
        merges: Sequence[tuple[bytes, bytes]] | None = None,
    ) -> None:
        self._hold(
            TextPipeline.of(specification_of_tokens(tokens, pattern, special_tokens, merges))
        )

    def _hold(self, way: TextPipeline, curve: CompressionCurve | None = None) -> None:
        self.text_pipeline = way
        self._encode_plain = way.encode_plain
        self._curve = curve

    @classmethod
    def _around(cls, way: TextPipeline, curve: CompressionCurve | None = None) -> Self:
        self = cls.__new__(cls)
        self._hold(way, curve)
        return self

    @classmethod
    def from_specification(cls, specification: Specification) -> Self:
        """Make the tokenizer that plain values (:mod:`.specification`) describe.

        Parameters
        ----------
        specification : Specification

        Returns
        -------
        Tokenizer

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
        >>> Tokenizer.from_specification(tok.specification).encode("a").tolist()
        [97]
        """
        return cls._around(TextPipeline.of(specification))

    @classmethod
    def _of_vocabulary(
        cls, vocabulary: Vocabulary, pattern: str | None, *, whole_pieces: bool
    ) -> Self:
        specification = vocabulary.specification(pattern, whole_pieces=whole_pieces)
        return cls._around(TextPipeline.of(specification), vocabulary.curve)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._around, (self.text_pipeline,)

    # Training.

    @classmethod
    def train(
        cls,
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
    ) -> Self:
        """Train byte-level BPE; the result is that of Hugging Face's ``BpeTrainer``.

        Parameters
        ----------
        source : path, paths, or iterable of str or bytes
            Path(s) of text files, whose lines are units of text with their newline; or texts.
        vocab_size : int
            Tokens wanted, special ones and the 256 bytes included.
        pattern : str, optional
            How text is cut before merging, as the constructor takes it.
        special_tokens, min_frequency, max_token_length, progress
            As in :func:`tokfrag.tokens.training.byte_pair.train_vocabulary`.
        threads : int, optional
            For counting and merging; the result does not depend on it.
        max_memory : int, optional
            Bytes that counting may hold, about, beside the text it is at; the rest goes to
            temporary files (:class:`WordCounts`). The result does not depend on it.

        Returns
        -------
        Tokenizer

        Raises
        ------
        ValueError
            A number is out of range, or ``pattern`` is no regular expression.
        TypeError
            ``source`` is neither paths nor texts.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> tok = Tokenizer.train(["low lower lowest"] * 9, 260, pattern="gpt2")
        >>> [tok.id_to_token(id) for id in tok.encode("slow lower")]
        [b's', b'low', b' lowe', b'r']
        """
        counts = count_words(
            source, pattern=pattern, threads=threads, progress=progress, max_memory=max_memory
        )
        vocabulary = train_vocabulary(
            counts,
            vocab_size,
            special_tokens=special_tokens,
            min_frequency=min_frequency,
            max_token_length=max_token_length,
            threads=threads,
            progress=progress,
            keep_counts=False,
        )
        return cls._of_vocabulary(vocabulary, pattern, whole_pieces=False)

    @classmethod
    def train_from_counts(
        cls,
        counts: WordCounts,
        vocab_size: int,
        *,
        special_tokens: Sequence[str] = (),
        min_frequency: int = 0,
        max_token_length: int | None = None,
        threads: SupportsIndex | None = None,
        progress: bool = False,
    ) -> Self:
        """Train from :class:`WordCounts`, however and wherever they were counted.

        Parameters
        ----------
        counts : WordCounts
            They stay as they are; their pattern becomes the tokenizer's.
        vocab_size, special_tokens, min_frequency, max_token_length, threads, progress
            As in :meth:`train`.

        Returns
        -------
        Tokenizer

        Examples
        --------
        >>> from tokfrag import Tokenizer, WordCounts
        >>> counts = WordCounts("gpt2")
        >>> counts.add(["low lower lowest"])
        >>> Tokenizer.train_from_counts(counts, 258).encode("low").tolist()
        [257]
        """
        vocabulary = train_vocabulary(
            counts,
            vocab_size,
            special_tokens=special_tokens,
            min_frequency=min_frequency,
            max_token_length=max_token_length,
            threads=threads,
            progress=progress,
        )
        return cls._of_vocabulary(vocabulary, counts.pattern, whole_pieces=False)

    # From files and objects.

    @classmethod
    def from_tiktoken(
        cls,
        path: FilePath,
        *,
        pattern: str | None,
        special_tokens: Mapping[str, int] | None = None,
        cache: bool | FilePath = False,
    ) -> Self:
        """Read a vocabulary of tiktoken's format, plain or gzip.

        Parameters
        ----------
        path : str or os.PathLike
            A line a token: its bytes in base64, a space, its rank, which is also its id.
        pattern : str or None
            How text is cut before merging: ``"gpt2"`` (also ``"r50k"``, ``"p50k"``),
            ``"cl100k"``, ``"o200k"``, ``"llama3"``, ``"qwen2"``, a regular expression of the
            ``regex`` package, or None for no cutting.
        special_tokens : {str: id}, optional
            Tokens that text stands for only where ``allowed_special`` says so.
        cache : bool, str or os.PathLike
            Where to keep what loading makes, so that the next time takes milliseconds: True for a
            file in ``TOKFRAG_CACHE_DIR`` (where that is not set, beside ``path``), or a path. It
            is used only where it is whole and made from just this content, and replaced where not.
            It is as much to be trusted as a program: keep it where nobody else writes.

        Returns
        -------
        Tokenizer

        Raises
        ------
        ValueError
            For a file that is not exactly of this format, with the line; for a pattern that is
            neither a name nor a regular expression; for special tokens whose ids collide.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").save_tiktoken("bytes.txt")
        >>> Tokenizer.from_tiktoken("bytes.txt", pattern="gpt2").encode("ab").tolist()
        [97, 98]
        """
        return cls._around(load_tiktoken(path, pattern, special_tokens, cache))

    @classmethod
    def from_gpt2(
        cls,
        merges: FilePath,
        ids: FilePath,
        *,
        pattern: str | None = "gpt2",
        special_tokens: Mapping[str, int] | None = None,
    ) -> Self:
        """Read GPT-2's pair of files, ``vocab.bpe`` (merges) and ``encoder.json`` (ids).

        Parameters
        ----------
        merges : str or os.PathLike
            Path of ``vocab.bpe``.
        ids : str or os.PathLike
            Path of ``encoder.json``. An entry that no merge makes, such as ``<|endoftext|>``, is a
            special token.
        pattern : str, optional
            How text is cut before merging, as the constructor takes it.
        special_tokens : {str: id}, optional
            More special tokens.

        Returns
        -------
        Tokenizer

        Raises
        ------
        ValueError
            A file is malformed, or the two do not fit together; says where.
        """
        return cls._around(load_gpt2(merges, ids, pattern, special_tokens))

    @classmethod
    def from_file(cls, path: FilePath, *, cache: bool | FilePath = False) -> Self:
        """Read a Hugging Face ``tokenizer.json``, or a ``.model`` of sentencepiece.

        Every model is read: byte pairs, WordPiece, WordLevel, Unigram.

        Parameters
        ----------
        path : str or os.PathLike
            May be packed (``.gz``).
        cache : bool, str or os.PathLike
            As in :meth:`from_tiktoken`, for byte pairs with one pattern.

        Returns
        -------
        Tokenizer

        Raises
        ------
        ValueError
            The file is malformed, or asks for what cannot be reproduced exactly; says where.

        Examples
        --------
        >>> from tokfrag import Tokenizer
        >>> Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").save("tokenizer.json")
        >>> Tokenizer.from_file("tokenizer.json").encode("ab").tolist()
        [97, 98]
        """
        return cls._around(load_file(path, cache))

    @classmethod
    def from_sentencepiece(cls, path: FilePath) -> Self:
        """Read a ``.model`` file of sentencepiece, without the sentencepiece package.

        Parameters
        ----------
        path
            A model of type unigram or bpe. Its control pieces (``<s>``, ``</s>``) and the piece
            for unknown characters become special tokens; nothing is put around a text unasked.

        Raises
        ------
        ValueError
            The file is no such model, is cut short, or asks for what cannot be reproduced; says
            where.
        """
        return cls._around(load_sentencepiece(path))

    @classmethod
    def from_pretrained(
        cls,
        folder_or_id: FilePath,
        *,
        revision: str | None = None,
        cache_dir: FilePath | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Read the tokenizer of a model: of its folder, or by its name on the hub.

        Parameters
        ----------
        folder_or_id
            A folder with ``tokenizer.json`` and what goes with it: ``tokenizer_config.json``,
            ``special_tokens_map.json``, ``chat_template.jinja``. Else the name of a model, which
            ``huggingface_hub`` finds in its cache or fetches.
        revision
            Which state of it: a branch, a tag or a commit.
        cache_dir
            The hub's cache, where it is not the usual one.
        local_files_only
            Whether nothing may be fetched; the hub's own ``HF_HUB_OFFLINE`` says so too.

        Raises
        ------
        FileNotFoundError
            There is no such folder, or it has no tokenizer: says what was looked for.
        ValueError
            A file is malformed, or a Git LFS pointer or a web page in the place of one, or asks
            for what cannot be reproduced exactly.
        ImportError
            It is no folder, and ``huggingface_hub`` is not installed.
        """
        return cls._around(
            load_pretrained(
                folder_or_id,
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
        )

    @classmethod
    def from_wordpiece(cls, path: FilePath, lowercase: bool = True) -> Self:
        """Read BERT's ``vocab.txt``: a token a line, its number its id.

        Parameters
        ----------
        path : str or os.PathLike
        lowercase : bool
            Whether text is read in lower case and without accents, as uncased models take it.

        Returns
        -------
        Tokenizer

        Raises
        ------
        ValueError
            A line is empty or comes twice (names it), or ``[UNK]`` is missing.
        """
        return cls.from_specification(read_bert(path, lowercase=lowercase))

    @classmethod
    def get_encoding(cls, name: str, *, cache: bool | FilePath = False) -> Self:
        """Read a vocabulary of tiktoken by its name, from tiktoken's own cache folder.

        Parameters
        ----------
        name : str
            ``"gpt2"``, ``"r50k_base"``, ``"p50k_base"``, ``"p50k_edit"``, ``"cl100k_base"``,
            ``"o200k_base"`` or ``"o200k_harmony"``.
        cache : bool, str or os.PathLike
            As in :meth:`from_tiktoken`; ``"gpt2"``, two files, has none.

        Returns
        -------
        Tokenizer

        Raises
        ------
        FileNotFoundError
            It is not in the folder (``TIKTOKEN_CACHE_DIR``): nothing is ever downloaded.
        ValueError
            The name is none of these, or the file is not what tiktoken would accept.
        """
        if name == "gpt2":
            way = load_gpt2(*cached_gpt2(), "gpt2", None)
        else:
            path = cached_file(name)
            named = ENCODINGS[name]
            way = load_tiktoken(path, named.pattern, named.special_tokens, cache)
        profile = Profile(name=name)
        return cls._around(TextPipeline(way.model, replace(way.values, profile=profile)))

    @classmethod
    def adopt(cls, tokenizer: object) -> Self:
        """Make a tokenizer with the ids of another library's.

        Parameters
        ----------
        tokenizer : object
            A ``tiktoken.Encoding``, a ``tokenizers.Tokenizer`` or a fast tokenizer of
            ``transformers``. One of this class is returned itself.

        Returns
        -------
        Tokenizer

        Raises
        ------
        ValueError
            The tokenizer does something that cannot be reproduced exactly; says what.
        TypeError
            It is of no library that is known.
        """
        if isinstance(tokenizer, cls):
            return tokenizer
        return cls.from_specification(with_chat_template(read_object(tokenizer), tokenizer))


__all__ = ["Origins"]
