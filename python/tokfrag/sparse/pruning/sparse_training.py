"""Masks that move while a model trains: SET, RigL and gradual magnitude pruning on a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokfrag.sparse.layers.linear import SparseLinear
from tokfrag.sparse.layers.recurrent_base import SparseRecurrent
from tokfrag.sparse.layers.stored import check_size, check_sparsity
from tokfrag.sparse.pruning import masks
from tokfrag.sparse.pruning.regrowth import Scores, exchanged, flows_of, gradient_sizes, move

METHODS = ("set", "rigl", "magnitude")
DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "cubic": lambda done: (1 - done) ** 3,
    "linear": lambda done: 1 - done,
}


class SparseTraining:
    """Moves the non-zeros of a model's sparse layers while it trains.

    Call :meth:`step` after each ``optimizer.step()``. At every ``every``-th call the smallest
    values go: with ``"set"`` and ``"rigl"`` as many absent weights take their place, at random or
    where the gradient would be largest; with ``"magnitude"`` none do, and the layers grow sparser.
    How many move decays over ``steps`` calls, after which masks stay. The optimiser's state follows
    the values that stay; new values begin at zero without history.

    Parameters
    ----------
    model : torch.nn.Module
        Its trainable :class:`~tokfrag.sparse.SparseLinear` layers are taken, those inside other
        sparse layers too; each keeps its number of non-zeros, but with ``"magnitude"``.
    optimizer : torch.optim.Optimizer
        Any whose state of a parameter is tensors of its size and numbers.
    method : {"set", "rigl", "magnitude"}
        See above. ``"rigl"`` needs a batch at the steps that are :attr:`due`, for one more forward
        and backward pass.
    steps : int
        Calls of :meth:`step` until masks stay.
    every : int
        Calls between two moves.
    fraction : float, 0 to 1
        For ``"set"`` and ``"rigl"``: share of a layer's non-zeros that moves at first.
    sparsity : float or mapping, optional
        For ``"magnitude"``: share of zeros at the end, of each layer or by path; what is not named
        stays as it is. A layer may begin dense (``SparseLinear(..., sparsity=0)``).
    decay : {"cosine", "cubic", "linear"}
        How what moves (or, with ``"magnitude"``, what is still to go) shrinks.
    skip : sequence of str
        Paths of modules whose masks stay.
    seed : int
        For ``"set"``: of the places drawn.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, a model without layers to move, or, with ``"rigl"``, recurrent
        layers, whose steps are one product that no hook sees (name them in ``skip``).

    Examples
    --------
    >>> import torch
    >>> from tokfrag.sparse import SparseLinear
    >>> model = SparseLinear(32, 16, sparsity=0)
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> training = SparseTraining(
    ...     model, optimizer, method="magnitude", steps=40, every=10, sparsity=0.75
    ... )
    >>> for _ in range(40):
    ...     _ = training.step()
    >>> model.sparsity
    0.75

    Notes
    -----
    Mocanu et al., arXiv 1707.04780 (SET); Evci et al., arXiv 1911.11134 (RigL, the cosine); Zhu and
    Gupta, arXiv 1710.01878 (gradual magnitude, the cubic).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        method: str,
        steps: int,
        every: int = 100,
        fraction: float = 0.3,
        sparsity: float | Mapping[str, float] | None = None,
        decay: str = "cosine",
        skip: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        for name, value, choices in (
            ("method", method, METHODS),
            ("decay", decay, tuple(DECAYS)),
        ):
            if value not in choices:
                raise ValueError(f"{name}: got {value!r}, takes one of {choices}")
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float)):
            raise TypeError(f"fraction: got {fraction!r}, takes a number in [0, 1]")
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction: got {fraction}, takes a number in [0, 1]")
        self.model, self.optimizer, self.method = model, optimizer, method
        self.steps, self.every = check_size("steps", steps), check_size("every", every)
        self.fraction, self.decay = float(fraction), decay
        self._layers = _layers_of(model, method, skip)
        self._goals = _goals(self._layers, method, sparsity)
        self._begun = {path: layer.sparsity for path, layer in self._layers.items()}
        self._done = 0
        self._generator = torch.Generator("cpu").manual_seed(seed)

    @property
    def due(self) -> bool:
        """Whether the next :meth:`step` moves non-zeros."""
        return self._due(self._done + 1)

    def _due(self, step: int) -> bool:
        if step == self.steps:  # nothing is left to move, but gradual pruning reaches its goal
            return self.method == "magnitude"
        return step < self.steps and step % self.every == 0

    def step(
        self, inputs: Any = None, *, loss: Callable[[Any], Tensor] | None = None
    ) -> dict[str, int]:
        """Count a step, and move non-zeros if it is :attr:`due`.

        Gradients of layers that move are cleared, so call it after ``optimizer.step()``.

        Parameters
        ----------
        inputs : tensor, tuple or mapping, optional
            For ``"rigl"``: a batch, as for :func:`~tokfrag.sparse.regrow`; may be left out where
            nothing is due.
        loss : callable, optional
            ``loss(output)``, a scalar; by default the model's output itself is the loss.

        Returns
        -------
        dict of str to int
            How many values were dropped, by module path; empty where nothing was due.

        Raises
        ------
        ValueError
            ``"rigl"`` is due and got no batch, or a loss that is no scalar. The step is then not
            counted.
        """
        step = self._done + 1
        moved: dict[str, int] = {}
        if self._due(step):
            left = DECAYS[self.decay](step / self.steps)
            moved = (
                self._thin(left)
                if self.method == "magnitude"
                else self._exchange(left * self.fraction, inputs, loss)
            )
        self._done = step
        return moved

    def _thin(self, left: float) -> dict[str, int]:
        moved = {}
        for path, goal in self._goals.items():
            layer = self._layers[path]
            before = layer.nnz
            share = goal + (self._begun[path] - goal) * left
            # Absent weights score below all others, so that none returns.
            weight = layer.dense_weight().detach().abs().masked_fill(~layer.mask, -1).float()
            mask = masks.select(weight.cpu(), max(share, layer.sparsity), None)
            move(layer, mask, self.optimizer)
            moved[path] = before - layer.nnz
        return moved

    def _exchange(
        self, fraction: float, inputs: Any, loss: Callable[[Any], Tensor] | None
    ) -> dict[str, int]:
        scores: dict[str, Scores | None]
        if self.method == "rigl":
            if inputs is None:
                raise ValueError("inputs: got none at a step that is due, takes a batch")
            flows = flows_of(self.model, self._layers, inputs, loss)
            scores = {path: gradient_sizes(flow) for path, flow in flows.items()}
        else:
            scores = {path: self._draw(layer) for path, layer in self._layers.items()}
        fresh = {
            path: exchanged(layer, fraction, scores[path]) for path, layer in self._layers.items()
        }
        return {
            path: move(layer, fresh[path], self.optimizer) for path, layer in self._layers.items()
        }

    def _draw(self, layer: SparseLinear) -> Scores:
        """Scores that are drawn: places take the order of random numbers."""

        def draw(rows: slice) -> Tensor:
            count = len(range(*rows.indices(layer.out_features)))
            drawn = torch.rand(count, layer.in_features, generator=self._generator, device="cpu")
            return drawn.to(layer.local.device)

        return draw

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs beside the states of the model and the optimiser.

        Returns
        -------
        dict
            Of numbers, strings and a tensor.
        """
        return {
            "method": self.method,
            "done": self._done,
            "begun": dict(self._begun),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; load the model and the optimiser too.

        Parameters
        ----------
        state : mapping
            Of a training with the same method and layers.

        Raises
        ------
        ValueError
            It is of another method, of other layers, or no such state.
        """
        takes = {"method", "done", "begun", "generator"}
        if set(state) != takes:
            raise ValueError(f"state: got the keys {sorted(state)}, takes {sorted(takes)}")
        if state["method"] != self.method:
            raise ValueError(f"state: got method {state['method']!r}, takes {self.method!r}")
        if set(state["begun"]) != set(self._begun):
            raise ValueError(
                f"state: got the layers {sorted(state['begun'])}, takes {sorted(self._begun)}"
            )
        self._generator.set_state(state["generator"])
        self._begun = {path: float(share) for path, share in state["begun"].items()}
        self._done = int(state["done"])


