"""Vocabulary files to tokenizers, through a cache where one is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tokfrag._core import tokens as _native
from tokfrag._files import read_bytes, unpack
from tokfrag.tokens.formats.gpt2_files import read_gpt2
from tokfrag.tokens.formats.huggingface import parse_huggingface
from tokfrag.tokens.formats.tiktoken_file import parse_tiktoken
from tokfrag.tokens.pipeline import PreparedTokenizer
from tokfrag.tokens.specification import BpeModel
from tokfrag.tokens.tokenizer import Tokenizer
from tokfrag.tokens.vocabulary_cache import VocabularyCache, pipeline_from_json, pipeline_to_json

FilePath = str | os.PathLike[str]


def load_tiktoken(
    path: FilePath,
    pattern: str | None,
    special_tokens: Mapping[str, int] | None,
    cache: bool | FilePath,
) -> Tokenizer:
    """See :meth:`Tokenizer.from_tiktoken`."""
    content = read_bytes(path)
    kept = VocabularyCache.chosen(cache, path, content)
    stored = None if kept is None else kept.read()
    if stored is not None:
        try:
            return Tokenizer._restore(
                stored.archive, pattern=pattern, special_tokens=special_tokens
            )
        except _native.ArchiveError:
            stored = None
    ranked = parse_tiktoken(path, content)
    try:
        tokenizer = Tokenizer._build(
            ranked.bytes,
            ranked.offsets,
            ranked.ranks,
            pattern=pattern,
            special_tokens=special_tokens,
        )
    except _native.VocabularyError as error:
        what, token = error.args
        line = f" line {ranked.lines[token]}:" if token >= 0 else ""
        raise ValueError(f"{path}:{line} {what}") from None
    if kept is not None:
        kept.write({}, None, tokenizer._model.archive())
    return tokenizer


def load_gpt2(
    merges: FilePath, ids: FilePath, pattern: str | None, special_tokens: Mapping[str, int] | None
) -> Tokenizer:
    """See :meth:`Tokenizer.from_gpt2`."""
    tokens, numbers, pairs, special = read_gpt2(merges, ids)
    try:
        return Tokenizer._from_tokens(
            tokens,
            ids=numbers,
            pattern=pattern,
            special_tokens={**special, **(special_tokens or {})},
            merges=pairs,
            whole_pieces=False,
        )
    except _native.VocabularyError as error:
        raise ValueError(f"{ids}: {error.args[0]}") from None


def load_huggingface(path: FilePath, cache: bool | FilePath) -> Tokenizer:
    """See :meth:`Tokenizer.from_file`."""
    content = read_bytes(path)
    kept = VocabularyCache.chosen(cache, path, content)
    stored = None if kept is None else kept.read()
    if stored is not None:
        pipeline = pipeline_from_json(stored.settings["pipeline"])
        try:
            base = Tokenizer._restore(
                stored.archive,
                pattern=stored.settings["pattern"],
                special_tokens={token.content: token.id for token in pipeline.added_tokens},
                merges=stored.merges,
                whole_pieces=stored.settings["whole_pieces"],
            )
        except _native.ArchiveError:
            stored = None
        else:
            return PreparedTokenizer.around(base, pipeline)
    specification = parse_huggingface(unpack(path, content), os.fspath(path))
    tokenizer = PreparedTokenizer.from_specification(specification)
    if kept is not None and isinstance(specification.model, BpeModel):
        settings = {
            "pattern": tokenizer._pattern,
            "whole_pieces": tokenizer._whole,
            "pipeline": pipeline_to_json(specification.pipeline),
        }
        kept.write(settings, tokenizer._merges, tokenizer._model.archive())
    return tokenizer


__all__ = ["load_gpt2", "load_huggingface", "load_tiktoken"]
