"""Read Hugging Face's ``tokenizer.json``: byte-level BPE and WordPiece.

What cannot be reproduced exactly is refused, with the place in the file. Where this reader knows
more than one way to write the same thing, all of them are read.
"""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import formats as _native
from tokfrag.tokens import byte_alphabet as byte_level
from tokfrag.tokens.formats.huggingface_patterns import read_pre_tokenizer
from tokfrag.tokens.formats.huggingface_processing import (
    read_padding,
    read_post_processor,
    read_truncation,
)
from tokfrag.tokens.formats.json_place import Place, parse_json, shorten
from tokfrag.tokens.normalization import Form, normalize
from tokfrag.tokens.specification import (
    AddedToken,
    BpeModel,
    CallDefaults,
    Pipeline,
    Specification,
    WordPieceModel,
)

_FORMS: dict[str, Form] = {"NFC": "NFC", "NFD": "NFD", "NFKC": "NFKC", "NFKD": "NFKD"}
_MAX_ID = 2**32 - 1
# The flags in the order of AddedToken's.
_ADDED_FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")
_ADDED = {"id", "content", *_ADDED_FLAGS}


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
    kind = model.get("type", str, "BPE" if "merges" in model.take(dict) else "")
    if kind == "BPE":
        return _read_bpe(root, model, live)
    if kind == "WordPiece":
        return _read_wordpiece(root, model, live)
    raise model.refusal(f"got type {kind!r}, takes 'BPE' or 'WordPiece'")


def _optional(root: Place, key: str) -> Place | None:
    return root.at(key) if root.given(key) else None


# Byte-level BPE


def _read_bpe(root: Place, model: Place, live: bool) -> Specification:
    model.only(
        *("type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"),
        *("fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"),
    )
    if model.given("dropout") and model.get("dropout", float) != 0.0:
        raise model.refusal(f"dropout {model.get('dropout', float)} makes encoding random")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.given(key) and model.get(key, str):
            raise model.refusal(f"{key} is {model.get(key, str)!r}, takes null or ''")
    forms = _read_forms(_optional(root, "normalizer"))
    pattern, prefix_space = read_pre_tokenizer(_nullable(root, "pre_tokenizer"))
    whole_pieces = model.get("ignore_merges", bool, False)
    vocab = _read_ids(model.at("vocab"))
    added = _read_added_tokens(root, vocab, live)
    for token in added:
        if token.normalized and normalize(token.content, forms) != token.content:
            raise root.at("added_tokens").refusal(
                f"{shorten(token.content)} is looked for normalised, but decoded as it is"
            )
    merges = _read_merges(model.at("merges"), vocab)
    tokens = _read_byte_tokens(model.at("vocab"), vocab, merges, added)
    decoder = _optional(root, "decoder")
    if decoder is not None and not _is_byte_level_decoder(decoder):
        raise decoder.refusal(f"got {shorten(decoder.value)}, takes ByteLevel or null")
    template, trim = read_post_processor(_optional(root, "post_processor"))
    pipeline = Pipeline(
        added_tokens=added,
        normalizers=forms,
        prefix_space=prefix_space,
        template=template,
        trim_offsets=trim is not None,
        trim_prefix_space=bool(trim),
        call=_read_call(root),
    )
    read = BpeModel(tokens, merges, pattern, whole_pieces, spaced_decoding=decoder is None)
    return Specification(read, pipeline)


def _nullable(root: Place, key: str) -> Place:
    return Place(root.take(dict).get(key), root.source, key)


def _read_ids(place: Place) -> dict[str, int]:
    vocab: dict[str, int] = place.take(dict)
    if not vocab:
        raise place.refusal("has no token")
    for token, id in vocab.items():
        if type(id) is not int or not 0 <= id <= _MAX_ID:
            raise place.refusal(
                f"token {shorten(token)} has id {shorten(id)}, takes 0 to {_MAX_ID}"
            )
        if not token:
            raise place.refusal(f"the token of id {id} is empty")
    if len(set(vocab.values())) != len(vocab):
        first: dict[int, str] = {}
        for token, id in vocab.items():
            if id in first:
                raise place.refusal(
                    f"tokens {shorten(first[id])} and {shorten(token)} both have id {id}"
                )
            first[id] = token
    return vocab


