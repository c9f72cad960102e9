"""Read a ``tokenizers.Tokenizer``, or a fast tokenizer of ``transformers`` around one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tokfrag.tokens.formats.huggingface import parse_huggingface
from tokfrag.tokens.specification import Profile, Specification

_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# What transformers says where a model has no limit.
_NO_LIMIT = int(1e30)


def read_huggingface_object(tokenizer: Any) -> Specification:
    """Describe a ``tokenizers.Tokenizer``; ValueError names what cannot be reproduced."""
    specification = parse_huggingface(tokenizer.to_str().encode(), "tokenizer", live=True)
    return _with_special_in_text(specification, tokenizer)


def read_transformers_object(tokenizer: Any) -> Specification:
    """Describe a fast tokenizer of ``transformers``, its roles, sides and limit included.

    Truncation and padding are arguments of its calls. What the last call has left in the tokenizer
    inside is no setting of it.
    """
    inner = tokenizer.backend_tokenizer
    content = json.loads(inner.to_str())
    content.update(truncation=None, padding=None)
    specification = parse_huggingface(json.dumps(content).encode(), "tokenizer", live=True)
    specification = _with_special_in_text(specification, inner)
    named = ((role, getattr(tokenizer, f"{role}_token")) for role in _ROLES)
    limit = tokenizer.model_max_length
    profile = Profile(
        name=tokenizer.name_or_path or None,
        roles=tuple((role, str(token)) for role, token in named if token is not None),
        model_max_length=None if limit is None or limit >= _NO_LIMIT else int(limit),
        token_type_ids="token_type_ids" in tokenizer.model_input_names,
    )
    pipeline = specification.pipeline
    call = replace(
        pipeline.call,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
    )
    return replace(specification, pipeline=replace(pipeline, call=call, profile=profile))


def _with_special_in_text(specification: Specification, tokenizer: Any) -> Specification:
    """Whether a call finds special tokens in the text, which no file holds."""
    if not getattr(tokenizer, "encode_special_tokens", False):
        return specification
    pipeline = specification.pipeline
    call = replace(pipeline.call, special_in_text=False)
    return replace(specification, pipeline=replace(pipeline, call=call))


__all__ = ["read_huggingface_object", "read_transformers_object"]
