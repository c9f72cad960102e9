"""Train a WordPiece vocabulary: Hugging Face's rule, in a defined order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from tokfrag._core import training as _native
from tokfrag._progress import progress_bar
from tokfrag.reference.wordpiece import normalize, split
from tokfrag.tokens.checks import check_count
from tokfrag.tokens.training.byte_pair import check_special_tokens

_BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CHUNK = re.compile(r"[^ \t\n\r]+")  # what no step of the normaliser reaches beyond
_FIRST = b"\x00"  # marks the spelling of a symbol that begins a word


def train_wordpiece(
    texts: Iterable[str],
    vocab_size: int = 30_000,
    *,
    min_frequency: int = 2,
    limit_alphabet: int = 1000,
    special_tokens: Sequence[str] = _BERT_TOKENS,
    prefix: str = "##",
    lowercase: bool = True,
    strip_accents: bool | None = None,
    clean_text: bool = True,
    handle_chinese_chars: bool = True,
    progress: bool = False,
) -> dict[str, int]:
    """Train a vocabulary as ``BertWordPieceTokenizer.train`` does: byte-pair merges of characters.

    Words are normalised and split as BERT does. Ids go to the special tokens in order, to the
    characters by code point, to the continuing characters (``##x``) by code point, then to the
    merges; ties go to the smallest (left id, right id). There, continuing characters get ids in the
    order of a hash map, so that ties, and with them tokens, differ from run to run; here the same
    texts, in any order, always give the same vocabulary.

    Parameters
    ----------
    texts
        The training text, in items of any length.
    vocab_size
        Tokens wanted. All characters stay, should they be more.
    min_frequency
        Merge no pair rarer than this.
    limit_alphabet
        Keep so many characters, the most frequent (then the smallest); the others are passed over.
    special_tokens
        Text of the special tokens.
    prefix
        How tokens begin that continue a word.
    lowercase, strip_accents, clean_text, handle_chinese_chars
        As in :class:`~tokfrag.tokens.models.wordpiece.WordPieceTokenizer`.
    progress
        Show a progress bar.

    Returns
    -------
    vocab
        The id of each token.

    Examples
    --------
    >>> vocab = train_wordpiece(["low lower lowest"], 20, special_tokens=["[UNK]"])
    >>> list(vocab)[-3:]
    ['lo', 'low', 'lowe']
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"texts: got one {type(texts).__name__}, takes an iterable of str")
    if not prefix:
        raise ValueError("prefix: got '', takes what tells a continuing token from a first one")
    specials = check_special_tokens(special_tokens)
    chunks: Counter[str] = Counter()
    with progress_bar(None, "counting", " texts", progress) as advance:
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts: item {index} is {type(text)!r}; takes str")
            chunks.update(_CHUNK.findall(text))
            advance(1)
    words: Counter[str] = Counter()
    for chunk, count in chunks.items():
        normal = normalize(
            chunk,
            lowercase=lowercase,
            strip=strip_accents,
            clean=clean_text,
            chinese=handle_chinese_chars,
        )
        for word in split(normal):
            words[word] += count
    return _train(
        words,
        check_count("vocab_size", vocab_size, 0, 2**32 - 2),
        check_count("min_frequency", min_frequency, 0),
        check_count("limit_alphabet", limit_alphabet, 0),
        specials,
        prefix,
        progress,
    )


def _train(
    words: Counter[str],
    vocab_size: int,
    min_frequency: int,
    limit_alphabet: int,
    specials: list[str],
    prefix: str,
    progress: bool,
) -> dict[str, int]:
    seen: Counter[str] = Counter()
    for word, count in words.items():
        for char in word:
            seen[char] += count
    alphabet = sorted(sorted(seen, key=lambda char: (-seen[char], char))[:limit_alphabet])
    known = set(alphabet)
    kept = {word: [char for char in word if char in known] for word in words}
    # A word's first symbol is the plain one only where its first character is known.
    later = sorted({char for word, chars in kept.items() for char in _later(word, chars)})

    names = list(dict.fromkeys([*specials, *alphabet, *(prefix + char for char in later)]))
    ids = {name: id for id, name in enumerate(names)}
    spellings = [b""] * len(names)
    for char in alphabet:
        spellings[ids[char]] = _FIRST + char.encode()
    for char in later:
        spellings[ids[prefix + char]] = char.encode()

    symbols: list[int] = []
    offsets = [0]
    for word, chars in kept.items():
        n_later = len(_later(word, chars))
        symbols += [ids[char] for char in chars[: len(chars) - n_later]]
        symbols += [ids[prefix + char] for char in chars[len(chars) - n_later :]]
        offsets.append(len(symbols))
    trainer = _native.Trainer(spellings, max(vocab_size, 0), min_frequency, 2**63 - 1)
    trainer.add_symbols(
        np.array(symbols, np.uint32),
        np.array(offsets, np.int64),
        np.array(list(words.values()), np.int64),
    )
    with progress_bar(max(vocab_size - len(names), 0), "merging", " merges", progress) as advance:
        done = 0
        while trainer.run(64):
            advance(trainer.n_merges - done)
            done = trainer.n_merges
        advance(trainer.n_merges - done)
    for spelling in trainer.tokens()[len(names) :]:
        text = spelling.decode()
        plain = text.startswith(_FIRST.decode())
        names.append(text[1:] if plain else prefix + text)
    # A merge may spell what is a token already, such as a special one: the first id stands.
    vocab: dict[str, int] = {}
    for id, name in enumerate(names):
        vocab.setdefault(name, id)
    return vocab


def _later(word: str, chars: list[str]) -> list[str]:
    return chars[1:] if chars and chars[0] == word[0] else chars
