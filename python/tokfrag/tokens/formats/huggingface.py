"""Read Hugging Face's ``tokenizer.json``.

What cannot be reproduced exactly is refused, with the place in the file. Where this reader knows
more than one way to write the same thing, all of them are read. Byte-level BPE with a native
pattern and BERT's WordPiece are read here; what has metaspaces, and what is put together otherwise,
by the modules beside this one.
"""

from __future__ import annotations

from tokfrag.tokens.formats.huggingface_decoders import read_word_decoder
from tokfrag.tokens.formats.huggingface_parts import (
    read_bpe_by_parts,
    read_word_level,
    read_wordpiece_by_parts,
)
from tokfrag.tokens.formats.huggingface_patterns import native_pattern
from tokfrag.tokens.formats.huggingface_processing import optional, read_pipeline
from tokfrag.tokens.formats.huggingface_sentencepiece import (
    read_metaspace_bpe,
    read_unigram,
    writes_metaspaces,
)
from tokfrag.tokens.formats.huggingface_steps import only_forms, read_normalizer
from tokfrag.tokens.formats.huggingface_vocabulary import (
    bytes_missing,
    read_added_tokens,
    read_byte_tokens,
    read_ids,
    read_merges,
    read_unknown,
)
from tokfrag.tokens.formats.json_place import Place, parse_json
from tokfrag.tokens.models.unicode_step import UnicodeForm
from tokfrag.tokens.models.word_decoding import WordPieceDecoding
from tokfrag.tokens.specification import BpeModel, Specification, WordPieceModel


def parse_huggingface(
    data: bytes, source: str = "tokenizer.json", *, live: bool = False
) -> Specification:
    """Read the content of a ``tokenizer.json``; `source` is what complaints call it.

    Reading a file, Hugging Face's library may give added tokens other ids than the file says: such
    a file is refused. The ids of a ``live`` tokenizer are those it has.

    Raises
    ------
    ValueError
        The file is malformed, or asks for something that cannot be reproduced exactly; names the
        place.

    Examples
    --------
    >>> parse_huggingface(b"[]")
    Traceback (most recent call last):
        ...
    ValueError: tokenizer.json: got [], takes an object
    """
    root = parse_json(data, source)
    root.only(
        *("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer"),
        *("post_processor", "decoder", "model"),
    )
    model = root.at("model")
    kind = model.get("type", str, _untyped(model))
    if kind == "BPE":
        return _read_bpe(root, model, live)
    if kind == "WordPiece":
        return _read_wordpiece(root, model, live)
    if kind == "Unigram":
        return read_unigram(root, model, live)
    if kind == "WordLevel":
        return read_word_level(root, model, live)
    raise model.refusal(f"got type {kind!r}, takes 'BPE', 'WordPiece', 'WordLevel' or 'Unigram'")


def _untyped(model: Place) -> str:
    """The type of a model whose file does not say it, as files of before 2021 do not."""
    members = model.take(dict)
    if "merges" in members:
        return "BPE"
    if "unk_id" in members or type(members.get("vocab")) is list:
        return "Unigram"
    return "WordPiece" if "max_input_chars_per_word" in members else "WordLevel"


# Byte-level BPE


def _read_bpe(root: Place, model: Place, live: bool) -> Specification:
    model.only(
        *("type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"),
        *("fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"),
    )
    if model.given("dropout") and model.get("dropout", float) != 0.0:
        raise model.refusal(f"dropout {model.get('dropout', float)} makes encoding random")
    forms = only_forms(read_normalizer(optional(root, "normalizer")))
    native = native_pattern(optional(root, "pre_tokenizer"))
    decoder = optional(root, "decoder")
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    affixed = any(model.given(key) and model.get(key, str) for key in affixes)
    whole_pieces = model.get("ignore_merges", bool, False)
    vocab = read_ids(model.at("vocab"))
    if not (affixed or whole_pieces) and writes_metaspaces(root):
        return read_metaspace_bpe(root, model, live)
    if (
        native is None
        or forms is None
        or affixed
        or bytes_missing(vocab)
        or not (decoder is None or _is_byte_level_decoder(decoder))
    ):
        return read_bpe_by_parts(root, model, live)
    pattern, prefix_space = native
    added = read_added_tokens(root, vocab, live)
    merges = read_merges(model.at("merges"), vocab)
    tokens = read_byte_tokens(model.at("vocab"), vocab, merges, added)
    read = BpeModel(tokens, merges, pattern, whole_pieces, spaced_decoding=decoder is None)
    steps = tuple(map(UnicodeForm, forms))
    return Specification(read, read_pipeline(root, added, steps, prefix_space=prefix_space))


def _is_byte_level_decoder(place: Place) -> bool:
    kind = place.get("type", str)
    if kind == "Sequence":
        return all(_is_byte_level_decoder(step) for step in place.at("decoders").items())
    return kind == "ByteLevel"


# WordPiece


def _read_wordpiece(root: Place, model: Place, live: bool) -> Specification:
    model.only(
        "type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"
    )
    vocab = read_ids(model.at("vocab"))
    unknown = read_unknown(model, vocab)
    longest = model.get("max_input_chars_per_word", int, 100)
    if longest < 0:
        raise model.refusal(f"max_input_chars_per_word is {longest}, takes 0 or more")
    prefix = model.get("continuing_subword_prefix", str, "##")
    normalizer = optional(root, "normalizer")
    added = read_added_tokens(root, vocab, live)
    decoding = read_word_decoder(optional(root, "decoder"))
    spaced = optional(root, "decoder") is None
    if (
        _kind(normalizer) != "BertNormalizer"
        or _kind(optional(root, "pre_tokenizer")) != "BertPreTokenizer"
        or normalizer is None
        or not (spaced or (isinstance(decoding, WordPieceDecoding) and decoding.prefix == prefix))
    ):
        return read_wordpiece_by_parts(root, model, live)
    steps = read_normalizer(normalizer)
    # Where a token is looked for in the normalised text, it is not the model that normalises.
    apart = any(token.normalized for token in added)
    lowercase = normalizer.get("lowercase", bool)
    # Unsaid, accents are stripped when letters are lowered.
    strips = normalizer.given("strip_accents")
    read = WordPieceModel(
        tuple(sorted(vocab.items(), key=lambda entry: entry[1])),
        unknown_token=unknown,
        prefix=prefix,
        max_word_length=longest,
        clean_text=not apart and normalizer.get("clean_text", bool),
        split_chinese=not apart and normalizer.get("handle_chinese_chars", bool),
        lowercase=not apart and lowercase,
        strip_accents=not apart
        and (normalizer.get("strip_accents", bool) if strips else lowercase),
        clean_up_decoding=decoding.clean_up if isinstance(decoding, WordPieceDecoding) else True,
        spaced_decoding=spaced,
    )
    return Specification(read, read_pipeline(root, added, steps if apart else ()))


def _kind(place: Place | None) -> str | None:
    return None if place is None else place.get("type", str)
