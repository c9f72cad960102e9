"""What a block leaves for others between two rounds: files of outputs, each hashed, and of results.

Of block 7, `000007.kept.npy` holds the outputs of the windows that reach beyond its inner part, and
`000007.inner.npz` the SHA-256 of each of them and the result at the inner part.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tokfrag import _arrays
from tokfrag._files import whole_file
from tokfrag.scale.parts import record_path
from tokfrag.scale.plan import part_name
from tokfrag.scale.volume_blocks import window_numbers
from tokfrag.scale.volume_borders import Borders

_BATCH_BYTES = 1 << 24  # of outputs that are read at a time
_PATIENCE = 10.0  # seconds until a file that another machine has renamed must be seen here


def handed_paths(folder: Path, number: int) -> tuple[Path, Path]:
    """Where a block leaves its outputs, and their hashes with the inner result."""
    name = part_name(number)
    return folder / f"{name}.kept.npy", folder / f"{name}.inner.npz"


def forget_handed(folder: Path, number: int) -> None:
    """Remove what a block has left, if it is there."""
    for path in handed_paths(folder, number):
        path.unlink(missing_ok=True)


class OutputKind(NamedTuple):
    """What the outputs of a model are."""

    dtype: str
    tensors: bool
    channels: int
    size: tuple[int, ...]

    @classmethod
    def of(cls, output: Any) -> OutputKind:
        """Of the outputs of some windows, ``(count, channels, *size)``."""
        shape = tuple(output.shape)
        name = _arrays.dtype_name(output.dtype)
        return cls(name, _arrays.is_tensor(output), int(shape[1]), shape[2:])

    @property
    def stored(self) -> np.dtype[Any]:
        """The type that they have in files: NumPy has no bfloat16, so its bits."""
        return np.dtype("int16" if self.dtype == "bfloat16" else self.dtype)

    @property
    def window_bytes(self) -> int:
        """Of one window."""
        return self.channels * prod(self.size) * self.stored.itemsize

    def packed(self, outputs: Any) -> NDArray[Any]:
        """Outputs as files hold them; TypeError if they are not of this kind."""
        own = OutputKind.of(outputs)
        if own != self:
            raise TypeError(f"model: got outputs of {own}, takes {self}, as the first were")
        if self.tensors:
            import torch

            outputs = outputs.contiguous()
            bits = self.dtype == "bfloat16"
            outputs = (outputs.view(torch.int16) if bits else outputs).numpy()
        return np.ascontiguousarray(outputs, self.stored)

    def unpacked(self, values: NDArray[Any]) -> Any:
        """Outputs as the model gave them."""
        if not self.tensors:
            return values
        import torch

        made = torch.from_numpy(values)
        return made.view(torch.bfloat16) if self.dtype == "bfloat16" else made


class KeptWriter:
    """Writes the outputs of the windows that are kept, as they come.

    Parameters
    ----------
    file : that is written
    kind : of the outputs
    kept : the numbers of the windows, ascending
    """

    def __init__(self, file: IO[bytes], kind: OutputKind, kept: NDArray[np.int64]) -> None:
        self._file, self._kind, self._kept = file, kind, kept
        self.digests = np.zeros((len(kept), 32), np.uint8)
        self._done = 0
        header = {
            "descr": np.lib.format.dtype_to_descr(kind.stored),
            "fortran_order": False,
            "shape": (len(kept), kind.channels, *kind.size),
        }
        np.lib.format.write_array_header_1_0(file, header)

    def add(self, numbers: NDArray[np.int64], outputs: Any) -> None:
        """Take in the outputs of windows, ascending; write those that are kept."""
        at = np.flatnonzero(np.isin(numbers, self._kept, assume_unique=True))
        if not len(at):
            return
        packed = self._kind.packed(outputs if len(at) == len(numbers) else outputs[at])
        for one in packed:
            self.digests[self._done] = np.frombuffer(hashlib.sha256(one.data).digest(), np.uint8)
            self._done += 1
        self._file.write(packed.data)


def write_handed(
    folder: Path,
    number: int,
    kind: OutputKind,
    kept: NDArray[np.int64],
    write: Callable[[KeptWriter], NDArray[Any] | None],
) -> int:
    """Leave what `write` gives to the writer, and the inner result that it returns: the bytes."""
    outputs_path, inner_path = handed_paths(folder, number)
    with whole_file(outputs_path) as file:
        writer = KeptWriter(file, kind, kept)
        inner = write(writer)
        size = file.tell()
    with whole_file(inner_path) as file:
        if inner is None:
            np.savez(file, digests=writer.digests)
        else:
            np.savez(file, digests=writer.digests, inner=inner)
        size += file.tell()
    return size


@dataclass
class _Left:
    """What one block has left."""

    windows: NDArray[np.int64]
    outputs: NDArray[Any]
    digests: NDArray[np.uint8]
    inner: NDArray[Any] | None
    checked: NDArray[np.bool_]


@dataclass
class Handed:
    """What blocks have left for others, read and checked as it is asked for.

    Attributes
    ----------
    folder
        Where it is.
    borders
        Which windows are whose.
    kind
        Of the outputs.
    is_over
        Whether it is asked for in vain: another call has done the block that asks.
    """

    folder: Path
    borders: Borders
    kind: OutputKind
    is_over: Callable[[], bool]
    _left: dict[int, _Left] = field(default_factory=dict)

    def inner(self, number: int) -> NDArray[Any] | None:
        """The result at the inner part of a block; None: no window reaches it."""
        return self._of(number).inner

    def batches(self, entry: int, windows: tuple[slice, ...]) -> Iterator[Any]:
        """The outputs of windows of a batch entry, in order, some at a time."""
        numbers = window_numbers(self.borders.merging.grid, windows)
        owners = self.borders.owners(entry, numbers)
        step = max(1, _BATCH_BYTES // max(self.kind.window_bytes, 1))
        for first in range(0, len(numbers), step):
            wanted, whose = numbers[first : first + step], owners[first : first + step]
            shape = (len(wanted), self.kind.channels, *self.kind.size)
            values = np.empty(shape, self.kind.stored)
            for owner in np.unique(whose).tolist():
                at = np.flatnonzero(whose == owner)
                self._copy(owner, wanted[at], at, values)
            yield self.kind.unpacked(values)

    def _copy(
        self, owner: int, numbers: NDArray[np.int64], at: NDArray[np.int64], values: NDArray[Any]
    ) -> None:
        """Copy the outputs of windows of one block to their places, and compare their hashes."""
        left = self._of(owner)
        places = np.searchsorted(left.windows, numbers)
        for place, target in zip(places.tolist(), at.tolist(), strict=True):
            values[target] = left.outputs[place]
            if not left.checked[place]:
                digest = hashlib.sha256(values[target].data).digest()
                if digest != left.digests[place].tobytes():
                    raise self._damage(owner, "outputs that are not what was written")
                left.checked[place] = True

    def _of(self, number: int) -> _Left:
        if number not in self._left:
            self._left[number] = self._read(number)
        return self._left[number]

    def _read(self, number: int) -> _Left:
        outputs_path, inner_path = handed_paths(self.folder, number)
        windows = self.borders.kept(number)
        shape = (len(windows), self.kind.channels, *self.kind.size)
        try:
            with (
                self._seen(inner_path).open("rb") as file,
                np.load(file, allow_pickle=False) as own,
            ):
                digests = own["digests"]
                inner = own["inner"] if "inner" in own.files else None
            self._seen(outputs_path)
            mode: Any = "r" if prod(shape) else None  # nothing cannot be mapped
            outputs = np.load(outputs_path, mmap_mode=mode, allow_pickle=False)
        except (ValueError, EOFError, KeyError, BadZipFile) as error:
            raise self._damage(number, f"no whole files ({error})") from error
        if digests.shape != (len(windows), 32) or digests.dtype != np.uint8:
            raise self._damage(number, f"hashes of shape {digests.shape}")
        if outputs.shape != shape or outputs.dtype != self.kind.stored:
            raise self._damage(number, f"outputs of {outputs.dtype} {outputs.shape}")
        if inner is not None:
            lengths = tuple(at.stop - at.start for at in self.borders.inner(number) or ())
            if inner.shape[1:] != lengths:
                raise self._damage(number, f"a result of shape {inner.shape}")
        return _Left(windows, outputs, digests, inner, np.zeros(len(windows), np.bool_))

    def _seen(self, path: Path) -> Path:
        """A file that is there, if not yet for this machine: a folder that is read tells of it."""
        stop = time.monotonic() + _PATIENCE
        while not path.exists() and not self.is_over() and time.monotonic() < stop:
            time.sleep(0.05)
            any(self.folder.iterdir())
        return path

    def _damage(self, number: int, what: str) -> ValueError:
        record = record_path(self.folder, number).name
        return ValueError(
            f"dst: block {number} has left {what} in {self.folder}; without its {record} it is"
            " done again"
        )


__all__ = [
    "Handed",
    "KeptWriter",
    "OutputKind",
    "forget_handed",
    "handed_paths",
    "write_handed",
]
