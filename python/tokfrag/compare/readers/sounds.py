"""Sounds from WAV files, with Python's own reader."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_wav(path: Path) -> tuple[NDArray[np.float32], int]:
    """A sound between -1 and 1, its channels averaged, and its samples a second.

    Parameters
    ----------
    path : Path
        A WAV file of 8, 16, 24 or 32 bits a sample.

    Returns
    -------
    ((n,) float32 array, int)
        The sound, and its rate.

    Raises
    ------
    ValueError
        For a file that is no such WAV.

    Examples
    --------
    >>> import wave
    >>> with wave.open("a.wav", "wb") as file:
    ...     file.setparams((1, 2, 8000, 0, "NONE", ""))
    ...     file.writeframes(bytes([0, 0, 0, 64]))
    >>> read_wav(Path("a.wav"))
    (array([0. , 0.5], dtype=float32), 8000)
    """
    try:
        with path.open("rb") as held, wave.open(held) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        why = str(error) or "it ends within its header"
        raise ValueError(f"{path}: is no WAV of whole numbers: {why}") from None
    if not raw:
        raise ValueError(f"{path}: holds no samples")
    held_bytes = np.frombuffer(raw[: len(raw) // width * width], np.uint8).reshape(-1, width)
    if width == 1:
        values = (held_bytes[:, 0].astype(np.float32) - 128) / 128
    else:
        # The sign lies in the last byte; bytes below are added as they are.
        values = held_bytes[:, -1].view(np.int8).astype(np.float32)
        for place in range(width - 2, -1, -1):
            values = values * 256 + held_bytes[:, place]
        values = values / np.float32(1 << (8 * width - 1))
    whole = len(values) // channels * channels
    sound: NDArray[np.float32] = values[:whole].reshape(-1, channels).mean(1, dtype=np.float32)
    return sound, rate
