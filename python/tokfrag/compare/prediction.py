"""What one training step of a shipped network costs, from its shapes alone: no step is run.

The gate refuses by it what would not fit into memory, and the tests hold it to what is measured.
With M pieces of L units, width d and depth D, in multiply-adds counted as two operations, forward,
a sample:

- embedding a fragment of values: 2 M L d; a look-up costs none;
- ``attention`` (over all pieces): D (24 M d^2 + 4 M^2 d);
- ``inside`` (attention within pieces): M D (24 L d^2 + 4 L^2 d);
- ``conv``: 2 * outputs * kernel * channels of each layer.

Backward costs twice the forward pass, less what the first layer need not hand on.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from tokfrag.compare.body import Network
from tokfrag.compare.facts import Prediction
from tokfrag.compare.layers import QUERIES, Blocks, EmbedConv, EmbedIds, EmbedInside
from tokfrag.compare.problems import DenseNetwork, NextPiece


def predict_step(network: nn.Module, inputs: Tensor) -> Prediction | None:
    """One training step on ``inputs``; None for a network that is not ours."""
    one = _item(network, inputs)
    if one is None:
        return None
    items = len(inputs)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return Prediction(
        one.flops * items,
        # The weights, two moments of each, and their gradients.
        4.0 * weights + inputs.nbytes + one.peak_bytes * items,
        one.attention * items,
        one.formula,
    )


def _item(network: nn.Module, inputs: Tensor) -> Prediction | None:
    """One training item, without the weights."""
    if isinstance(network, NextPiece) and isinstance(network.body, Network):
        flops, numbers = _network(network.body, inputs)
        width = network.width
        n, fresh, vocabulary = inputs.shape[1], network.fresh, network.nothing
        flops += 3 * 2 * n * fresh * width * vocabulary
        # Logits, their gradient and the logarithms of the probabilities.
        numbers += 3 * n * fresh * vocabulary
        if fresh > 1:
            unit = network.table.embedding_dim
            flops += 3 * 2 * n * (width * fresh * width + fresh * unit * fresh * width)
            numbers += n * fresh * (3 * width + unit)
        return Prediction(flops, 4.0 * numbers, *_attention(network.body, inputs))
    if isinstance(network, Network) and isinstance(network.mix, (Blocks, nn.Identity)):
        flops, numbers = _network(network, inputs)
        return Prediction(flops, 4.0 * numbers, *_attention(network, inputs))
    if isinstance(network, DenseNetwork):
        flops, numbers = _dense(network, inputs)
        return Prediction(flops, 4.0 * numbers, 0.0, "convolution")
    return None


def _attention(network: Network, inputs: Tensor) -> tuple[float, str]:
    """The training FLOPs of the scores and of what they weigh, and the formula's name."""
    n, width = inputs.shape[1], network.width
    if isinstance(network.mix, Blocks):
        return network.mix.depth * 12.0 * n**2 * width, "attention over all pieces"
    if isinstance(network.embed, EmbedInside):
        length = math.prod(inputs.shape[3:])
        depth = network.embed.blocks.depth
        return n * depth * 12.0 * length**2 * width, "attention inside pieces"
    conv = isinstance(network.embed, EmbedConv)
    return 0.0, "convolution inside pieces" if conv else "pieces by themselves"


def _dense(network: DenseNetwork, inputs: Tensor) -> tuple[float, float]:
    cells = math.prod(inputs.shape[2:])
    weights = [p for p in network.parameters() if p.dim() > 1]
    # The first layer hands no gradient on, so it costs two passes and not three.
    flops = sum(
        (2 if i == 0 else 3) * 2 * cells * weight.numel() for i, weight in enumerate(weights)
    )
    # Each layer's answer; the logits, their logarithms and gradient; one layer's way back.
    classes = weights[-1].shape[0]
    held = sum(weight.shape[0] for weight in weights[:-1])
    return flops, cells * (held + 3 * classes + 2 * weights[-2].shape[0])


def _network(network: Network, inputs: Tensor) -> tuple[float, float]:
    width = network.width
    n, units = inputs.shape[1], math.prod(inputs.shape[2:])
    embed = network.embed
    flops = numbers = 0.0
    if isinstance(embed, EmbedIds):
        unit = embed.table.embedding_dim
        if isinstance(embed.join, nn.Linear):
            flops += 3 * 2 * n * units * unit * width
        numbers += n * (units * unit * (units > 1) + width)
    elif isinstance(embed, EmbedInside):
        channels, length = inputs.shape[2], math.prod(inputs.shape[3:])
        flops += n * 2 * 2 * length * channels * width
        more = _blocks(embed.blocks, length, width)
        flops, numbers = flops + n * more[0], numbers + n * more[1]
        numbers += n * (3 * length * width + width)
    elif isinstance(embed, EmbedConv):
        more = _convolutions(embed, inputs)
        flops, numbers = flops + more[0], numbers + more[1]
    else:
        # The first layer hands no gradient on, so it costs two passes and not three.
        flops += 2 * 2 * n * units * width
        numbers += n * width
    if isinstance(network.mix, Blocks):
        more = _blocks(network.mix, n, width)
        flops, numbers = flops + more[0], numbers + more[1]
    numbers += n * width
    if network.head is not None:
        answers = 1 if network.join is not None else n
        if network.join is not None and network.join.merge == "attention":
            flops += 3 * QUERIES * (2 * n * width + 2 * n * width)
            numbers += 2 * QUERIES * n
        flops += 3 * 2 * answers * network.head.in_features * network.head.out_features
        numbers += answers * (network.head.in_features + 3 * network.head.out_features)
    return flops, numbers


def _blocks(blocks: Blocks, n: int, width: int) -> tuple[float, float]:
    """Blocks over n pieces: training FLOPs, and the numbers that their backward pass needs."""
    flops = 3 * (24 * n * width**2 + 4 * n**2 * width)
    # Two norms, q scaled, k, v, mixed, two residuals (8 n d); q k v (3 n d); the MLP (8 n d);
    # the scores' softmax.
    numbers = 19 * n * width + blocks.heads * n**2
    return blocks.depth * flops, blocks.depth * numbers


def _convolutions(embed: EmbedConv, inputs: Tensor) -> tuple[float, float]:
    n, size = inputs.shape[1], list(inputs.shape[3:])
    flops = numbers = 0.0
    for layer, passes in ((embed.first, 2), (embed.second, 3)):
        weight: Tensor = layer.weight  # type: ignore[assignment]
        cells = math.prod(size)
        flops += passes * 2 * n * cells * weight.numel()
        size = [-(-s // 2) if s > 1 else s for s in size]
        # The positive part, the pooled values, and where they came from (64-bit indices).
        numbers += n * weight.shape[0] * (cells + 3 * math.prod(size))
    flops += 3 * 2 * n * embed.join.in_features * embed.join.out_features
    numbers += 2 * n * embed.join.out_features
    return flops, numbers
