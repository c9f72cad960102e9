"""Read ``tokenizer.json`` of SentencePiece's kind: Unigram, and byte pairs with metaspaces."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from tokfrag.tokens.formats.huggingface_decoders import read_piece_decoder
from tokfrag.tokens.formats.huggingface_layout import layout_of
from tokfrag.tokens.formats.huggingface_processing import optional, read_pipeline
from tokfrag.tokens.formats.huggingface_steps import (
    read_cuts,
    read_metaspace,
    read_normalizer,
    sequence_items,
)
from tokfrag.tokens.formats.huggingface_vocabulary import (
    read_added_tokens,
    read_ids,
    read_merges,
    read_unknown,
)
from tokfrag.tokens.formats.json_place import Place, shorten
from tokfrag.tokens.models.by_parts import PartsValues
from tokfrag.tokens.models.sentencepiece_bpe import SentencePieceBpeValues
from tokfrag.tokens.models.text_cuts import MarkBlanks
from tokfrag.tokens.models.text_steps import METASPACE, Metaspace, Replace, TextStep
from tokfrag.tokens.models.unigram import UNKNOWN_PENALTY, UnigramValues
from tokfrag.tokens.specification import AddedToken, ModelDescription, Pipeline, Specification

_MARK = Replace(" ", METASPACE)


class Writing(NamedTuple):
    """How a text is written before it is cut; whether each metaspace then begins a piece."""

    steps: tuple[TextStep, ...]
    split: bool


def read_unigram(root: Place, model: Place, live: bool) -> Specification:
    """A Unigram model."""
    model.only("type", "unk_id", "vocab", "byte_fallback")
    place = model.at("vocab")
    tokens: list[tuple[str | bytes, int]] = []
    scores: list[float] = []
    for id, entry in enumerate(place.take(list)):
        match entry:
            case [str(token), (float() | int()) as score] if type(score) is not bool:
                tokens.append((token, id))
                scores.append(float(score))
            case _:
                where = Place(entry, root.source, f"{place.path}[{id}]")
                raise where.refusal(f"got {shorten(entry)}, takes a token and its score")
    if not model.given("unk_id"):
        raise model.refusal("unk_id is null: unknown characters would have no id")
    unknown = model.get("unk_id", int)
    if not 0 <= unknown < len(tokens):
        raise model.at("unk_id").refusal(f"got {unknown}, takes 0 to {len(tokens) - 1}")
    least = min((score for score in scores if math.isfinite(score)), default=0.0)
    if least >= 2 * UNKNOWN_PENALTY:
        raise place.refusal(f"has no score below {least}, takes log-probabilities")
    vocab = {token: id for token, id in tokens if isinstance(token, str)}
    fallback = model.get("byte_fallback", bool, False)
    if fallback and METASPACE not in vocab:
        raise place.refusal(f"has no {METASPACE!r}, which byte_fallback takes")
    values = UnigramValues(
        tuple(tokens),
        tuple(scores),
        unknown,
        byte_fallback=fallback,
        decoding=read_piece_decoder(optional(root, "decoder")),
        layout=layout_of(root),
    )
    return _around(root, values, read_added_tokens(root, vocab, live))


def read_metaspace_bpe(root: Place, model: Place, live: bool) -> Specification:
    """Byte pairs that begin at characters, blanks being metaspaces."""
    place = model.at("vocab")
    vocab = read_ids(place)
    names = {id: token for token, id in vocab.items()}
    merges = read_merges(model.at("merges"), vocab).tolist()
    unknown = read_unknown(model, vocab) if model.given("unk_token") else None
    fallback = model.get("byte_fallback", bool, False)
    if fallback and METASPACE not in vocab:
        raise place.refusal(f"has no {METASPACE!r}, which byte_fallback takes")
    values = SentencePieceBpeValues(
        tuple(sorted(vocab.items(), key=lambda entry: entry[1])),
        tuple((names[left], names[right]) for left, right in merges),
        unknown=None if unknown is None else vocab[unknown],
        byte_fallback=fallback,
        fuse_unknown=model.get("fuse_unk", bool, False),
        decoding=read_piece_decoder(optional(root, "decoder")),
        layout=layout_of(root),
    )
    return _around(root, values, read_added_tokens(root, vocab, live))


def writes_metaspaces(root: Place) -> bool:
    """Whether blanks are metaspaces when the model sees the text."""
    kinds = {
        step.get("type", str)
        for step in sequence_items(optional(root, "pre_tokenizer"), "pretokenizers")
    }
    if "ByteLevel" in kinds:
        return False
    return "Metaspace" in kinds or _MARK in read_normalizer(optional(root, "normalizer"))


def _around(
    root: Place, values: UnigramValues | SentencePieceBpeValues, added: tuple[AddedToken, ...]
) -> Specification:
    """The model with what stands around it: within the model, where the order allows."""
    steps = read_normalizer(optional(root, "normalizer"))
    writing = _as_writing(root, steps)
    model: ModelDescription
    if writing is None:
        cuts = read_cuts(optional(root, "pre_tokenizer"))
        if not any(isinstance(step, MarkBlanks) for step in cuts) and _MARK not in steps:
            raise root.refusal(
                "pre_tokenizer: leaves blanks in the text, takes a Metaspace among its steps"
            )
        model = PartsValues(replace(values, split=False, layout=""), cuts, values.layout)
        return Specification(model, read_pipeline(root, added, steps))
    # Tokens that are sought in the normalised text: then it is not the model that normalises.
    before = steps if any(token.normalized for token in added) else ()
    text = (*(() if before else steps), *writing.steps)
    model = replace(values, text=text, split=writing.split)
    pipeline: Pipeline = read_pipeline(root, added, before)
    return Specification(model, pipeline)


def _as_writing(root: Place, steps: tuple[TextStep, ...]) -> Writing | None:
    """What the pre-tokenizer comes to; None: it cuts in another way."""
    given = sequence_items(optional(root, "pre_tokenizer"), "pretokenizers")
    kinds = [step.get("type", str) for step in given]
    marked = bool(steps) and steps[-1] == _MARK
    if not kinds:
        return Writing((), False) if marked else None
    if kinds == ["Split"] and marked and given[0].at("pattern").value == {"String": " "}:
        # Gemma's: there is no blank left to cut at.
        return Writing((), False)
    if kinds[-1:] != ["Metaspace"] or kinds[:-1] not in ([], ["WhitespaceSplit"]):
        return None
    words = len(kinds) == 2
    prepend, split = read_metaspace(given[-1])
    if words:
        given[0].only("type")
        if prepend != "always" or not split:
            return None
    return Writing((Metaspace(prepend, words),), split)  # type: ignore[arg-type]


__all__ = ["read_metaspace_bpe", "read_unigram", "writes_metaspaces"]
