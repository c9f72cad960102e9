"""Sound as overlapping frames, the fragments that speech models begin with, and their spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag._arrays import is_tensor
from tokfrag.fragments import FragmentGrid, extract


def frame_audio(sound: Any, *, size: int = 400, hop: int = 160) -> Any:
    """Cut sound into frames of ``size`` samples every ``hop``, mirrored at both ends.

    The defaults are Whisper's: 25 ms every 10 ms at 16 kHz, a frame centred on each multiple of the
    hop but the last. :func:`log_mel` makes Whisper's inputs of them.

    Parameters
    ----------
    sound : (samples,) or (batch, samples) array or tensor, floats
    size, hop : int
        Samples.

    Returns
    -------
    (frames, size) or (batch, frames, size) array or tensor
        ``samples // hop`` frames.

    Raises
    ------
    ValueError
        Fewer samples than half a frame, which cannot be mirrored.

    Notes
    -----
    A. Radford et al., "Robust speech recognition via large-scale weak supervision", 2022. The
    frames are cut as ``torch.stft(center=True, pad_mode="reflect")`` cuts them, without its last.

    Examples
    --------
    >>> frame_audio(np.arange(6.0), size=4, hop=2).tolist()
    [[2.0, 1.0, 0.0, 1.0], [0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0]]
    """
    if not is_tensor(sound) and not isinstance(sound, np.ndarray):
        raise TypeError(f"sound: got {type(sound).__name__}, takes an array or a tensor")
    if sound.ndim not in (1, 2):
        raise ValueError(f"sound: got shape {tuple(sound.shape)}, takes (samples,) or two axes")
    if size < 1 or hop < 1:
        raise ValueError(f"size, hop: got {size} and {hop}, takes 1 or more")
    samples, half = int(sound.shape[-1]), size // 2
    if samples <= half or samples < hop:
        raise ValueError(f"sound: got {samples} samples, takes more than {max(half, hop - 1)}")
    rows: Any = sound.reshape(-1, 1, samples)
    if is_tensor(rows):
        from torch.nn.functional import pad

        padded: Any = pad(rows, (half, size - half), mode="reflect")
    else:
        padded = np.pad(rows, ((0, 0), (0, 0), (half, size - half)), mode="reflect")
    count = samples // hop
    grid = FragmentGrid((hop * (count - 1) + size,), size, hop)
    frames = extract(padded[..., : grid.shape[0]], grid)
    return frames.reshape(*sound.shape[:-1], count, size)


def log_mel(sound: Any, *, mels: int = 80) -> NDArray[np.float32]:
    """Give the log-mel spectrum of sound as Whisper reads it; filters are transformers'.

    Parameters
    ----------
    sound : (samples,) array or tensor, floats
        16,000 samples a second; Whisper takes 480,000 of them, padded with zeros.
    mels : int
        Bands: 80, or 128 for large-v3.

    Returns
    -------
    (mels, frames) array, float32
        The logarithm to base 10, no more than 8 below its greatest, plus 4, divided by 4.

    Raises
    ------
    ImportError
        transformers is not installed.
    ValueError
        Several sounds at once, or too few samples for a frame.

    Notes
    -----
    ``WhisperFeatureExtractor`` of transformers, to 1e-4.

    Examples
    --------
    >>> from importlib.util import find_spec
    >>> sound = np.sin(np.arange(16000) / 10)
    >>> log_mel(sound).shape if find_spec("transformers") else (80, 100)
    (80, 100)
    """
    try:
        from transformers.audio_utils import mel_filter_bank
    except ImportError:
        raise ImportError("log_mel needs transformers: pip install tokfrag[audio]") from None
    if mels < 1:
        raise ValueError(f"mels: got {mels}, takes 1 or more")
    frames = frame_audio(sound)
    if frames.ndim != 2:
        raise ValueError(f"sound: got shape {tuple(sound.shape)}, takes (samples,)")
    if is_tensor(frames):
        frames = frames.detach().cpu().numpy()
    size = frames.shape[1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    bank = mel_filter_bank(
        size // 2 + 1, mels, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney"
    )
    spectrum = np.log10(np.maximum(1e-10, bank.T @ power.T))
    made = (np.maximum(spectrum, spectrum.max() - 8.0) + 4.0) / 4.0
    rounded: NDArray[np.float32] = made.astype(np.float32)
    return rounded