def _layers_of(model: nn.Module, method: str, skip: Sequence[str]) -> dict[str, SparseLinear]:
    """The layers whose masks move, by path."""
    paths = dict(model.named_modules())
    unknown = [path for path in skip if path not in paths]
    if unknown:
        raise ValueError(f"skip: got {unknown}, which name no module of the model")

    def skipped(path: str) -> bool:
        return any(path == name or path.startswith(f"{name}.") for name in skip)

    layers = {
        path: module
        for path, module in paths.items()
        if isinstance(module, SparseLinear) and module.values.requires_grad and not skipped(path)
    }
    if not layers:
        raise ValueError("model: has no trainable SparseLinear whose mask could move")
    if method == "rigl":
        for path, module in paths.items():
            if isinstance(module, SparseRecurrent) and not skipped(path):
                raise ValueError(
                    f"{path}: got a recurrent layer with method 'rigl', takes 'set' or "
                    "'magnitude' (or name it in skip)"
                )
    return layers


def _goals(
    layers: Mapping[str, SparseLinear], method: str, sparsity: float | Mapping[str, float] | None
) -> dict[str, float]:
    """The share of zeros of each layer at the end; empty where it does not change."""
    if method != "magnitude":
        if sparsity is not None:
            raise ValueError(f"sparsity: got {sparsity!r} with method {method!r}, takes None")
        return {}
    if sparsity is None:
        raise ValueError("sparsity: got None, takes a number in [0, 1) or a mapping by path")
    if isinstance(sparsity, Mapping):
        unknown = sorted(set(sparsity) - set(layers))
        if unknown:
            raise ValueError(f"sparsity: got {unknown}, which name no layer that could move")
        goals = {path: check_sparsity(share, path) for path, share in sparsity.items()}
    else:
        goals = dict.fromkeys(layers, check_sparsity(sparsity))
    for path, goal in goals.items():
        mask = layers[path].mask
        if round(goal * mask.numel()) < mask.numel() - layers[path].nnz:
            raise ValueError(
                f"{path}: got sparsity {goal}, takes {layers[path].sparsity:.4g}, which it has, "
                "or more"
            )
    return goals
