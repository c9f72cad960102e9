"""Tags: find entities in sentences, from CoNLL files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.extras import require
from tokfrag.compare.readers.conll import Sentence, read_conll
from tokfrag.compare.tasks.arrays import hold_out

_FIRST = [
    "Ada",
    "Bela",
    "Carl",
    "Dora",
    "Emil",
    "Faye",
    "Gert",
    "Hana",
    "Igor",
    "Jane",
    "Karl",
    "Lena",
    "Milo",
    "Nora",
    "Otto",
    "Pia",
]
_FAMILY = ["ham", "mann", "sen", "ova", "ski", "ton", "wick", "berg"]
_PLACES = ["ville", "burg", "ford", "stad", "field", "port", "minster", "dorf"]
_SYLLABLES = [
    "ar",
    "bel",
    "cor",
    "dan",
    "el",
    "for",
    "gal",
    "hol",
    "im",
    "jor",
    "kel",
    "lin",
    "mor",
    "nal",
    "or",
    "per",
    "quen",
    "ros",
    "sil",
    "tor",
]
_SENTENCES = (
    "{person} went to {place} yesterday .",
    "In {place} , {person} met {person} .",
    "The mayor of {place} thanked {person} for the gift .",
    "Yesterday the train from {place} was late again .",
    "{person} said that nothing would change .",
    "It was {person} who first came to {place} by boat .",
    "Nobody but {person} had seen the letter .",
)


class TagsTask:
    """Made-up sentences with people and places, or the user's CoNLL file.

    Words are joined by blanks, and a tag is told at the piece in which its word begins; entities
    count where begin, end and kind are right. Made up: names that no training sentence shows, built
    of endings that it does. ``data``: the word first, the tag last, a blank line between sentences;
    ``test`` and ``choose`` are files of the same form. Of a sentence the words in the first
    `context` bytes are kept.
    """

    name = "tags"

    def __init__(
        self,
        data: Path | None = None,
        *,
        test: str | None = None,
        choose: str | None = None,
        context: int = 400,
        sentences: int = 1500,
    ):
        if context < 16:
            raise ValueError(f"context: got {context} bytes; it takes 16 or more")
        self.context = context
        if data is None:
            found, source = _made_up(sentences, 0), "made-up sentences"
        else:
            found, source = read_conll(Path(data)), Path(data).name
        judged = None if test is None else read_conll(Path(test))
        chosen = None if choose is None else read_conll(Path(choose))
        if data is None:
            judged = _made_up(sentences // 4, 1)
        every = [*found, *(judged or []), *(chosen or [])]
        self.tags = tuple(sorted({tag for sentence in every for tag in sentence.tags}))
        whole = self._samples(found)
        parts = hold_out(whole) if judged is None else Split(whole, self._samples(judged))
        self._split = Split(
            parts.train, parts.test, None if chosen is None else self._samples(chosen)
        )
        kinds = sorted({tag[2:] for tag in self.tags if tag != "O"})
        if not kinds:
            raise ValueError(f"{source}: has no entities, all tags are O")
        if "O" not in self.tags and len(self.tags) < 2:
            raise ValueError(f"{source}: has one tag, {self.tags[0]}; it takes two or more")
        self.about = (
            f"{source}, {', '.join(kinds)}; {len(self._split.train)} sentences to learn from, "
            f"{len(self._split.test)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit some thousands of sentences."""
        return Recipe(batch=16, rate=4e-3, width=32)

    def split(self) -> Split:
        """The official parts, or every fifth sentence held out."""
        return self._split

    def problem(self) -> Problem:
        """A tag for every word."""
        from tokfrag.compare.problems import TagWords

        return TagWords(self.tags, longest=self.context)

    def baselines(self, split: Split) -> Mapping[str, float]:
        """The most frequent tag of each word, and a linear model of words and their endings."""
        from tokfrag.compare.problems.tags import f1_of, lookup

        return {
            "each word's most frequent tag": f1_of(lookup(self.tags, split.train, split.test)),
            "linear model": _linear_f1(self.tags, split),
        }

    def default_cuts(self) -> Sequence[str]:
        """Bytes, byte pairs and their neighbours, windows of bytes."""
        return ("bytes", "bpe:512", "bpe:512+pairs", "bpe:2048", "window:4/1")

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "40 GFLOP"

    def _samples(self, sentences: Sequence[Sentence]) -> Samples:
        numbers = {tag: i for i, tag in enumerate(self.tags)}
        texts, places = [], []
        for sentence in sentences:
            text, words = b"", []
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                begin = len(text) + 1 if text else 0
                if begin + len(word.encode()) > self.context:
                    break
                text += (b" " if text else b"") + word.encode()
                words.append((begin, len(text), numbers[tag]))
            texts.append(text)
            places.append(words)
        y = np.full((len(texts), max(1, *map(len, places)), 3), -1, np.int64)
        for row, words in zip(y, places, strict=True):
            row[: len(words)] = words
        return Samples(texts, y, longest=self.context)


