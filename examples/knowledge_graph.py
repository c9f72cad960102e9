"""Embed a knowledge graph with sparse updates: only the vectors a batch touches are changed.

Triples (head, relation, tail) are scored by DistMult; a batch's negatives are all other entities.
Without ``--data``: a made-up family tree, from which held-out facts follow by rule.
With ``--data FOLDER``: train.txt and test.txt (plain or .gz) of ``head relation tail`` lines.

    python examples/knowledge_graph.py --data umls
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn


def family(generations: int = 6) -> list[tuple[str, str, str]]:
    """A binary tree of people: parent, child, sibling, grandparent."""
    facts = []
    people = 2**generations
    for person in range(1, people // 2):
        left, right = 2 * person, 2 * person + 1
        for child in (left, right):
            facts += [(str(person), "parent of", str(child)), (str(child), "child of", str(person))]
        facts += [(str(left), "sibling of", str(right)), (str(right), "sibling of", str(left))]
        for grandchild in range(4 * person, 4 * person + 4):
            if grandchild < people:
                facts.append((str(person), "grandparent of", str(grandchild)))
    return facts


def read_triples(folder: Path, part: str) -> list[tuple[str, str, str]]:
    path = next((p for p in sorted(folder.glob(f"{part}.txt*"))), None)
    if path is None:
        raise SystemExit(f"{folder}: no {part}.txt or {part}.txt.gz")
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    rows = [line.split() for line in raw.decode().splitlines() if line.strip()]
    return [(head, relation, tail) for head, relation, tail in rows]


class DistMult(nn.Module):
    def __init__(self, entities: int, relations: int, width: int):
        super().__init__()
        self.entities = nn.Embedding(entities, width, sparse=True)
        self.relations = nn.Embedding(relations, width, sparse=True)
        for table in (self.entities, self.relations):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, head: torch.Tensor, relation: torch.Tensor, tails: torch.Tensor):
        """Scores of ``tails`` for each (head, relation): ``(batch, len(tails))``."""
        return (self.entities(head) * self.relations(relation)) @ self.entities(tails).T


def rank_of_truth(model: DistMult, test: torch.Tensor, known: set[tuple[int, ...]], count: int):
    """Filtered ranks: other tails that are true as well do not count against the answer."""
    with torch.no_grad():
        scores = model(test[:, 0], test[:, 1], torch.arange(count)).numpy()
    ranks = []
    for (head, relation, tail), row in zip(test.tolist(), scores, strict=True):
        others = [t for t in range(count) if t != tail and (head, relation, t) not in known]
        ranks.append(1 + int((row[others] > row[tail]).sum()))
    return np.array(ranks)


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--width", type=int, default=64)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # networks as small as this gain nothing from more
    if chosen.data:
        train, test = read_triples(chosen.data, "train"), read_triples(chosen.data, "test")
    else:
        facts = family()
        order = np.random.default_rng(0).permutation(len(facts))
        cut = len(facts) // 10
        test, train = [facts[i] for i in order[:cut]], [facts[i] for i in order[cut:]]

    names = sorted({name for head, _, tail in train + test for name in (head, tail)})
    kinds = sorted({relation for _, relation, _ in train + test})
    entity = {name: i for i, name in enumerate(names)}
    kind = {name: i for i, name in enumerate(kinds)}

    def numbered(triples: list[tuple[str, str, str]]) -> torch.Tensor:
        return torch.tensor([(entity[h], kind[r], entity[t]) for h, r, t in triples])

    x, test_x = numbered(train), numbered(test)
    known = {tuple(triple) for triple in torch.cat((x, test_x)).tolist()}
    # Each fact is asked from both ends, the second as a relation of its own.
    turned = torch.stack((x[:, 2], x[:, 1] + len(kinds), x[:, 0]), 1)
    both = torch.cat((x, turned))

    torch.manual_seed(0)
    model = DistMult(len(names), 2 * len(kinds), chosen.width)
    optimiser = torch.optim.SparseAdam(list(model.parameters()), lr=0.02)
    for epoch in range(chosen.epochs):
        total = 0.0
        for batch in torch.randperm(len(both)).split(256):
            head, relation, tail = both[batch].T
            tails, answer = torch.unique(tail, return_inverse=True)
            loss = nn.functional.cross_entropy(model(head, relation, tails), answer)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: loss {total / len(both):.3f}")
    ranks = rank_of_truth(model, test_x, known, len(names))
    reciprocal = float((1 / ranks).mean())
    chance = float(np.mean(1 / np.arange(1, len(names) + 1)))
    print(f"mean reciprocal rank {reciprocal:.3f} (by chance {chance:.3f}), ", end="")
    print(f"first ten {np.mean(ranks <= 10):.1%}, {len(names)} entities, {len(test_x)} questions")
    return reciprocal


if __name__ == "__main__":
    main()
