"""Write Hugging Face's ``tokenizer.json``: a file that gives the same ids there."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokfrag._files import whole_file
from tokfrag.tokens import byte_alphabet as byte_level
from tokfrag.tokens.formats.huggingface_layout import written_again
from tokfrag.tokens.formats.huggingface_patterns import SPELLING, STEPS, portable
from tokfrag.tokens.models.bert_steps import bert_steps
from tokfrag.tokens.models.by_parts import PartsValues
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeValues
from tokfrag.tokens.models.unigram import UnigramValues
from tokfrag.tokens.normalization import Form
from tokfrag.tokens.patterns import native_name
from tokfrag.tokens.specification import (
    AddedToken,
    BpeModel,
    CallDefaults,
    Pipeline,
    Specification,
    Template,
    TextRule,
    WordPieceModel,
)

Json = dict[str, Any]

_FAMILY = {"r50k": "gpt2", "p50k": "gpt2"}


def write_huggingface(specification: Specification, path: str | os.PathLike[str]) -> None:
    """Write a ``tokenizer.json``.

    Raises
    ------
    ValueError
        Something that the format cannot say, or that would give other ids there.
    """
    data = json.dumps(describe(specification), ensure_ascii=False, separators=(",", ":"))
    with whole_file(Path(path)) as file:
        file.write(data.encode())


def describe(specification: Specification) -> Json:
    """The content of a ``tokenizer.json``."""
    model, pipeline = specification.model, specification.pipeline
    if isinstance(model, BpeModel):
        parts = _bpe(model, pipeline)
    elif isinstance(model, WordPieceModel):
        parts = _wordpiece(model, pipeline)
    elif isinstance(model, (UnigramValues, SentencePieceBpeValues, PartsValues)):
        parts = written_again(model)
    else:
        raise ValueError(f"tokenizer.json: cannot describe a {type(model).__name__}")
    added = [_added_token(token) for token in pipeline.added_tokens]
    listed: Any = parts["model"]["vocab"]
    vocab: dict[str, int] = listed
    if isinstance(listed, list):
        vocab = {token: id for id, (token, _) in enumerate(listed)}
        _place_added_tokens(vocab, pipeline.added_tokens, closed=True)
    else:
        _place_added_tokens(vocab, pipeline.added_tokens)
    names = {id: text for text, id in vocab.items()}
    names |= {token.id: token.content for token in pipeline.added_tokens}
    return {
        "version": "1.0",
        "truncation": _truncation(pipeline.call),
        "padding": _padding(pipeline.call, names),
        "added_tokens": added,
        "post_processor": _post_processor(pipeline, names),
        **parts,
    }


def _bpe(model: BpeModel, pipeline: Pipeline) -> Json:
    spelled = {id: byte_level.to_text(token) for token, id in model.tokens}
    if model.merges is None:
        pairs = list(_pairs_of_ranks(dict(model.tokens)))
    else:
        pairs = [(int(left), int(right)) for left, right in model.merges]
    return {
        "normalizer": _normalizer(pipeline.normalizers),
        "pre_tokenizer": _pre_tokenizer(model, pipeline.prefix_space),
        "decoder": None if model.spaced_decoding else _byte_level(),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": model.whole_pieces,
            "vocab": {text: id for id, text in spelled.items()},
            "merges": [f"{spelled[left]} {spelled[right]}" for left, right in pairs],
        },
    }


def _byte_level(*, space: bool = False, trims: bool = False, by_regex: bool = False) -> Json:
    return {
        "type": "ByteLevel",
        "add_prefix_space": space,
        "trim_offsets": trims,
        "use_regex": by_regex,
    }


def _pre_tokenizer(model: BpeModel, prefix_space: bool) -> Json:
    pattern = model.pattern
    if pattern is None:
        return _byte_level(space=prefix_space)
    name = native_name(pattern)
    family = _FAMILY.get(name, name) if name else None
    if family == "cl100k" and not any(_blank_after_newline(token) for token, _ in model.tokens):
        family = "llama3"
    if family == "gpt2":
        return _byte_level(space=prefix_space, by_regex=True)
    if prefix_space:
        raise ValueError("tokenizer.json: cannot put a space before a text cut by an expression")
    if family in STEPS:
        return {"type": "Sequence", "pretokenizers": [_step(*step) for step in STEPS[family]]}
    expression = SPELLING[family] if family else pattern
    unsure = None if family else portable(expression)
    if unsure is not None:
        raise ValueError(
            f"tokenizer.json: {unsure!r} in the pattern may mean something else to Hugging Face"
        )
    split: Json = {"type": "Split", "pattern": {"Regex": expression}}
    split |= {"behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _byte_level()]}


def _step(kind: str | bool, *told: str | bool) -> Json:
    """A pre-tokenizer as a file has it."""
    members = {
        "ByteLevel": ("add_prefix_space", "use_regex"),
        "Digits": ("individual_digits",),
        "Punctuation": ("behavior",),
        "Split": ("pattern", "behavior", "invert"),
    }[str(kind)]
    step: Json = {"type": kind, **dict(zip(members, told, strict=True))}
    if kind == "Split":
        step["pattern"] = {"Regex": step["pattern"]}
    if kind == "ByteLevel":
        step["trim_offsets"] = False
    return step


def _blank_after_newline(token: bytes) -> bool:
    """Whether a token ends in a newline and other white space, or in what may be a part of some.

    cl100k's expression differs from Llama 3's, which every reader of these files knows, in one
    place: white space at the end of a text is one piece there, and cut behind its last newline
    here. Where no token reaches over that cut, it changes no id.
    """
    tail = token[max(token.rfind(b"\n"), token.rfind(b"\r")) + 1 :]
    return 0 < len(tail) < len(token) and not tail.decode(errors="ignore").strip()


def _normalizer(forms: tuple[Form | TextRule, ...]) -> Json | None:
    unnamed = [form for form in forms if not isinstance(form, str)]
    if unnamed:
        raise ValueError(f"tokenizer.json: cannot describe {unnamed[0]!r}")
    steps = [{"type": form} for form in forms]
    if len(steps) < 2:
        return steps[0] if steps else None
    return {"type": "Sequence", "normalizers": steps}


# Ranks to merges


def _pairs_of_ranks(ids: Mapping[bytes, int]) -> Iterator[tuple[int, int]]:
    """The pairs that merge by tiktoken's rule, the first merging first.

    Every way to cut a token into two tokens is a pair, at the token's rank. There the leftmost pair
    of a rank goes first, here each pair has a rank of its own; but for a token only one of its
    pairs can ever occur: what merging makes of its bytes has two parts at one moment only.
    """
    for token in sorted(ids, key=ids.__getitem__):
        for cut in range(1, len(token)):
            left, right = ids.get(token[:cut]), ids.get(token[cut:])
            if left is not None and right is not None:
                yield left, right


# Added tokens


def _added_token(token: AddedToken) -> Json:
    return {
        "id": token.id,
        "content": token.content,
        "single_word": token.single_word,
        "lstrip": token.lstrip,
        "rstrip": token.rstrip,
        "normalized": token.normalized,
        "special": token.special,
    }


def _place_added_tokens(
    vocab: dict[str, int], added: tuple[AddedToken, ...], *, closed: bool = False
) -> None:
    """Put added tokens into the vocabulary where loading would give them other ids."""
    following = len(vocab)
    for token in added:
        known = vocab.get(token.content)
        if known is not None and known != token.id:
            raise ValueError(
                f"tokenizer.json: {token.content!r} is an added token of id {token.id} and a token"
                f" of id {known}"
            )
        if known is None and token.id != following:
            if closed:
                raise ValueError(
                    f"tokenizer.json: {token.content!r} has id {token.id}, but loading would give"
                    f" it {following}"
                )
            vocab.update((token.content, token.id) for token in added)
            return
        following = max(following, token.id + 1)


# After the model


def _post_processor(pipeline: Pipeline, names: dict[int, str]) -> Json | None:
    steps = []
    if pipeline.trim_offsets:
        steps.append(_byte_level(space=pipeline.trim_prefix_space, trims=True))
    if pipeline.template != Template():
        steps.append(_template(pipeline.template, names))
    if len(steps) < 2:
        return steps[0] if steps else None
    return {"type": "Sequence", "processors": steps}


def _template(template: Template, names: dict[int, str]) -> Json:
    used = {item for item, _ in (*template.single, *template.pair) if isinstance(item, int)}
    unnamed = used - set(names)
    if unnamed:
        raise ValueError(f"tokenizer.json: the template has ids of no token, {sorted(unnamed)}")

    def piece(item: int | str, kind: int) -> Json:
        if isinstance(item, int):
            return {"SpecialToken": {"id": names[item], "type_id": kind}}
        return {"Sequence": {"id": item, "type_id": kind}}

    return {
        "type": "TemplateProcessing",
        "single": [piece(*entry) for entry in template.single],
        "pair": [piece(*entry) for entry in template.pair],
        "special_tokens": {
            names[id]: {"id": names[id], "ids": [id], "tokens": [names[id]]} for id in sorted(used)
        },
    }


def _truncation(call: CallDefaults) -> Json | None:
    if call.max_length is None:
        return None
    return {
        "direction": call.truncation_side.capitalize(),
        "max_length": call.max_length,
        "strategy": "LongestFirst",
        "stride": 0,
    }


def _padding(call: CallDefaults, names: dict[int, str]) -> Json | None:
    if call.padding is None:
        return None
    pad_id = call.pad_id or 0
    return {
        "strategy": "BatchLongest" if call.padding == "longest" else {"Fixed": call.padding},
        "direction": call.padding_side.capitalize(),
        "pad_to_multiple_of": call.pad_to_multiple_of,
        "pad_id": pad_id,
        "pad_type_id": call.pad_type_id,
        "pad_token": names.get(pad_id, "[PAD]"),
    }


# WordPiece


def _bert_flags(model: WordPieceModel, pipeline: Pipeline) -> tuple[bool, bool, bool, bool]:
    """What BERT's normaliser does, be it within the model or before it."""
    flags = (model.clean_text, model.split_chinese, model.strip_accents, model.lowercase)
    if not pipeline.normalizers:
        return flags
    for clean, chinese, strip, lower in itertools.product((False, True), repeat=4):
        steps = bert_steps(
            clean_text=clean, split_chinese=chinese, strip_accents=strip, lowercase=lower
        )
        if steps == pipeline.normalizers and not any(flags):
            return clean, chinese, strip, lower
    raise ValueError(
        f"tokenizer.json: cannot describe {pipeline.normalizers[0]!r} before WordPiece"
    )


def _wordpiece(model: WordPieceModel, pipeline: Pipeline) -> Json:
    clean, chinese, strip, lower = _bert_flags(model, pipeline)
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": clean,
            "handle_chinese_chars": chinese,
            "strip_accents": strip,
            "lowercase": lower,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": None
        if model.spaced_decoding
        else {
            "type": "WordPiece",
            "prefix": model.prefix,
            "cleanup": model.clean_up_decoding,
        },
        "model": {
            "type": "WordPiece",
            "unk_token": model.unknown_token,
            "continuing_subword_prefix": model.prefix,
            "max_input_chars_per_word": model.max_word_length,
            "vocab": dict(model.tokens),
        },
    }
