"""The tables of ``tokenizer.json``: vocabularies, merges and added tokens."""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

from tokfrag._core import formats as _native
from tokfrag.tokens import byte_alphabet as byte_level
from tokfrag.tokens.formats.json_place import Place, shorten
from tokfrag.tokens.specification import AddedToken

_MAX_ID = 2**32 - 1
# The flags in the order of AddedToken's.
_ADDED_FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")
_ADDED = {"id", "content", *_ADDED_FLAGS}


def read_ids(place: Place) -> dict[str, int]:
    """The tokens and their ids: no token is empty, and no two have one id."""
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


def read_merges(place: Place, vocab: dict[str, int], prefix: str = "") -> NDArray[np.int64]:
    """The merges as pairs of ids; all of them are written ``"a b"``, or all ``["a", "b"]``."""
    merges = place.take(list)
    if prefix:
        return _prefixed_merges(place, vocab, prefix)
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


def _prefixed_merges(place: Place, vocab: dict[str, int], prefix: str) -> NDArray[np.int64]:
    """Merges where the right part loses its prefix."""
    pairs: list[tuple[int, int]] = []
    for item in place.items():
        parts = item.value.split(" ") if isinstance(item.value, str) else item.value
        match parts:
            case [str(left), str(right)] if (
                left in vocab and right in vocab and left + right[len(prefix) :] in vocab
            ):
                pairs.append((vocab[left], vocab[right]))
            case _:
                raise item.refusal(
                    f"got {shorten(item.value)}, takes two tokens that join to a third"
                )
    return np.array(pairs, np.int64).reshape(-1, 2)


def read_unknown(model: Place, vocab: dict[str, int]) -> str:
    """The token for what is unknown."""
    unknown = model.get("unk_token", str, "[UNK]")
    if unknown not in vocab:
        raise model.refusal(f"unk_token {shorten(unknown)} is not in the vocabulary")
    return unknown


def bytes_missing(vocab: dict[str, int]) -> bool:
    """Whether a byte is no token, so that text with it loses it."""
    return any(byte_level.to_text(bytes([byte])) not in vocab for byte in range(256))


def read_byte_tokens(
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


def read_added_tokens(root: Place, vocab: dict[str, int], live: bool) -> tuple[AddedToken, ...]:
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
