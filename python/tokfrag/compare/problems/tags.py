"""A tag for every word, whatever the pieces are: entities through the offsets of pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tokfrag.compare.body import Body
from tokfrag.compare.contracts import FittedCut, Floor, Model, Pieces, PieceSpec, Samples
from tokfrag.compare.metric import ENTITY_F1, Metric
from tokfrag.compare.problems.items import Items, by_group
from tokfrag.compare.readers.conll import spans

# Words of a sample are told by their first and last byte and their tag; these fill rows up.
NO_WORD = -1


def piece_ends(fitted: FittedCut, row: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Where each piece of a text ends, in bytes.

    Parameters
    ----------
    fitted
        The cut; it must be able to decode.
    row : (n, ...) array
        The real pieces of one text.
    size
        The text's bytes.

    Raises
    ------
    ValueError
        Where decoding does not give back as many bytes: words could not be found in the pieces.
    """
    if fitted.decode is None:
        raise ValueError("tags: takes a cut that can decode, else no word is found in its pieces")
    ends = np.cumsum([len(fitted.decode(row[i : i + 1])) for i in range(len(row))], dtype=np.int64)
    if len(row) and ends[-1] != size:
        # Pieces that are written differently by themselves are decoded from the beginning on.
        ends = np.array([len(fitted.decode(row[: i + 1])) for i in range(len(row))], np.int64)
    if len(row) and ends[-1] != size:
        raise ValueError(
            f"tags: pieces stand for {ends[-1]} bytes of a text of {size}, so words cannot be "
            "found in them"
        )
    return ends


def word_places(pieces: Pieces, samples: Samples, fitted: FittedCut) -> NDArray[np.int64]:
    """The piece in which each word begins, ``(samples, words)``; -1 where there is no word."""
    found = np.full(samples.y.shape[:2], NO_WORD, np.int64)
    known: dict[bytes, NDArray[np.int64]] = {}
    for place, text, row, length, words in zip(
        found, samples.x, pieces.values, pieces.lengths, samples.y, strict=True
    ):
        key = row[:length].tobytes()
        if key not in known:
            known[key] = piece_ends(fitted, row[:length], len(text))
        held = words[:, 0] != NO_WORD
        place[held] = np.searchsorted(known[key], words[held, 0], side="right")
    return found


@dataclass(frozen=True)
class TagWords:
    """One of ``tags`` for each word; judged by the F1 of whole entities.

    A word is told at the piece in which it begins; where two words begin in one piece, both get its
    answer. ``y`` of the samples is ``(samples, words, 3)``: first byte, last byte + 1, tag.

    Parameters
    ----------
    tags
        Their names, such as ``O`` and ``B-person``.
    longest
        Pieces of the longest sample, at most.
    """

    tags: tuple[str, ...]
    longest: int

    @property
    def metric(self) -> Metric:
        """The F1 of entities."""
        return ENTITY_F1

    def network(self, spec: PieceSpec, model: Model) -> nn.Module:
        """The shipped body with an answer a piece, all pieces in sight."""
        if not isinstance(model, Body):
            raise ValueError("tags: takes a shipped body, which can answer for each piece")
        return model.each(spec, len(self.tags))

    def targets_per_piece(self, spec: PieceSpec) -> int:
        """One tag a piece."""
        return 1

    def lengths(self, pieces: Pieces) -> NDArray[np.int64]:
        """Pieces of each sentence."""
        return pieces.lengths

    def weight(self, output: Tensor, target: Tensor) -> float:
        """Pieces in which a word begins."""
        return float((target >= 0).sum())

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Pieces, and the tag of the first word that begins in each; -1 where none does."""
        places = word_places(pieces, samples, fitted)
        target = np.full(pieces.values.shape[:2], -1, np.int64)
        rows, words = np.nonzero(places >= 0)
        # Backwards, so that of two words in one piece the first remains.
        target[rows[::-1], places[rows, words][::-1]] = samples.y[rows, words, 2][::-1]
        return torch.from_numpy(pieces.values), torch.from_numpy(target)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy a word, in nats."""
        return functional.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=-1)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """The likeliest tag of every piece, filled up to the longest sample."""
        likeliest = output.argmax(-1).short()
        return functional.pad(likeliest, (0, max(0, self.longest - likeliest.shape[1])))

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Items:
        """Each sentence's part in F1: its mean is F1, and it varies as F1 does (delta method)."""
        told = self._told(outputs, samples, fitted)
        double_right, sizes = 2 * told[:, 0], told[:, 1]
        total = max(1.0, float(sizes.sum()))
        f1 = float(double_right.sum()) / total
        parts = f1 + (double_right - f1 * sizes) * (len(sizes) / total)
        return by_group(parts, np.ones(len(parts)), samples)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        """Twice the entities told right over those told and those there are."""
        return f1_of(self._told(outputs, samples, fitted))

    def marks(self, samples: Samples, index: int) -> tuple[tuple[int, int, str], ...]:
        """The entities of a sentence: first byte, last byte + 1, kind."""
        words = samples.y[index]
        words = words[words[:, 0] != NO_WORD]
        found = spans(tuple(self.tags[tag] for tag in words[:, 2]))
        return tuple(
            (int(words[first, 0]), int(words[last - 1, 1]), kind)
            for first, last, kind in sorted(found)
        )

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """Nothing is an entity; and the most frequent tag of each word that training has shown."""
        return (
            Floor("no entity anywhere", 0.0),
            Floor("each word's most frequent tag", f1_of(lookup(self.tags, train[1], test[1]))),
        )

    def _told(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> NDArray[np.float64]:
        places = word_places(fitted.cut(samples.x), samples, fitted)
        answers = outputs.numpy()
        return np.array(
            [
                self._sentence(answer[place[place >= 0]], words[place >= 0, 2])
                for answer, place, words in zip(answers, places, samples.y, strict=True)
            ],
            np.float64,
        ).reshape(-1, 2)

    def _sentence(self, answer: NDArray[Any], truth: NDArray[Any]) -> tuple[int, int]:
        return count_spans(self.tags, answer, truth)


def count_spans(
    tags: tuple[str, ...], answer: NDArray[Any], truth: NDArray[Any]
) -> tuple[int, int]:
    """Entities told right, and those told plus those there are."""
    told, true = spans(tuple(tags[i] for i in answer)), spans(tuple(tags[i] for i in truth))
    return len(told & true), len(told) + len(true)


def f1_of(told: NDArray[np.float64]) -> float:
    """F1 of all sentences: ``told`` counts, for each, entities told right, and all."""
    return float(2 * told[:, 0].sum() / max(1.0, told[:, 1].sum()))


def lookup(tags: tuple[str, ...], train: Samples, test: Samples) -> NDArray[np.float64]:
    """What the most frequent tag of each word reaches; ``O`` for words never shown."""
    counts: dict[bytes, NDArray[np.int64]] = {}
    for text, words in zip(train.x, train.y, strict=True):
        for begin, end, tag in words[words[:, 0] != NO_WORD]:
            counts.setdefault(text[begin:end], np.zeros(len(tags), np.int64))[tag] += 1
    outside = tags.index("O") if "O" in tags else 0
    found = []
    for text, words in zip(test.x, test.y, strict=True):
        held = words[words[:, 0] != NO_WORD]
        answer = [
            int(counts[text[b:e]].argmax()) if text[b:e] in counts else outside for b, e, _ in held
        ]
        found.append(count_spans(tags, np.array(answer, np.int64), held[:, 2]))
    return np.array(found, np.float64).reshape(-1, 2)
