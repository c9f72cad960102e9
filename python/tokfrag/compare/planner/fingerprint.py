"""What data look like before any cut: how far things hang together, and how well they shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Samples
from tokfrag.tokens import Tokenizer

#: Vocabulary sizes at which bytes a token are told.
SIZES = (256, 384, 512, 1024, 2048, 4096, 8192, 16384)
#: No more of the data is looked at.
_BYTES, _SAMPLES, _ORDERS = 1_000_000, 256, 4
_LEVELS = 16


@dataclass(frozen=True)
class Fingerprint:
    """Numbers on the part to learn from.

    ``entropies`` of text are bits per byte given the 0, 1, 2, 3 bytes before, as counted (so the
    later ones are too low where text is short); of values, bits of one of 16 levels. Of text,
    ``bytes_per_token`` is by vocabulary size. Of values, axis by axis: ``correlation`` is the
    distance at which values are no more than half alike, and ``slow`` the share of the spectrum
    below a half, a quarter, an eighth and a sixteenth of the highest frequency.
    """

    kind: str
    samples: int
    units: int
    shape: tuple[int, ...] = ()
    entropies: tuple[float, ...] = ()
    bytes_per_token: tuple[tuple[int, float], ...] = ()
    correlation: tuple[float, ...] = ()
    slow: tuple[tuple[float, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON takes them, without what does not apply."""
        return {name: value for name, value in asdict(self).items() if value not in ((), [])}

    def lines(self) -> list[str]:
        """The numbers in words, one a line."""
        found = [f"{self.samples} samples, {self.units} {self._unit}"]
        if self.entropies and self.kind == "text":
            told = ", ".join(f"{bits:.2f}" for bits in self.entropies)
            found.append(f"bits per byte knowing 0, 1, 2, 3 bytes before: {told}")
        elif self.entropies:
            found.append(f"{self.entropies[0]:.2f} bits in one of {_LEVELS} levels")
        if self.bytes_per_token:
            told = ", ".join(f"{size}: {each:.2f}" for size, each in self.bytes_per_token)
            found.append(f"bytes a token by vocabulary size: {told}")
        for axis, (far, slow) in enumerate(zip(self.correlation, self.slow, strict=True)):
            shares = ", ".join(f"{share * 100:.0f}" for share in slow)
            found.append(
                f"axis {axis} of {self.shape[axis]}: half alike at a distance of {far:.3g}; "
                f"{shares} % of the spectrum below 1/2, 1/4, 1/8, 1/16 of the highest frequency"
            )
        return found

    @property
    def _unit(self) -> str:
        return "bytes" if self.kind == "text" else "places"


def fingerprint(learn: Samples) -> Fingerprint:
    """Measure the part to learn from.

    Parameters
    ----------
    learn
        Texts, or ``(samples, channels, *space_time)``.

    Returns
    -------
    Fingerprint
        The same for the same data.

    Examples
    --------
    >>> import numpy as np
    >>> wave = np.sin(np.arange(400) / 10)[None, None].repeat(8, 0)
    >>> found = fingerprint(Samples(wave))
    >>> found.kind, 8 < found.correlation[0] < 12
    ('values', True)
    """
    if isinstance(learn.x, np.ndarray):
        return _of_values(learn)
    return _of_texts(learn)


def _of_texts(learn: Samples) -> Fingerprint:
    raw = b"".join(learn.x)[:_BYTES]
    text = raw.decode("utf-8", "replace")
    curve = Tokenizer.train(iter([text]), max(SIZES)).compression_curve()
    each = curve.bytes_per_token
    sizes = [size for size in SIZES if size <= int(curve.vocab_sizes[-1])]
    places = [int(np.searchsorted(curve.vocab_sizes, size)) for size in sizes]
    return Fingerprint(
        "text",
        len(learn),
        learn.raw_units,
        entropies=tuple(round(bits, 4) for bits in _entropies(raw)),
        bytes_per_token=tuple(
            (size, round(float(each[place]), 3)) for size, place in zip(sizes, places, strict=True)
        ),
    )


def _entropies(raw: bytes) -> list[float]:
    """Bits per byte given 0, 1, ... bytes before: differences of the entropies of n bytes."""
    values = np.frombuffer(raw, np.uint8).astype(np.uint32)
    found: list[float] = []
    before = 0.0
    for order in range(min(_ORDERS, len(values))):
        length = len(values) - order
        grams = np.zeros(length, np.uint32)
        for place in range(order + 1):
            grams = (grams << np.uint32(8)) | values[place : place + length]
        share = np.unique(grams, return_counts=True)[1] / length
        bits = float(-(share * np.log2(share)).sum())
        found.append(bits - before)
        before = bits
    return found


def _of_values(learn: Samples) -> Fingerprint:
    index = np.linspace(0, len(learn) - 1, min(len(learn), _SAMPLES)).round().astype(int)
    x = np.asarray(learn.x[index], np.float64)
    x = x - x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)
    shape = x.shape[2:]
    return Fingerprint(
        "values",
        len(learn),
        learn.raw_units,
        shape=tuple(int(n) for n in shape),
        entropies=(round(_level_bits(x), 4),),
        correlation=tuple(round(_half_alike(x, axis + 2), 2) for axis in range(len(shape))),
        slow=tuple(_slow(x, axis + 2) for axis in range(len(shape))),
    )


def _level_bits(x: NDArray[np.float64]) -> float:
    counts = np.histogram(x, _LEVELS)[0]
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def _half_alike(x: NDArray[np.float64], axis: int) -> float:
    """The distance at which the correlation along an axis has fallen to a half."""
    length = x.shape[axis]
    rows = np.moveaxis(x, axis, -1)
    power = float(np.square(rows).mean())
    if power == 0:
        return float(length)
    before = 1.0
    for lag in range(1, length):
        now = float((rows[..., lag:] * rows[..., :-lag]).mean()) / power
        if now <= 0.5:
            return lag - 1 + (before - 0.5) / (before - now)
        before = now
    return float(length)


def _slow(x: NDArray[np.float64], axis: int) -> tuple[float, ...]:
    """The share of the power below a half, a quarter ... of the highest frequency."""
    rows = np.moveaxis(x, axis, -1)
    spectrum = np.square(np.abs(np.fft.rfft(rows, axis=-1))).reshape(-1, rows.shape[-1] // 2 + 1)
    power: NDArray[np.float64] = spectrum.mean(0)
    total = float(power.sum())
    if total == 0:
        return (1.0,) * 4
    ends: Sequence[int] = [max(1, round(len(power) / 2**k)) for k in range(1, 5)]
    return tuple(round(float(power[:end].sum()) / total, 4) for end in ends)