def _features(words: list[str], i: int) -> list[str]:
    """What a linear model sees of a word: its spelling, its ends, its shape, its neighbours."""
    word = words[i]
    shape = "".join(
        "X" if c.isupper() else "x" if c.islower() else "9" if c.isdigit() else c for c in word
    )[:6]
    before = words[i - 1].lower() if i else "<"
    after = words[i + 1].lower() if i + 1 < len(words) else ">"
    ends = [f"p{n}={word[:n]}" for n in (1, 2, 3)] + [f"s{n}={word[-n:]}" for n in (1, 2, 3, 4)]
    return [
        f"w={word.lower()}",
        f"shape={shape}",
        f"b={before}",
        f"a={after}",
        *ends,
        f"first={i == 0}",
    ]


def _linear_f1(tags: tuple[str, ...], split: Split) -> float:
    """The F1 of logistic regression, a word at a time (scikit-learn's, 20 passes)."""
    require("sklearn", purpose="the linear model of tags")
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    from tokfrag.compare.problems.tags import count_spans, f1_of

    def rows(part: Samples) -> tuple[list[list[str]], list[NDArray[np.int64]]]:
        features, told = [], []
        for text, places in zip(part.x, part.y, strict=True):
            held = places[places[:, 0] >= 0]
            words = [text[b:e].decode() for b, e, _ in held]
            features += [_features(words, i) for i in range(len(words))]
            told.append(held[:, 2])
        return features, told

    hasher = FeatureHasher(1 << 18, input_type="string")
    shown, wanted = rows(split.train)
    model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=20, tol=None, random_state=0)
    model.fit(hasher.transform(shown), np.concatenate(wanted))
    judged, truth = rows(split.test)
    answers = np.split(
        model.predict(hasher.transform(judged)), np.cumsum(list(map(len, truth)))[:-1]
    )
    return f1_of(
        np.array([count_spans(tags, a, t) for a, t in zip(answers, truth, strict=True)], np.float64)
    )


def _made_up(count: int, part: int) -> list[Sentence]:
    if count < 10:
        raise ValueError(f"sentences: got {count}; it takes 40 or more")
    rng = np.random.default_rng((7, part))
    found = []
    for _ in range(count):
        words: list[str] = []
        tags: list[str] = []
        for word in str(rng.choice(_SENTENCES)).split():
            kind = word.strip("{}") if word.startswith("{") else ""
            entity = [word] if not kind else _name(kind, rng, part)
            words += entity
            tags += [("B-" if i == 0 else "I-") + kind if kind else "O" for i in range(len(entity))]
        found.append(Sentence(tuple(words), tuple(tags)))
    return found


def _name(kind: str, rng: np.random.Generator, part: int) -> list[str]:
    """A name of a person or a place; even stems are for learning, odd ones for judging."""
    while True:
        stem = "".join(map(str, rng.choice(_SYLLABLES, 2)))
        if sum(stem.encode()) % 2 == part:
            break
    ending = str(rng.choice(_FAMILY if kind == "person" else _PLACES))
    last = stem.capitalize() + ending
    if kind == "person" and rng.random() < 0.7:
        return [str(rng.choice(_FIRST)), last]
    return ["Upper", last] if kind == "place" and rng.random() < 0.2 else [last]
