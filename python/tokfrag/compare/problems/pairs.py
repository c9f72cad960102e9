"""The second part of each sample from the first: translation, questions and answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tokfrag.compare.contracts import Cut, FittedCut, Floor, Pieces, Samples
from tokfrag.compare.floors import count_bits
from tokfrag.compare.problems.items import Items, by_group
from tokfrag.compare.problems.texts import PredictNext

#: Stands between what is given and what is asked for.
BETWEEN = b"\t"


def parts_of(text: bytes) -> tuple[bytes, bytes]:
    """What is given, with the mark after it, and what is asked for.

    >>> parts_of(b"two\\tdeux\\n")
    (b'two\\t', b'deux\\n')
    """
    source, between, target = text.partition(BETWEEN)
    return source + between, target


@dataclass(frozen=True)
class CutInParts:
    """A cut that is laid on what is given and on what is asked for apart: no piece lies in both."""

    inner: Cut

    @property
    def name(self) -> str:
        """That of the inner cut."""
        return self.inner.name

    @property
    def family(self) -> str:
        """That of the inner cut."""
        return self.inner.family

    def fit(self, train: Samples) -> FittedCut:
        """Fit the inner cut to all parts."""
        parts = [part for text in train.x for part in parts_of(text)]
        fitted = self.inner.fit(Samples(parts, longest=train.longest))
        spec = fitted.spec
        if spec.vocabulary is None or spec.branches or not spec.padded:
            raise ValueError("predicting the second part takes a cut of text into ids")
        if spec.merge == "concat":
            raise ValueError("two parts of different lengths cannot be joined by concat")
        nothing = spec.vocabulary

        def cut(texts: Sequence[bytes]) -> Pieces:
            first = fitted.cut([parts_of(text)[0] for text in texts])
            second = fitted.cut([parts_of(text)[1] for text in texts])
            lengths = first.lengths + second.lengths
            shape = (len(texts), int(lengths.max(initial=1)), *first.values.shape[2:])
            values = np.full(shape, nothing, np.int32)
            for row, a, n, b, m in zip(
                values, first.values, first.lengths, second.values, second.lengths, strict=True
            ):
                row[:n] = a[:n]
                row[n : n + m] = b[:m]
            unknown = [u for u in (first.unknown, second.unknown) if u is not None]
            return Pieces(values, lengths, max(unknown) if unknown else None)

        def given(texts: Sequence[bytes]) -> NDArray[np.int64]:
            return fitted.cut([parts_of(text)[0] for text in texts]).lengths

        return replace(fitted, spec=replace(spec, n=2 * spec.n), cut=cut, given=given)


@dataclass(frozen=True)
class PredictTarget(PredictNext):
    """Every piece of the second part from all before it; judged in bits per byte of that part.

    Beside it stands the share of samples of which every piece is the likeliest: what greedy
    decoding would write exactly.
    """

    def tensors(self, pieces: Pieces, samples: Samples, fitted: FittedCut) -> tuple[Tensor, Tensor]:
        """Pieces, and the new units of each; nothing is asked where pieces are given."""
        values, new = super().tensors(pieces, samples, fitted)
        assert fitted.given is not None
        given = torch.from_numpy(fitted.given(samples.x)) * fitted.spec.fresh
        places = torch.arange(new.shape[1])
        return values, new.masked_fill(places < given[:, None], fitted.spec.vocabulary or 0)

    def summary(self, output: Tensor, target: Tensor) -> Tensor:
        """Nats that each sample takes, and whether all of its pieces are the likeliest."""
        asked = target < output.shape[-1]
        nats = functional.cross_entropy(
            output.flatten(0, 1), target.flatten(), ignore_index=output.shape[-1], reduction="none"
        ).view(target.shape)
        right = ((output.argmax(-1) == target) | ~asked).all(1)
        return torch.stack((nats.double().sum(1), right.double()), 1)

    def items(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Items:
        """Bits per byte of each second part, weighed by its bytes."""
        size = _sizes(samples)
        bits = outputs[:, 0].numpy() / math.log(2)
        return by_group(bits / np.maximum(size, 1), np.maximum(size, 1e-12), samples)

    def score(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> float:
        """Bits of all second parts over their bytes."""
        return float(outputs[:, 0].sum()) / math.log(2) / float(_sizes(samples).sum())

    def more(self, outputs: Tensor, samples: Samples, fitted: FittedCut) -> Mapping[str, float]:
        """The share that greedy decoding writes exactly."""
        return {"exact match": float(outputs[:, 1].mean())}

    def floors(
        self, train: tuple[Pieces, Samples], test: tuple[Pieces, Samples], fitted: FittedCut
    ) -> tuple[Floor, ...]:
        """How frequent each unit of the second parts is, and each pair of neighbours."""
        vocabulary = fitted.spec.vocabulary
        assert vocabulary is not None
        rows = [
            _asked(self.tensors(*part, fitted)[1].numpy(), vocabulary) for part in (train, test)
        ]
        alone, paired = count_bits(rows[0], rows[1], vocabulary)
        size = float(_sizes(test[1]).sum())
        return (
            Floor("counting its own tokens", alone / size),
            Floor("counting pairs of its tokens", paired / size),
        )


def _sizes(samples: Samples) -> NDArray[np.float64]:
    return np.array([len(parts_of(text)[1]) for text in samples.x], np.float64)


def _asked(rows: NDArray[Any], nothing: int) -> NDArray[Any]:
    """Rows moved to the left, so that each begins with what is asked for."""
    order = np.argsort(rows == nothing, axis=1, kind="stable")
    moved: NDArray[Any] = np.take_along_axis(rows, order, 1)
    return moved
