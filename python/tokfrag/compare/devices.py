"""Where networks are trained: the processor, or a GPU."""

from __future__ import annotations

import torch


def as_device(name: str | None) -> torch.device:
    """The device that a name stands for.

    Parameters
    ----------
    name : {"cpu", "cuda", "cuda:N", "auto"} or None
        ``auto`` takes a GPU where there is one; None is the processor.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        For another name, or a GPU that is not there.

    Examples
    --------
    >>> as_device(None)
    device(type='cpu')
    """
    if name is None or name == "cpu":
        return torch.device("cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise ValueError(f"device: got {name!r}; it takes cpu, cuda, cuda:N or auto")
    if not torch.cuda.is_available():
        raise ValueError(f"device: got {name!r}; torch sees no GPU here")
    if number and int(number) >= torch.cuda.device_count():
        raise ValueError(f"device: got {name!r}; torch sees {torch.cuda.device_count()} GPUs")
    return torch.device(name)


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was told, so that a clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
