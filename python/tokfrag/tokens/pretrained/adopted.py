"""What a tokenizer of ``transformers`` keeps beside its ids, for one that is adopted."""

from __future__ import annotations

from dataclasses import replace

from tokfrag.tokens.specification import Specification


def with_chat_template(specification: Specification, tokenizer: object) -> Specification:
    """The description of a tokenizer with its chat template and whether it gives masks."""
    names = getattr(tokenizer, "model_input_names", None)
    template = getattr(tokenizer, "chat_template", None)
    if names is None and template is None:
        return specification
    if isinstance(template, dict):
        template = tuple(template.items())
    pipeline = specification.pipeline
    profile = replace(
        pipeline.profile,
        attention_mask=names is None or "attention_mask" in names,
        chat_template=template,
    )
    return replace(specification, pipeline=replace(pipeline, profile=profile))


__all__ = ["with_chat_template"]
