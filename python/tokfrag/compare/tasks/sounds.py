"""Sounds: tell the class of a sound, from folders of WAV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokfrag.compare.contracts import Problem, Recipe, Samples, Split
from tokfrag.compare.readers.folders import read_folders
from tokfrag.compare.readers.sounds import read_wav
from tokfrag.compare.tasks.arrays import hold_out, in_official_parts, majority

# The first two formants of five vowels, in Hz (after Peterson and Barney, 1952).
_VOWELS = {"a": (730, 1090), "e": (530, 1840), "i": (270, 2290), "o": (570, 840), "u": (300, 870)}
_RATE = 8000


class SoundsTask:
    """Made-up vowels, or the user's folders of WAV files.

    Made up: pulses of any pitch between 80 and 260 Hz through two resonances, with noise, each
    loudness and length of the vocal tract drawn for itself. ``data``: a folder with a folder a
    class (under ``train`` and ``test`` where parts are official). Of each sound the first
    `seconds` are kept, from where it first reaches a tenth of its peak; shorter ones are filled up
    with silence.
    """

    name = "sounds"

    def __init__(
        self, data: Path | None = None, *, seconds: float | None = None, sounds: int = 1000
    ):
        if seconds is not None and not 0.005 <= seconds <= 60:
            raise ValueError(f"seconds: got {seconds}; it takes 0.005 to 60")
        self.rate = _RATE
        if data is None:
            length = round((seconds or 0.1) * _RATE)
            whole, source = _vowels(sounds, length), "made-up vowels"
            self.classes = tuple(_VOWELS)
            self._split = hold_out(whole)
        else:
            found = read_folders(Path(data), (".wav",))
            self.classes, source = found.classes, Path(data).name
            self._split = in_official_parts(found, self._read(found.every, seconds))
        self.about = (
            f"{source}, {self._split.train.x.shape[2] / self.rate:g} s at {self.rate} Hz, "
            f"{len(self.classes)} classes, {len(self._split.train)} to learn from, "
            f"{len(self._split.test)} to be judged on"
        )

    @property
    def recipe(self) -> Recipe:
        """Batches and a first rate that suit a thousand short sounds."""
        return Recipe(batch=16, rate=3e-3, width=32)

    def split(self) -> Split:
        """The official test part, or every fifth sound."""
        return self._split

    def problem(self) -> Problem:
        """One of the classes."""
        from tokfrag.compare.problems import Classify

        return Classify(len(self.classes))

    def baselines(self, split: Split) -> Mapping[str, float]:
        """Always the most frequent class."""
        return {"majority class": majority(split.train.y, split.test.y)}

    def default_cuts(self) -> Sequence[str]:
        """Tokens of the waveform, windows of it, frames of mel bands."""
        frame = max(2, self.rate // 40)
        step = max(1, frame * 2 // 5)
        bands = f"x{frame}/{step}" if (frame, step) != (200, 80) else ""
        return (
            f"mulaw:256/{max(2, frame // 5)}",
            f"patch:{frame}/{step}",
            f"patch:{step}",
            f"mel:20{bands}",
            f"mel:40{bands}",
        )

    def default_budget(self) -> str:
        """What a training may spend, in operations."""
        return "20 GFLOP"

    def _read(self, paths: Sequence[Path], seconds: float | None) -> NDArray[np.float32]:
        sounds: list[NDArray[np.float32]] = []
        for path in paths:
            sound, rate = read_wav(path)
            if sounds and rate != self.rate:
                raise ValueError(f"{path}: has {rate} samples a second, {paths[0]} {self.rate}")
            self.rate = rate
            loud = np.flatnonzero(np.abs(sound) >= 0.1 * np.abs(sound).max(initial=0))
            sounds.append(sound[loud[0] :] if len(loud) else sound)
        # Without a length of the user's, most sounds are kept whole.
        length = round(
            seconds * self.rate if seconds else float(np.quantile([len(s) for s in sounds], 0.9))
        )
        x = np.zeros((len(sounds), 1, max(1, length)), np.float32)
        for row, sound in zip(x[:, 0], sounds, strict=True):
            row[: min(length, len(sound))] = sound[:length]
        return x


def _vowels(count: int, length: int) -> Samples:
    if count < 20:
        raise ValueError(f"sounds: got {count}; it takes 20 or more")
    rng = np.random.default_rng(0)
    times = np.arange(length + 200) / _RATE
    x = np.empty((count, 1, length), np.float32)
    y = np.arange(count) % len(_VOWELS)
    for row, vowel in zip(x[:, 0], y, strict=True):
        pitch, tract = rng.uniform(80, 260), rng.uniform(0.88, 1.14)
        sound = (np.diff(np.floor(times * pitch + rng.random()), prepend=0) > 0).astype(float)
        for formant in _VOWELS[tuple(_VOWELS)[vowel]]:
            # Two poles at the formant, 80 Hz wide.
            angle, radius = 2 * np.pi * formant * tract / _RATE, np.exp(-np.pi * 80 / _RATE)
            sound = _resonate(sound, 2 * radius * np.cos(angle), -(radius**2))
        sound = sound[200:] / np.abs(sound[200:]).max() * rng.uniform(0.2, 0.9)
        row[:] = sound + rng.normal(0, 0.03, length)
    return Samples(x, y.astype(np.int64))


def _resonate(sound: NDArray[np.float64], one: float, two: float) -> NDArray[np.float64]:
    found = np.empty_like(sound)
    last = before = 0.0
    for i, value in enumerate(sound.tolist()):
        last, before = value + one * last + two * before, last
        found[i] = last
    return found
