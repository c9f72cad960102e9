"""Read ``tokenizer.json`` of any other layout: the model behind cuts of any kind."""

from __future__ import annotations

from tokfrag.tokens.formats.huggingface_decoders import read_word_decoder
from tokfrag.tokens.formats.huggingface_layout import layout_of
from tokfrag.tokens.formats.huggingface_processing import optional, read_pipeline
from tokfrag.tokens.formats.huggingface_steps import read_cuts, read_normalizer
from tokfrag.tokens.formats.huggingface_vocabulary import (
    bytes_missing,
    read_added_tokens,
    read_byte_tokens,
    read_ids,
    read_merges,
    read_unknown,
)
from tokfrag.tokens.formats.json_place import Place
from tokfrag.tokens.models.by_parts import PartsValues
from tokfrag.tokens.models.text_cuts import CutStep, SpellBytes
from tokfrag.tokens.models.word_decoding import ByteLevelDecoding
from tokfrag.tokens.models.word_rules import LongestMatches, Merges, WholeWords, WordRule
from tokfrag.tokens.models.words import WordValues
from tokfrag.tokens.specification import AddedToken, BpeModel, ModelDescription, Specification


def read_bpe_by_parts(root: Place, model: Place, live: bool) -> Specification:
    """Byte pairs of any layout: by bytes where they are GPT-2's, else by characters."""
    place = model.at("vocab")
    vocab = read_ids(place)
    added = read_added_tokens(root, vocab, live)
    prefix = _text(model, "continuing_subword_prefix")
    suffix = _text(model, "end_of_word_suffix")
    merges = read_merges(model.at("merges"), vocab, prefix)
    cuts = read_cuts(optional(root, "pre_tokenizer"))
    decoder = optional(root, "decoder")
    decoding = read_word_decoder(decoder)
    by_bytes = SpellBytes() in cuts and not (
        prefix or suffix or model.get("byte_fallback", bool, False) or bytes_missing(vocab)
    )
    if by_bytes and (decoder is None or decoding == ByteLevelDecoding()):
        tokens = read_byte_tokens(place, vocab, merges, added)
        whole = model.get("ignore_merges", bool, False)
        core: ModelDescription = BpeModel(
            tokens, merges, None, whole, spaced_decoding=decoder is None
        )
        if cuts[-1] == SpellBytes():
            # Nothing looks at the bytes one by one.
            cuts = cuts[:-1]
        return _specification(root, core, cuts, added)
    names = {id: token for token, id in vocab.items()}
    rule = Merges(
        tuple((names[left], names[right]) for left, right in merges.tolist()),
        read_unknown(model, vocab) if model.given("unk_token") else None,
        prefix,
        suffix,
        model.get("fuse_unk", bool, False),
        model.get("byte_fallback", bool, False),
        model.get("ignore_merges", bool, False),
    )
    return _specification(root, _words(root, vocab, rule), cuts, added)


def read_wordpiece_by_parts(root: Place, model: Place, live: bool) -> Specification:
    """WordPiece behind a normaliser and a pre-tokenizer of any kind."""
    vocab = read_ids(model.at("vocab"))
    rule = LongestMatches(
        read_unknown(model, vocab),
        model.get("continuing_subword_prefix", str, "##"),
        model.get("max_input_chars_per_word", int, 100),
    )
    return _plain(root, vocab, rule, live)


def read_word_level(root: Place, model: Place, live: bool) -> Specification:
    """A vocabulary of whole words."""
    model.only("type", "vocab", "unk_token")
    vocab = read_ids(model.at("vocab"))
    return _plain(root, vocab, WholeWords(read_unknown(model, vocab)), live)


def _plain(root: Place, vocab: dict[str, int], rule: WordRule, live: bool) -> Specification:
    cuts = read_cuts(optional(root, "pre_tokenizer"))
    added = read_added_tokens(root, vocab, live)
    return _specification(root, _words(root, vocab, rule), cuts, added)


def _words(root: Place, vocab: dict[str, int], rule: WordRule) -> WordValues:
    tokens = tuple(sorted(vocab.items(), key=lambda entry: entry[1]))
    return WordValues(tokens, rule, read_word_decoder(optional(root, "decoder")))


def _specification(
    root: Place, core: ModelDescription, cuts: tuple[CutStep, ...], added: tuple[AddedToken, ...]
) -> Specification:
    steps = read_normalizer(optional(root, "normalizer"))
    model = PartsValues(core, cuts, layout_of(root))
    return Specification(model, read_pipeline(root, added, steps))


def _text(model: Place, key: str) -> str:
    return model.get(key, str) if model.given(key) else ""


__all__ = ["read_bpe_by_parts", "read_word_level", "read_wordpiece_by_parts"]
