"""The parts of a ``tokenizer.json`` that are kept as they were written, for writing it again."""

from __future__ import annotations

import json
from typing import Any

from tokfrag.tokens import byte_alphabet
from tokfrag.tokens.formats.json_place import Place
from tokfrag.tokens.models.by_parts import PartsValues
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeValues
from tokfrag.tokens.models.unigram import UnigramValues
from tokfrag.tokens.models.word_rules import Merges
from tokfrag.tokens.models.words import WordValues
from tokfrag.tokens.specification import BpeModel, ModelDescription

_PARTS = ("normalizer", "pre_tokenizer", "decoder")


def layout_of(root: Place) -> str:
    """What says how a text is prepared, and the model's settings, as JSON."""
    content: dict[str, Any] = root.take(dict)
    model = {k: v for k, v in content["model"].items() if k not in ("vocab", "merges")}
    parts = {name: content.get(name) for name in _PARTS}
    return json.dumps({**parts, "model": model}, ensure_ascii=False, separators=(",", ":"))


def written_again(
    description: UnigramValues | SentencePieceBpeValues | PartsValues,
) -> dict[str, Any]:
    """The parts of the ``tokenizer.json`` that a description was read from.

    Raises
    ------
    ValueError
        It was not read from one.
    """
    if not description.layout:
        raise ValueError(
            f"tokenizer.json: cannot describe a {type(description).__name__} that was not read from"
            " one"
        )
    parts: dict[str, Any] = json.loads(description.layout)
    core = description.core if isinstance(description, PartsValues) else description
    vocab, merges = _tables(core)
    parts["model"]["vocab"] = vocab
    if merges is not None:
        parts["model"]["merges"] = merges
    return parts


def _tables(core: ModelDescription) -> tuple[Any, list[list[str]] | None]:
    """The vocabulary and the merges."""
    if isinstance(core, UnigramValues):
        entries = zip(core.tokens, core.scores, strict=True)
        return [[token, score] for (token, _), score in entries], None
    if isinstance(core, BpeModel):
        spelled = {id: byte_alphabet.to_text(token) for token, id in core.tokens}
        pairs = [] if core.merges is None else core.merges.tolist()
        merges = [[spelled[left], spelled[right]] for left, right in pairs]
        return {token: id for id, token in spelled.items()}, merges
    if isinstance(core, SentencePieceBpeValues):
        return dict(core.tokens), [list(pair) for pair in core.merges or ()]
    if isinstance(core, WordValues) and isinstance(core.rule, Merges):
        return dict(core.tokens), [list(pair) for pair in core.rule.merges]
    return dict(core.tokens), None


__all__ = ["layout_of", "written_again"]
