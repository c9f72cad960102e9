"""Unigram segmentation by plain loops: the definition of the native model.

With ``single=True`` sums are SentencePiece's, rounded to float32; else Hugging Face's, float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def best_path(
    text: str, scores: Mapping[str, float], *, unknown_score: float, single: bool = False
) -> list[tuple[str, bool]]:
    """Cut a text into tokens of the highest sum of scores; each with whether it is a token at all.

    A character that is no token by itself may be cut off at ``unknown_score``. Of two ways as good
    the one whose last token begins first wins.

    >>> best_path("abx", {"a": -1.0, "b": -1.0, "ab": -1.5}, unknown_score=-11.5)
    [('ab', True), ('x', False)]
    """

    def rounded(score: float) -> float:
        return float(np.float32(score)) if single else score

    longest = max(map(len, scores), default=1)
    best: list[tuple[float, int, bool] | None] = [(0.0, 0, True)] + [None] * len(text)
    for begin in range(len(text)):
        here = best[begin]
        if here is None:
            continue
        for end in range(begin + 1, min(len(text), begin + longest) + 1):
            token = text[begin:end]
            known = token in scores
            if not known and end > begin + 1:
                continue
            score = rounded(here[0] + (scores[token] if known else unknown_score))
            there = best[end]
            if there is None or score > there[0]:
                best[end] = (score, begin, known)
    parts: list[tuple[str, bool]] = []
    end = len(text)
    while end:
        node = best[end]
        assert node is not None  # a character by itself leads to every place
        parts.append((text[node[1] : end], node[2]))
        end = node[1]
    return parts[::-1]


def encode(
    text: str,
    ids: Mapping[str, int],
    scores: Mapping[str, float],
    *,
    unknown: int,
    unknown_score: float,
    single: bool = False,
    byte_fallback: bool = False,
) -> list[int]:
    """Return the ids of a text that is cut as a whole: a run of unknown characters is one token.

    With ``byte_fallback`` it is the tokens of its bytes, ``<0x00>`` to ``<0xFF>``, if all are
    there.

    >>> encode("axya", {"<unk>": 0, "a": 1}, {"a": -1.0}, unknown=0, unknown_score=-11.0)
    [1, 0, 1]
    """
    found: list[int] = []
    run = ""
    lone = False  # the run is the unknown token as it is spelled

    def end_run() -> None:
        names = [f"<0x{byte:02X}>" for byte in run.encode()]
        if byte_fallback and not lone and all(name in ids for name in names):
            found.extend(ids[name] for name in names)
        elif run:
            found.append(unknown)

    for part, known in best_path(text, scores, unknown_score=unknown_score, single=single):
        if not known or ids[part] == unknown:
            lone = known and not run
            run += part
            continue
        end_run()
        run = ""
        found.append(ids[part])
    end_run()
    return found
