"""A network of the user's that is not trained: shown each item once, its answers are kept.

Whatever it is (a module, a function, a file), it is asked without gradients and in evaluation mode,
in batches. Before its answers are used it must give the same for the same item, twice over and
whatever else stands in the batch: what does not is no feature of the item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import FlopCounterMode

from tokfrag.compare.gate import free_memory

# Answers are kept, and stand in the parts of the data too; together they may take this much.
_MEMORY_SHARE = 0.6
_PROBED = 4

#: Items in, vectors out: (batch, width), or (batch, n, width).
Network = Callable[[Any], Any]


class Encoder:
    """A frozen network, and what it answered.

    Parameters
    ----------
    network
        Takes a batch: a tensor, or a list of str for texts; gives ``(batch, width)`` or
        ``(batch, n, width)``. A module runs where its weights are, until :meth:`run_on`.
    name
        What messages call it.
    batch
        Items that it is shown at once.

    Examples
    --------
    >>> import numpy as np
    >>> encoder = Encoder(lambda x: x.flatten(1)[:, :2], "halves")
    >>> encoder(np.arange(8, dtype=np.float32).reshape(2, 1, 4)).tolist()
    [[[0.0, 1.0]], [[4.0, 5.0]]]
    """

    def __init__(self, network: Network, name: str, batch: int = 32):
        self.network = network
        self.name = name
        self.batch = batch
        self._kept: dict[bytes, NDArray[np.float32]] = {}
        weight = next(network.parameters(), None) if isinstance(network, nn.Module) else None
        self._device = torch.device("cpu") if weight is None else weight.device

    def run_on(self, device: torch.device) -> None:
        """Move the network there; a function of a batch stays as it is, and is shown CPU tensors.

        Parameters
        ----------
        device
            Where its weights go, and the batches that it is shown.
        """
        move = getattr(self.network, "to", None)
        if callable(move):
            move(device)
            self._device = device

    def __deepcopy__(self, memo: dict[int, Any]) -> Encoder:
        """The same one: nothing in it is trained."""
        return self

    def __call__(self, items: Any) -> NDArray[np.float32]:
        """Vectors of all items, ``(items, n, width)``; those seen before are not asked for again.

        Raises
        ------
        ValueError
            Where the network fails, or its answers are not what a feature is.
        MemoryError
            Where the answers will not fit.
        """
        keys = [_key(item) for item in items]
        new = {key: place for place, key in enumerate(keys) if key not in self._kept}
        places = list(new.values())
        for begin in range(0, len(places), self.batch):
            drawn = places[begin : begin + self.batch]
            found = self.ask(_take(items, drawn))
            self._check_room(found, len(places) - begin, len(keys))
            for place, row in zip(drawn, found, strict=True):
                self._kept[keys[place]] = row
        rows = [self._kept[key] for key in keys]
        if len({row.shape for row in rows}) > 1:
            shapes = sorted({row.shape for row in rows})
            raise ValueError(
                f"{self.name}: got {shapes[0]} for one item and {shapes[-1]} for another; all must "
                "have as many vectors (rows of zeros fill up)"
            )
        return np.stack(rows)

    def ask(self, items: Any) -> NDArray[np.float32]:
        """Vectors of items from the network itself, ``(items, n, width)``."""
        try:
            # What it costs is paid once, and is no part of a training step.
            with self._as_it_is(), _disable_current_modes():
                found = self.network(_shown(items, self._device))
        except Exception as error:
            kind = type(error).__name__
            raise ValueError(f"{self.name}: the network raised {kind}: {error}") from error
        return self._checked(found, len(items))

    def check(self, items: Any) -> None:
        """See that the answer to an item is its own, and always the same.

        Raises
        ------
        ValueError
            Where it changes from one time to the next, or with the rest of the batch.
        """
        drawn = _take(items, list(range(min(_PROBED, len(items)))))
        together = self.ask(drawn)
        if not _alike(together, self.ask(drawn)):
            raise ValueError(
                f"{self.name}: its answer to the same items changes from one time to the next "
                "(dropout, or noise?)"
            )
        alone = np.concatenate([self.ask(_take(drawn, [i])) for i in range(len(drawn))])
        if not _alike(together, alone):
            raise ValueError(
                f"{self.name}: its answer to one item changes with the others of the batch "
                "(batch normalisation by the batch?)"
            )

    def flops(self, items: Any) -> float:
        """Operations that one item takes, by torch's counter; 0 where torch does not do them."""
        with self._as_it_is(), FlopCounterMode(display=False) as counter:
            self.network(_shown(_take(items, [0]), self._device))
        return float(counter.get_total_flops())

    def digest(self) -> str:
        """What its weights are, as 12 hexadecimal digits; nothing for a function."""
        if not isinstance(self.network, nn.Module):
            return ""
        found = hashlib.blake2b(digest_size=6)
        for name, value in self.network.state_dict().items():
            found.update(name.encode())
            if isinstance(value, Tensor):
                raw = value.detach().cpu().contiguous().reshape(-1)
                found.update(raw.view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    @contextmanager
    def _as_it_is(self) -> Iterator[None]:
        """No gradients, evaluation mode; the network's own mode afterwards."""
        net = self.network
        training = net if isinstance(net, nn.Module) and net.training else None
        if training is not None:
            training.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            if training is not None:
                training.train()

    def _checked(self, found: Any, count: int) -> NDArray[np.float32]:
        if isinstance(found, Tensor) and found.dtype is not torch.bool:
            found = found.detach().float().cpu().numpy()
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            got = getattr(found, "dtype", type(found).__name__)
            raise ValueError(f"{self.name}: got {got}; it takes a tensor of numbers")
        if found.ndim not in (2, 3) or len(found) != count or not found.size:
            raise ValueError(
                f"{self.name}: got {found.shape} for {count} items; it takes (batch, width), or "
                "(batch, n, width) for n pieces each"
            )
        values = found.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"{self.name}: some of its answers are no finite numbers")
        return values if values.ndim == 3 else values[:, None]

    def _check_room(self, found: NDArray[np.float32], left: int, all_items: int) -> None:
        free = free_memory()
        each = found[0].nbytes
        # Kept once, and once more in the parts that batches are drawn from.
        wanted = float(each * (left + all_items))
        if free is not None and wanted > free * _MEMORY_SHARE:
            raise MemoryError(
                f"memory: {self.name} gives {each / 1e6:.1f} MB an item, {wanted / 1e9:.1f} GB for "
                f"the {left} to come; {free / 1e9:.1f} GB are free. Fewer vectors an item, such as "
                "their mean, take less"
            )


def _take(items: Any, places: Sequence[int]) -> Any:
    return items[list(places)] if isinstance(items, np.ndarray) else [items[i] for i in places]


def _key(item: Any) -> bytes:
    """What tells an item from others: its bytes, its shape, its kind of number."""
    found = hashlib.blake2b(digest_size=16)
    if isinstance(item, np.ndarray):
        found.update(f"{item.dtype} {item.shape} ".encode())
        found.update(np.ascontiguousarray(item).tobytes())
    else:
        found.update(item)
    return found.digest()


def _shown(items: Any, device: torch.device) -> Any:
    """A batch as the network is shown it: float32 values, int64 ids, texts as str."""
    if not isinstance(items, np.ndarray):
        return [text.decode("utf-8", "replace") for text in items]
    kind = np.int64 if items.dtype.kind in "iub" else np.float32
    return torch.from_numpy(np.ascontiguousarray(items, kind)).to(device)


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    size = float(np.abs(one).max(initial=1e-6))
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-3, atol=1e-4 * size))
