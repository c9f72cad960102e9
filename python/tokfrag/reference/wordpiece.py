"""BERT's tokenizer in plain Python: the twin of ``tokfrag.tokens.models.wordpiece``.

It takes the steps of Hugging Face's ``BertNormalizer``, ``BertPreTokenizer`` and ``WordPiece``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from tokfrag import _bert_characters as tables
from tokfrag._bert_tables import code_points, replacements, strip_char


@cache
def _set(name: str) -> frozenset[int]:
    return frozenset(code_points(getattr(tables, name)))


@cache
def _map(name: str) -> dict[int, str]:
    return replacements(getattr(tables, name))


def strip_accents(text: str) -> str:
    """Take characters apart (NFD), sort marks by combining class, remove non-spacing marks."""
    result: list[str] = []
    run: list[tuple[int, str]] = []

    def end_run() -> None:
        result.extend(char for _, char in sorted(run, key=lambda item: item[0]))
        run.clear()

    for char in text:
        if ord(char) in _set("MARKS"):
            continue
        if ord(char) in _set("STARTER_MARKS"):
            end_run()
            continue
        for part in strip_char(char):
            order = _map("CLASSES").get(ord(part))
            if order is None:
                end_run()
                result.append(part)
            else:
                run.append((ord(order), part))
    end_run()
    return "".join(result)


def normalize(
    text: str,
    *,
    lowercase: bool = True,
    strip: bool | None = None,
    clean: bool = True,
    chinese: bool = True,
) -> str:
    """Return the text as the words are cut from it; ``strip=None`` does as ``lowercase`` does.

    >>> normalize("Caf\\u00e9 \\u4f60")
    'cafe  \\u4f60 '
    """
    if clean:
        kept = (char for char in text if ord(char) not in _set("DROPPED"))
        text = "".join(" " if ord(char) in _set("SPACES") else char for char in kept)
    if chinese:
        text = "".join(f" {char} " if ord(char) in _set("CHINESE") else char for char in text)
    if lowercase if strip is None else strip:
        text = strip_accents(text)
    if lowercase:
        text = "".join(_map("LOWERED").get(ord(char), char) for char in text)
    return text


def split(text: str) -> list[str]:
    """Cut at white space, and around each punctuation character.

    >>> split("it's a")
    ['it', "'", 's', 'a']
    """
    words: list[str] = [""]
    for char in text:
        if ord(char) in _set("WHITE_SPACE"):
            words.append("")
        elif ord(char) in _set("PUNCTUATION"):
            words += [char, ""]
        else:
            words[-1] += char
    return [word for word in words if word]


def match(
    word: str,
    vocab: Mapping[str, int],
    *,
    unknown: str = "[UNK]",
    prefix: str = "##",
    longest_word: int = 100,
) -> list[int]:
    """Cut one word into the longest tokens from the left; the whole word is unknown if one fails.

    >>> match("abc", {"[UNK]": 0, "a": 1, "ab": 2, "##c": 3})
    [2, 3]
    """
    if len(word) > longest_word:
        return [vocab[unknown]]
    ids: list[int] = []
    begin = 0
    while begin < len(word):
        for end in range(len(word), begin, -1):
            token = (prefix if begin else "") + word[begin:end]
            if token in vocab:
                ids.append(vocab[token])
                begin = end
                break
        else:
            return [vocab[unknown]]
    return ids


def cut_specials(text: str, specials: Collection[str]) -> list[tuple[str, bool]]:
    """Cut special tokens out of a text: leftmost first, of two at one place the longer.

    >>> cut_specials("a[X]b", ["[X]"])
    [('a', False), ('[X]', True), ('b', False)]
    """
    parts: list[tuple[str, bool]] = []
    begin = at = 0
    while at < len(text):
        found = max((s for s in specials if text.startswith(s, at)), key=len, default=None)
        if found is None:
            at += 1
            continue
        parts += [(text[begin:at], False), (found, True)]
        begin = at = at + len(found)
    parts.append((text[begin:], False))
    return [part for part in parts if part[0]]


def encode(
    text: str,
    vocab: Mapping[str, int],
    *,
    specials: Collection[str] = (),
    unknown: str = "[UNK]",
    prefix: str = "##",
    longest_word: int = 100,
    lowercase: bool = True,
    strip: bool | None = None,
    clean: bool = True,
    chinese: bool = True,
) -> list[int]:
    """Return the ids of a text, ``specials`` found in it included."""
    ids: list[int] = []
    for part, special in cut_specials(text, specials):
        if special:
            ids.append(vocab[part])
            continue
        normal = normalize(part, lowercase=lowercase, strip=strip, clean=clean, chinese=chinese)
        for word in split(normal):
            ids += match(word, vocab, unknown=unknown, prefix=prefix, longest_word=longest_word)
    return ids
