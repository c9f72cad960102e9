"""Sounds written to WAV files, for tests."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np


def write_wav(path: Path, values: np.ndarray, *, width: int = 2, channels: int = 1) -> None:
    """A WAV file of whole numbers, ``width`` bytes each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, 8000, 0, "NONE", ""))
        raw = values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width]
        if width == 1:
            raw = (values + 128).astype(np.uint8)
        file.writeframes(raw.tobytes())
