"""The inputs of each matrix of a layer, told from a call of its module."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, unpack_sequence

from tokfrag.sparse.layers.attention import Heads, dense_projections
from tokfrag.sparse.layers.convolution import gather_windows

#: Takes a module, its arguments and its output; gives inputs ``(..., columns)``.
Tap = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], Tensor]


def first_argument(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
) -> Tensor:
    """The input of a linear layer."""
    x: Tensor = args[0] if args else next(iter(kwargs.values()))
    return x


def windows(
    module: nn.Conv1d | nn.Conv2d, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
) -> Tensor:
    """The windows that a convolution multiplies."""
    x = first_argument(module, args, kwargs, output)
    batched = x.ndim == len(module.kernel_size) + 2
    return gather_windows(module, x if batched else x.unsqueeze(0))[0]


def attention_argument(number: int) -> Tap:
    """Queries (0), keys (1) or values (2) of attention."""
    name = ("query", "key", "value")[number]

    def tap(
        module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> Tensor:
        x: Tensor = args[number] if len(args) > number else kwargs[name]
        return x

    return tap


def attention_mixture(
    module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
) -> Tensor:
    """Compute the inputs of attention's output projection again: torch calls no module there."""
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    parts = [given[name] for name in names[:3]]
    padding = given.get("key_padding_mask")
    if parts[0].ndim == 2:
        parts = [part.unsqueeze(0) for part in parts]
        padding = None if padding is None else padding.unsqueeze(0)
    elif not module.batch_first:
        parts = [part.transpose(0, 1) for part in parts]
    projections = dense_projections(module)
    q, k, v = (
        functional.linear(part, *projections[name]) for name, part in zip("qkv", parts, strict=True)
    )
    heads = Heads(module.num_heads, 0.0, True)
    mixed, _ = heads.attend(q, k, v, key_padding_mask=padding, attn_mask=given.get("attn_mask"))
    return mixed


def recurrent_inputs(number: int, part: str) -> Tap:
    """Inputs of layer and direction ``number`` of an LSTM or GRU.

    ``part`` is "ih" (the layer's inputs), "hh" (its outputs one step before) or "both" side by
    side, where one matrix takes them together.
    """

    def tap(
        module: nn.LSTM | nn.GRU, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> Tensor:
        state = args[1] if len(args) > 1 else kwargs.get("hx")
        rows = []
        for x, first_state in _sequences(module, args[0] if args else kwargs["input"], state):
            layers = _layers(module, x, first_state)
            inputs, first, y = next(itertools.islice(layers, number, None))
            before = torch.cat([first[None], y[:-1]]) if len(y) else y
            both = {"ih": [inputs], "hh": [before], "both": [inputs, before]}[part]
            found = torch.cat(both, -1)
            rows.append(found.reshape(-1, found.shape[-1]))
        return torch.cat(rows)

    return tap


State = tuple[Tensor, ...] | None


def _sequences(
    module: nn.LSTM | nn.GRU, x: Tensor | PackedSequence, state: Any
) -> Iterator[tuple[Tensor, State]]:
    """Inputs ``(steps, batch, size)`` and their first state; packed sequences one by one."""
    states: State = state if state is None or isinstance(state, tuple) else (state,)
    if isinstance(x, PackedSequence):
        for number, sequence in enumerate(unpack_sequence(x)):
            own = None if states is None else tuple(s[:, number : number + 1] for s in states)
            yield sequence.unsqueeze(1), own
    elif x.ndim == 2:
        yield x.unsqueeze(1), None if states is None else tuple(s.unsqueeze(1) for s in states)
    else:
        yield (x.transpose(0, 1) if module.batch_first else x), states


def _layers(
    module: nn.LSTM | nn.GRU, x: Tensor, state: State
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Inputs, first output and outputs of each layer and direction, in the order it runs in."""
    directions = 2 if module.bidirectional else 1
    lstm = isinstance(module, nn.LSTM)
    per_layer = 4 if module.bias else 2
    per_layer += bool(module.proj_size)
    size = module.proj_size or module.hidden_size
    for layer in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            number = layer * directions + direction
            weights: Any = module._flat_weights[number * per_layer : (number + 1) * per_layer]
            inputs = x.flip(0) if direction else x
            zeros = [inputs.new_zeros(1, inputs.shape[1], n) for n in (size, module.hidden_size)]
            first = zeros if state is None else [s[number : number + 1] for s in state]
            options = (module.bias, 1, 0.0, False, False, False)
            if lstm:
                y = torch.lstm(inputs, tuple(first[:2]), weights, *options)[0]
            else:
                y = torch.gru(inputs, first[0], weights, *options)[0]
            yield inputs, first[0][0], y
            outputs.append(y.flip(0) if direction else y)
        x = torch.cat(outputs, -1)
