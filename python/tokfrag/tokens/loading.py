"""Vocabulary files to tokenizers, through a cache where one is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tokfrag._core import tokens as _native
from tokfrag._files import unpack
from tokfrag.tokens.formats.gpt2_files import read_gpt2
from tokfrag.tokens.formats.huggingface import parse_huggingface
from tokfrag.tokens.formats.sentencepiece import specification_of_sentencepiece
from tokfrag.tokens.formats.sentencepiece_model import parse_sentencepiece
from tokfrag.tokens.formats.tiktoken_file import parse_tiktoken
from tokfrag.tokens.models.byte_pair import BytePair
from tokfrag.tokens.pipeline import TextPipeline, normal_tokens
from tokfrag.tokens.pretrained.files import find_folder, read_true_bytes
from tokfrag.tokens.pretrained.reading import read_folder
from tokfrag.tokens.specification import Pipeline, special_added
from tokfrag.tokens.vocabulary_cache import VocabularyCache, pipeline_from_json, pipeline_to_json

FilePath = str | os.PathLike[str]


def load_tiktoken(
    path: FilePath,
    pattern: str | None,
    special_tokens: Mapping[str, int] | None,
    cache: bool | FilePath,
) -> TextPipeline:
    """See :meth:`Tokenizer.from_tiktoken`."""
    content = read_true_bytes(path)
    pipeline = Pipeline(special_added(special_tokens or {}))
    added = pipeline.added_tokens
    kept = VocabularyCache.chosen(cache, path, content)
    stored = None if kept is None else kept.read()
    if stored is not None:
        try:
            model = BytePair.from_archive(stored.archive, pattern=pattern, added=added)
        except _native.ArchiveError:
            stored = None
        else:
            return TextPipeline(model, pipeline)
    ranked = parse_tiktoken(path, content)
    try:
        model = BytePair.from_arrays(
            ranked.bytes, ranked.offsets, ranked.ranks, pattern=pattern, added=added
        )
    except _native.VocabularyError as error:
        what, token = error.args
        line = f" line {ranked.lines[token]}:" if token >= 0 else ""
        raise ValueError(f"{path}:{line} {what}") from None
    if kept is not None:
        kept.write({}, None, model.native.archive())
    return TextPipeline(model, pipeline)


def load_gpt2(
    merges: FilePath, ids: FilePath, pattern: str | None, special_tokens: Mapping[str, int] | None
) -> TextPipeline:
    """See :meth:`Tokenizer.from_gpt2`."""
    specification = read_gpt2(merges, ids, pattern=pattern, special_tokens=special_tokens)
    try:
        return TextPipeline.of(specification)
    except _native.VocabularyError as error:
        raise ValueError(f"{ids}: {error.args[0]}") from None


def load_sentencepiece(path: FilePath) -> TextPipeline:
    """See :meth:`Tokenizer.from_sentencepiece`."""
    return _sentencepiece(path, unpack(path, read_true_bytes(path)))


def _sentencepiece(path: FilePath, content: bytes) -> TextPipeline:
    try:
        return TextPipeline.of(specification_of_sentencepiece(parse_sentencepiece(content)))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def load_file(path: FilePath, cache: bool | FilePath) -> TextPipeline:
    """See :meth:`Tokenizer.from_file`."""
    content = read_true_bytes(path)
    if os.fspath(path).endswith((".model", ".model.gz")):
        return _sentencepiece(path, unpack(path, content))
    kept = VocabularyCache.chosen(cache, path, content)
    stored = None if kept is None else kept.read()
    if stored is not None:
        pipeline = pipeline_from_json(stored.settings["pipeline"])
        try:
            model = BytePair.from_archive(
                stored.archive,
                pattern=stored.settings["pattern"],
                added=normal_tokens(pipeline),
                merges=stored.merges,
                whole_pieces=stored.settings["whole_pieces"],
                spaced_decoding=stored.settings["spaced_decoding"],
            )
        except _native.ArchiveError:
            stored = None
        else:
            return TextPipeline(model, pipeline)
    specification = parse_huggingface(unpack(path, content), os.fspath(path))
    try:
        loaded = TextPipeline.of(specification)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    if kept is not None and isinstance(loaded.model, BytePair):
        settings = {
            "pattern": loaded.model.pattern,
            "whole_pieces": loaded.model.whole_pieces,
            "spaced_decoding": loaded.model.spaced_decoding,
            "pipeline": pipeline_to_json(loaded.values),
        }
        kept.write(settings, loaded.model.merges, loaded.model.native.archive())
    return loaded


def load_pretrained(
    folder_or_id: FilePath,
    *,
    revision: str | None,
    cache_dir: FilePath | None,
    local_files_only: bool,
) -> TextPipeline:
    """See :meth:`Tokenizer.from_pretrained`."""
    folder = find_folder(
        folder_or_id, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
    )
    return TextPipeline.of(read_folder(folder))


__all__ = ["load_file", "load_gpt2", "load_pretrained", "load_sentencepiece", "load_tiktoken"]
