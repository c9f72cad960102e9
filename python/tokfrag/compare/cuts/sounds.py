"""Cuts of sounds: mu-law tokens, and frames of a mel spectrogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import FittedCut, Pieces, PieceSpec, Samples, check_merge
from tokfrag.compare.cuts.arguments import read_geometry, refuse_flags
from tokfrag.fragments import FragmentGrid, extract


def _sounds(train: Samples, name: str) -> NDArray[Any]:
    x = train.x
    if not isinstance(x, np.ndarray) or x.ndim != 3 or x.shape[1] != 1:
        got = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else "text"
        raise ValueError(f"cut {name}: takes sounds (samples, 1, times), got {got}")
    return x


@dataclass(frozen=True)
class MuLaw:
    """Every sample of a sound one of ``levels`` ids, finer near zero (ITU-T G.711's curve).

    A piece holds ``per_piece`` of them.

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import Samples
    >>> x = np.array([[[-1.0, 0.0, 0.01, 1.0]]])
    >>> MuLaw(256, 2).fit(Samples(x)).cut(x).values.tolist()
    [[[0, 128], [157, 255]]]
    """

    levels: int = 256
    per_piece: int = 1
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if not 4 <= self.levels <= 65536 or self.per_piece < 1:
            raise ValueError(
                f"mulaw: got {self.levels}/{self.per_piece}; it takes LEVELS/SAMPLES, 4 to 65536 "
                "levels"
            )

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> MuLaw:
        """From a short name: ``mulaw:LEVELS/SAMPLES``, so many ids a piece."""
        refuse_flags(flags)
        levels, per_piece = read_geometry(args or "256")
        return cls(levels[0], per_piece[0] if per_piece else 1, merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        text = f"mulaw:{self.levels}" + (f"/{self.per_piece}" if self.per_piece > 1 else "")
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"tokens"``."""
        return "tokens"

    def fit(self, train: Samples) -> FittedCut:
        """Find the loudest sample."""
        x = _sounds(train, self.name)
        peak = float(np.abs(x).max()) or 1.0
        times, mu = x.shape[2], self.levels - 1
        n = -(-times // self.per_piece)

        def cut(samples: NDArray[Any]) -> Pieces:
            scaled = np.clip(samples[:, 0].astype(np.float64) / peak, -1, 1)
            bent = np.sign(scaled) * np.log1p(mu * np.abs(scaled)) / np.log1p(mu)
            ids = np.minimum((bent + 1) / 2 * self.levels, mu).astype(np.int32)
            rows = np.full((len(ids), n * self.per_piece), self.levels, np.int32)
            rows[:, :times] = ids
            outside = float(np.mean(np.abs(samples) > peak))
            shape = (len(rows), n) if self.per_piece == 1 else (len(rows), n, self.per_piece)
            return Pieces(rows.reshape(shape), np.full(len(rows), n, np.int64), outside)

        shape = () if self.per_piece == 1 else (self.per_piece,)
        return FittedCut(PieceSpec(n, shape, self.levels, self.merge), cut)


@dataclass(frozen=True)
class MelFrames:
    """Frames of ``size`` samples every ``stride``, each the logarithm of its power in mel bands.

    The power is that of Hann-weighted frames; bands are triangles, equally wide on the mel scale
    (O'Shaughnessy, 1987: 2595 log10(1 + f / 700)). Frequencies are told in samples, so the rate
    only says where 700 Hz lies.

    Examples
    --------
    >>> import numpy as np
    >>> from tokfrag.compare import Samples
    >>> x = np.sin(np.arange(800) * 0.3)[None, None]
    >>> MelFrames(20).fit(Samples(x)).cut(x).values.shape
    (1, 9, 20, 1)
    """

    bands: int
    size: int = 200
    stride: int = 80
    rate: int = 8000
    merge: str = "attention"

    def __post_init__(self) -> None:
        check_merge(self.merge)
        if not (2 <= self.bands <= self.size // 2 and 1 <= self.stride <= self.size):
            raise ValueError(
                f"mel: got {self.bands} bands of frames of {self.size} every {self.stride}; it "
                "takes 2 bands to half the frame"
            )

    @classmethod
    def read(cls, args: str, flags: Sequence[str], merge: str | None) -> MelFrames:
        """From a short name: ``mel:BANDS``, or ``mel:BANDSxSIZE/STRIDE`` in samples."""
        refuse_flags(flags)
        first, stride = read_geometry(args)
        size = first[1] if len(first) > 1 else 200
        step = stride[-1] if stride else max(1, size * 2 // 5)
        return cls(first[0], size, step, merge=merge or "attention")

    @property
    def name(self) -> str:
        """The short name that stands for this cut, and names its row."""
        usual = self.size == 200 and self.stride == 80
        text = f"mel:{self.bands}" + ("" if usual else f"x{self.size}/{self.stride}")
        return text + ("" if self.merge == "attention" else f"@{self.merge}")

    @property
    def family(self) -> str:
        """Always ``"fragments"``."""
        return "fragments"

    def fit(self, train: Samples) -> FittedCut:
        """Find each band's mean and spread.

        Raises
        ------
        ValueError
            For anything but sounds, and for sounds shorter than a frame.
        """
        x = _sounds(train, self.name)
        if x.shape[2] < self.size:
            raise ValueError(f"cut {self.name}: does not fit sounds of {x.shape[2]} samples")
        grid = FragmentGrid((x.shape[2],), self.size, self.stride, edge="pad")
        window = np.hanning(self.size + 1)[:-1].astype(np.float32)
        bank = _triangles(self.bands, self.size, self.rate)

        def logs(samples: NDArray[Any]) -> NDArray[np.float32]:
            frames = np.asarray(extract(samples.astype(np.float32), grid))[:, :, 0]
            power = np.square(np.abs(np.fft.rfft(frames * window, axis=-1)))
            bands: NDArray[np.float32] = np.log(power @ bank.T + 1e-6).astype(np.float32)
            return bands

        held = logs(x)
        mean = held.mean((0, 1))
        scale = 1 / np.maximum(held.std((0, 1)), 1e-6)

        def cut(samples: NDArray[Any]) -> Pieces:
            bands = (logs(samples) - mean) * scale
            # Bands are channels of one position: a frame has no axis of time inside.
            values = np.ascontiguousarray(bands[..., None], np.float32)
            return Pieces(values, np.full(len(values), grid.n, np.int64))

        boxes = tuple(((int(o), int(o) + self.size),) for o in np.asarray(grid.origins)[:, 0])
        spec = PieceSpec(grid.n, (self.bands, 1), None, self.merge)
        return FittedCut(spec, cut, overlap=self.size / self.stride, boxes=boxes)


def _triangles(bands: int, size: int, rate: int) -> NDArray[np.float64]:
    """``(bands, size // 2 + 1)`` weights of the frequencies in each mel band."""
    highest = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (frequencies - low) / (peak - low), (high - frequencies) / (high - peak)
    weights: NDArray[np.float64] = np.maximum(0, np.minimum(rise, fall))
    # A band narrower than the distance of two frequencies takes the nearest one.
    empty = weights.sum(1) == 0
    nearest = np.abs(frequencies - peak).argmin(1)
    weights[empty, nearest[empty]] = 1
    return weights