def _read_merges(place: Place, vocab: dict[str, int]) -> NDArray[np.int64]:
    """The merges as pairs of ids; all of them are written ``"a b"``, or all ``["a", "b"]``."""
    merges = place.take(list)
    places, fault = _native.merge_places(list(vocab), merges)
    if fault >= 0:
        spaced = type(merges[0]) is str
        raise Place(merges[fault], place.source, f"{place.path}[{fault}]").refusal(
            f"got {shorten(merges[fault])}, takes two tokens that join to a third, written as"
            f" {'a string with one space' if spaced else 'an array of two strings'}"
        )
    pairs = np.fromiter(vocab.values(), np.int64, len(vocab))[places]
    ordered = np.sort(pairs[:, 0] << 32 | pairs[:, 1])
    if (ordered[1:] == ordered[:-1]).any():
        seen: dict[tuple[int, int], int] = {}
        for index, (left, right) in enumerate(pairs.tolist()):
            if (left, right) in seen:
                raise place.refusal(f"[{index}] is the same pair as [{seen[left, right]}]")
            seen[left, right] = index
    return pairs


def _read_byte_tokens(
    place: Place, vocab: dict[str, int], merges: NDArray[np.int64], added: tuple[AddedToken, ...]
) -> tuple[tuple[bytes, int], ...]:
    """The tokens that text can be encoded to: those of the vocabulary but the added ones."""
    apart = {token.content for token in added}
    merged = _ids_of_merges(vocab, merges) if apart else set()
    tokens: list[tuple[bytes, int]] = []
    for (text, id), token in zip(vocab.items(), byte_level.all_to_bytes(vocab), strict=True):
        if text in apart and id not in merged and (token is None or len(token) > 1):
            continue
        if text in apart and token is not None and token != text.encode():
            raise place.refusal(
                f"{shorten(text)} is an added token, and the byte-level spelling of {token!r} too"
            )
        if token is None:
            raise place.refusal(
                f"token {shorten(text)} is no byte-level spelling, and no added token either"
            )
        tokens.append((token, id))
    single = {token for token, _ in tokens if len(token) == 1}
    missing = [byte for byte in range(256) if bytes([byte]) not in single]
    if missing:
        spelling = byte_level.to_text(bytes([missing[0]]))
        raise place.refusal(
            f"has no token for byte {missing[0]:#04x} ({spelling!r}); text with it would lose it"
            f" ({len(missing)} bytes are missing)"
        )
    return tuple(sorted(tokens, key=operator.itemgetter(1)))


def _ids_of_merges(vocab: dict[str, int], merges: NDArray[np.int64]) -> set[int]:
    """The ids of all that is merged, and of what merging makes."""
    names = {id: text for text, id in vocab.items()}
    made = {vocab[names[left] + names[right]] for left, right in merges.tolist()}
    return made | set(merges.ravel().tolist())


def _is_byte_level_decoder(place: Place) -> bool:
    kind = place.get("type", str)
    if kind == "Sequence":
        return all(_is_byte_level_decoder(step) for step in place.at("decoders").items())
    return kind == "ByteLevel"


def _read_forms(place: Place | None) -> tuple[Form, ...]:
    if place is None:
        return ()
    kind = place.get("type", str)
    if kind == "Sequence":
        place.only("type", "normalizers")
        return tuple(form for step in place.at("normalizers").items() for form in _read_forms(step))
    if kind not in _FORMS:
        raise place.refusal(f"got {kind!r}, takes {', '.join(_FORMS)} or a sequence of them")
    place.only("type")
    return (_FORMS[kind],)


# Added tokens


def _read_added_tokens(root: Place, vocab: dict[str, int], live: bool) -> tuple[AddedToken, ...]:
    """The added tokens, each with the id that loading gives it, which must be the stated one."""
    added: dict[str, AddedToken] = {}
    given = root.get("added_tokens", list, [])
    free = len(vocab)  # the next id that none has
    for index, entry in enumerate(given):
        place = Place(entry, root.source, f"added_tokens[{index}]")
        token = _plainly_read(entry) or _read_added_token(place)
        if token.content in added:
            raise place.refusal(f"content {shorten(token.content)} is there twice")
        expected = vocab.get(token.content, free)
        if token.id != expected and not live:
            raise place.refusal(
                f"{shorten(token.content)} has id {token.id}, but loading gives it {expected}: its"
                " id in the vocabulary, or else the next free one"
            )
        free = max(free, token.id + 1)
        added[token.content] = token
    return tuple(added.values())


