"""The base of sparse layers: one parameter of values, their places in buffers, checks, loading."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakIdKeyDictionary

from tokfrag.sparse.products import products

_EXTENT_LIMIT = 1 << 31


def check_size(name: str, size: object) -> int:
    """Return a size that is a positive int of 31 bits; refuse any other value by its name."""
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name}: got {size!r}, takes a positive int")
    if not 0 < size < _EXTENT_LIMIT:
        raise ValueError(f"{name}: got {size}, takes 1 to 2**31 - 1")
    return size


def check_sparsity(sparsity: float, name: str = "sparsity") -> float:
    """Return a sparsity in [0, 1) as a float; 1 is refused, for it leaves no weight to train."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)):
        raise TypeError(f"{name}: got {sparsity!r}, takes a number in [0, 1)")
    if not 0 <= sparsity < 1:
        raise ValueError(f"{name}: got {sparsity}, takes a number in [0, 1)")
    return float(sparsity)


def check_mask(mask: Tensor, shape: tuple[int, ...], name: str = "mask") -> Tensor:
    """Return a mask that is a bool tensor of the shape; refuse any other."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}: got {type(mask).__name__}, takes a bool tensor of shape {shape}")
    if tuple(mask.shape) != shape:
        raise ValueError(f"{name}: got shape {tuple(mask.shape)}, takes {shape}")
    if mask.dtype != torch.bool:
        raise TypeError(f"{name}: got {mask.dtype}, takes bool")
    return mask


def check_dtype(dtype: torch.dtype, name: str) -> None:
    """Refuse a dtype that no kernel takes."""
    if dtype not in products.ELEMENTS:
        raise TypeError(f"{name}: got {dtype}, takes float32, float64, float16 or bfloat16")


def random_mask(rows: int, columns: int, sparsity: float) -> Tensor:
    """A mask of exactly the asked number of non-zeros, drawn from torch's generator."""
    kept = rows * columns - round(sparsity * rows * columns)
    mask = torch.zeros(rows * columns, dtype=torch.bool, device="cpu")
    mask[torch.randperm(rows * columns, device="cpu")[:kept]] = True
    return mask.view(rows, columns)


# Parameters that have changed their size: optimisers may hold moments of the old size.
_resized = WeakIdKeyDictionary()


def _forget_old_sizes(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Drop an optimiser's moments of values of another number, before its step trips over them."""
    if not _resized:
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter not in _resized:
                continue
            kept = optimizer.state.get(parameter, {}).values()
            if any(isinstance(t, Tensor) and t.ndim and t.shape != parameter.shape for t in kept):
                del optimizer.state[parameter]


register_optimizer_step_pre_hook(_forget_old_sizes)


def replace_data(parameter: nn.Parameter, data: Tensor) -> None:
    """Give a parameter data of another size; the parameter stays the same object.

    An optimiser that has stepped drops its moments of the old values before its next step, unless
    somebody has carried them over. A graph that is still alive (a loss held from the last
    step) would make later gradients be checked against the old size; changing the dtype in between
    makes torch forget it.
    """
    if parameter.numel() != data.numel():
        _resized[parameter] = True
    parameter.grad = None
    other = torch.float64 if data.dtype != torch.float64 else torch.float32
    parameter.data = data.new_empty(0, dtype=other)
    parameter.data = data


class StoredMatrix(nn.Module, ABC):
    """A matrix kept by its non-zeros: ``values``, a 1-D parameter, and ``_PLACES``, buffers.

    Subclasses say where values stand (:meth:`positions`) and which buffers are sound
    (:meth:`_check_places`).
    """

    _PLACES: tuple[str, ...]

    values: nn.Parameter
    local: Tensor

    @property
    @abstractmethod
    def _shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @abstractmethod
    def _positions(self) -> Tensor:
        """For each stored value its place ``row * columns + column``: int64 ``(nnz,)``."""

    @abstractmethod
    def _check_places(self, values: Tensor, places: Sequence[Tensor]) -> None:
        """Raise ValueError or TypeError unless the buffers of a checkpoint fit this layer."""

    @property
    def mask(self) -> Tensor:
        """Bool ``(rows, columns)``: where values are stored."""
        rows, columns = self._shape
        mask = torch.zeros(rows * columns, dtype=torch.bool, device=self.local.device)
        mask[self._positions()] = True
        return mask.view(rows, columns)

    @property
    def nnz(self) -> int:
        """How many weights are stored."""
        return self.local.numel()

    @property
    def sparsity(self) -> float:
        """The share of weights that are not stored."""
        rows, columns = self._shape
        return 1 - self.nnz / (rows * columns)

    @property
    def nbytes(self) -> int:
        """Bytes of values and places (what a checkpoint holds, bias left out)."""
        stored = [self.values, *(getattr(self, name) for name in self._PLACES)]
        return sum(t.numel() * t.element_size() for t in stored)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickle, refused where its places are damaged."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        places = [getattr(self, name) for name in self._PLACES]
        if self.values.shape != places[0].shape:
            raise ValueError(f"values: got {tuple(self.values.shape)}, takes {places[0].shape}")
        self._check_places(self.values, places)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        # A checkpoint may hold another mask: check it, then make room for it.
        found = [state_dict.get(prefix + name) for name in ("values", *self._PLACES)]
        stored = [tensor for tensor in found if isinstance(tensor, Tensor)]
        if stored and len(stored) < len(found):  # a part alone would not fit the rest of the layer
            for name in ("values", *self._PLACES):
                if prefix + name not in state_dict:
                    missing_keys.append(prefix + name)
            error_msgs.append(f"{prefix}{type(self).__name__}: takes values and places together")
            return
        if stored:
            values, *places = stored
            try:
                if values.shape != places[0].shape:
                    raise ValueError(
                        f"values: got {tuple(values.shape)} for {tuple(places[0].shape)}"
                    )
                self._check_places(values, places)
            except (ValueError, TypeError) as error:
                error_msgs.append(f"{prefix}{type(self).__name__}: {error}")
                return
            if values.shape != self.values.shape:
                replace_data(self.values, self.values.data.new_empty(values.shape))
            # A new tensor, so that the entry remembered for the old one is not taken for it.
            self.local = self.local.new_empty(places[0].shape)
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )
