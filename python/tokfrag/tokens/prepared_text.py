"""What is written otherwise before added tokens and the model see it, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokfrag._core.writing import TextWriter
from tokfrag.tokens.models.text_writer import plain_writer
from tokfrag.tokens.models.unicode_step import UnicodeForm
from tokfrag.tokens.normalization import Form, is_normal, normalize
from tokfrag.tokens.patterns import replace_surrogates
from tokfrag.tokens.specification import TextRule


class Written(NamedTuple):
    """A text as it is written, in UTF-8.

    ``sources``: ``(bytes + 1, 2)`` int64, which stretch of the text each byte stands for (the last
    row is the end); None where the text is as it was.
    """

    text: bytes
    sources: NDArray[np.int64] | None


class Preparation:
    """The normalisers of a pipeline, one after the other.

    Parameters
    ----------
    normalizers
        Names of Unicode forms, and steps of any kind.

    Examples
    --------
    >>> written = Preparation(("NFC",)).write_aligned("e\\u0301x".encode())
    >>> written.text.decode(), written.sources.tolist()
    ('éx', [[0, 1], [0, 1], [3, 4], [4, 4]])
    """

    def __init__(self, normalizers: tuple[Form | TextRule, ...]) -> None:
        forms = tuple(form for form in normalizers if isinstance(form, str))
        self._forms: tuple[Form, ...] | None = forms if len(forms) == len(normalizers) else None
        self._steps = tuple(
            UnicodeForm(step) if isinstance(step, str) else step for step in normalizers
        )

    def __bool__(self) -> bool:
        return bool(self._steps)

    def leaves(self, text: str | bytes) -> bool:
        """Whether a text is sure to stay as it is."""
        if not self._steps:
            return True
        if self._forms is None:
            return False
        return text.isascii() or (isinstance(text, str) and is_normal(text, self._forms))

    def write(self, text: str) -> str:
        """The text as the steps write it."""
        if self._forms is not None:
            return normalize(text, self._forms)
        for step in self._steps:
            text = step.apply(text, True)
        return text

    def write_utf8(self, text: bytes) -> bytes:
        """The same in UTF-8; bytes that are none stay where there are Unicode forms only."""
        return self.write(self._decoded(text)).encode("utf-8", "surrogateescape")

    @cached_property
    def writer(self) -> TextWriter | None:
        """What writes texts natively, made at its first use; None where a step has no such code."""
        return plain_writer(self._steps)

    def write_batch(self, texts: Sequence[str | bytes], threads: int) -> list[bytes]:
        """Many texts as the steps write them, in UTF-8."""
        # Native steps read whole characters; Unicode forms alone keep bytes that are none.
        kept = self._forms is not None and any(isinstance(text, bytes) for text in texts)
        if kept or self.writer is None:
            return [self.write_utf8(utf8_of(text)) for text in texts]
        given = [self._decoded(text) if isinstance(text, bytes) else text for text in texts]
        return self.writer.write_batch(given, None, threads)

    def write_aligned(self, text: bytes) -> Written:
        """The same, and where the bytes come from."""
        if not self._steps or (self._forms is not None and text.isascii()):
            return Written(text, None)
        given = self._decoded(text)
        written, places = given, [(i, i + 1) for i in range(len(given))]
        for step in self._steps:
            written, places = step.align(written, places, True)
        data = written.encode("utf-8", "surrogateescape")
        if data == text:
            return Written(text, None)
        starts = np.concatenate([[0], np.cumsum(_sizes(given))])
        sources = np.full((len(data) + 1, 2), len(text), np.int64)
        ends = np.array(places, np.int64).reshape(-1, 2)
        sources[:-1] = np.repeat(starts[ends], _sizes(written), axis=0)
        return Written(data, sources)

    def _decoded(self, text: bytes) -> str:
        return text.decode("utf-8", "surrogateescape" if self._forms is not None else "replace")


def utf8_of(text: str | bytes) -> bytes:
    """A text in UTF-8, a lone half of a surrogate pair as U+FFFD; bytes as they are."""
    return text if isinstance(text, bytes) else replace_surrogates(text).encode()


def spans_of_sources(
    spans: NDArray[np.int64], sources: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Spans of bytes as they are written, as spans of bytes of the text."""
    if sources is None or not len(spans):
        return spans
    last = np.maximum(spans[:, 1] - 1, spans[:, 0])
    return np.stack([sources[spans[:, 0], 0], sources[last, 1]], axis=1)


def _sizes(text: str) -> NDArray[np.int64]:
    sizes = [len(char.encode("utf-8", "surrogateescape")) for char in text]
    return np.array(sizes, np.int64)


__all__ = ["Preparation", "Written", "spans_of_sources", "utf8_of"]