def _plainly_read(entry: object) -> AddedToken | None:
    """An added token that is written as they mostly are; None: to be read with care.

    There may be ten thousands of them.
    """
    if type(entry) is not dict or len(entry) != len(_ADDED) or entry.keys() != _ADDED:
        return None
    content, id = entry["content"], entry["id"]
    flags = [entry[name] for name in _ADDED_FLAGS]
    if type(content) is not str or type(id) is not int or not content.isascii() or not content:
        return None
    return AddedToken(content, id, *flags) if all(type(flag) is bool for flag in flags) else None


def _read_added_token(place: Place) -> AddedToken:
    place.only(*_ADDED)
    content = place.get("content", str)
    if not content:
        raise place.refusal("content is empty")
    _check_text(place, content)
    return AddedToken(
        content,
        place.get("id", int),
        special=place.get("special", bool, False),
        normalized=place.get("normalized", bool, True),
        single_word=place.get("single_word", bool, False),
        lstrip=place.get("lstrip", bool, False),
        rstrip=place.get("rstrip", bool, False),
    )


def _check_text(place: Place, content: str) -> None:
    try:
        content.encode()
    except UnicodeEncodeError:
        raise place.refusal(f"content {shorten(content)} has half a surrogate pair") from None


def _read_call(root: Place) -> CallDefaults:
    max_length, side = read_truncation(_optional(root, "truncation"))
    return read_padding(_optional(root, "padding"), max_length, side)


# WordPiece


def _read_wordpiece(root: Place, model: Place, live: bool) -> Specification:
    model.only(
        "type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"
    )
    vocab = _read_ids(model.at("vocab"))
    unknown = model.get("unk_token", str, "[UNK]")
    if unknown not in vocab:
        raise model.refusal(f"unk_token {shorten(unknown)} is not in the vocabulary")
    longest = model.get("max_input_chars_per_word", int, 100)
    if longest < 0:
        raise model.refusal(f"max_input_chars_per_word is {longest}, takes 0 or more")
    normalizer = _optional(root, "normalizer")
    if normalizer is None or normalizer.get("type", str) != "BertNormalizer":
        raise root.refusal(
            f"normalizer: got {shorten(root.take(dict).get('normalizer'))}, takes BertNormalizer"
        )
    normalizer.only("type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    lowercase = normalizer.get("lowercase", bool)
    # Unsaid, accents are stripped when letters are lowered.
    strips = normalizer.given("strip_accents")
    splitter = _optional(root, "pre_tokenizer")
    if splitter is None or splitter.get("type", str) != "BertPreTokenizer":
        raise root.refusal(
            f"pre_tokenizer: got {shorten(root.take(dict).get('pre_tokenizer'))},"
            " takes BertPreTokenizer"
        )
    prefix = model.get("continuing_subword_prefix", str, "##")
    clean_up = True
    decoder = _optional(root, "decoder")
    if decoder is not None:
        if decoder.get("type", str) != "WordPiece" or decoder.get("prefix", str) != prefix:
            raise decoder.refusal(
                f"got {shorten(decoder.value)}, takes WordPiece with prefix {prefix!r}"
            )
        clean_up = decoder.get("cleanup", bool)
    template, trim = read_post_processor(_optional(root, "post_processor"))
    if trim is not None:
        raise root.refusal("post_processor: got ByteLevel, takes a template")
    read = WordPieceModel(
        tuple(sorted(vocab.items(), key=lambda entry: entry[1])),
        unknown_token=unknown,
        prefix=prefix,
        max_word_length=longest,
        clean_text=normalizer.get("clean_text", bool),
        split_chinese=normalizer.get("handle_chinese_chars", bool),
        lowercase=lowercase,
        strip_accents=normalizer.get("strip_accents", bool) if strips else lowercase,
        clean_up_decoding=clean_up,
        spaced_decoding=decoder is None,
    )
    added = _read_added_tokens(root, vocab, live)
    for token in added:
        if token.normalized and not token.special:
            raise root.at("added_tokens").refusal(
                f"{shorten(token.content)} is looked for normalised, which WordPiece does not do"
            )
    pipeline = Pipeline(
        added_tokens=added,
        template=template,
        call=_read_call(root),
    )
    return Specification(read, pipeline)
