"""The Hugging Face call: texts to padded, truncated, framed ids and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.pipeline import Piped, TextPipeline
from tokfrag.tokens.spans import trim_spans
from tokfrag.tokens.specification import Pipeline, Template

_PAD_NAMES = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<|endoftext|>", "</s>")


class BatchEncoding(dict[str, Any]):
    """What a call gives: ``input_ids``, ``attention_mask`` and what else was asked for.

    Lists of lists (of one text: a list), arrays or tensors; also as attributes.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, device: Any) -> BatchEncoding:
        """The same with every tensor on a device."""
        return BatchEncoding(
            {
                key: value.to(device) if hasattr(value, "to") else value
                for key, value in self.items()
            }
        )


def default_pad_id(way: TextPipeline) -> int:
    """The id of the file's padding token, of a special token by one of the usual names, or 0."""
    if way.values.call.pad_id is not None:
        return way.values.call.pad_id
    specials = way.special_tokens
    return next((specials[name] for name in _PAD_NAMES if name in specials), 0)


@dataclass(frozen=True)
class _Rows:
    """Ids of many rows and what goes with each, all flat."""

    ids: NDArray[np.uint32]
    types: NDArray[np.int64]
    spans: NDArray[np.int64] | None
    offsets: NDArray[np.int64]


def call(
    tokenizer: Piped,
    texts: str | Sequence[str],
    text_pairs: str | Sequence[str] | None = None,
    *,
    add_special_tokens: bool = True,
    padding: bool | str | None = None,
    truncation: bool | str | None = None,
    max_length: int | None = None,
    pad_to_multiple_of: int | None = None,
    pad_id: int | None = None,
    padding_side: str | None = None,
    truncation_side: str | None = None,
    return_tensors: str | None = None,
    return_attention_mask: bool = True,
    return_token_type_ids: bool = False,
    return_offsets_mapping: bool = False,
    threads: int | None = None,
) -> BatchEncoding:
    """Encode as a Hugging Face tokenizer does when it is called.

    Special tokens in the text are found, and the tokens of the file's template put around it.

    Parameters
    ----------
    texts, text_pairs
        One text or several, and as many second texts.
    add_special_tokens
        Whether the template is applied.
    padding
        ``True`` or ``"longest"``, ``"max_length"``, ``False`` or ``"do_not_pad"``; None: as the
        file says.
    truncation
        ``True`` or ``"longest_first"``, ``"only_first"``, ``"only_second"``, ``False`` or
        ``"do_not_truncate"``; None: as the file says.
    max_length
        Of ``truncation`` and of ``padding="max_length"``; by default the file's.
    pad_to_multiple_of
        Round the padded length up to a multiple.
    pad_id
        By default the file's, else that of a special token with a usual name, else 0.
    padding_side, truncation_side
        ``"right"`` or ``"left"``.
    return_tensors
        None for lists, ``"np"`` or ``"pt"``; always int64.
    return_attention_mask, return_token_type_ids
        What else to give.
    return_offsets_mapping
        Also ``offset_mapping``: the characters that each token stands for, (0, 0) for tokens that
        are put in.
    threads
        By default as many as there are processors.

    Returns
    -------
    BatchEncoding

    Raises
    ------
    ValueError
        An option is none of these; ``max_length`` is missing or leaves no room for the template;
        rows differ in length where a tensor is wanted.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> encoded = tok(["abc", "d"], padding=True)
    >>> encoded.input_ids, encoded.attention_mask
    ([[97, 98, 99], [100, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    way = tokenizer.text_pipeline
    pipeline = way.values
    one = isinstance(texts, str)
    sequences = [_text_list(texts, "texts")]
    if text_pairs is not None:
        sequences.append(_text_list(text_pairs, "text_pairs"))
        if len(sequences[1]) != len(sequences[0]) or isinstance(text_pairs, str) != one:
            raise ValueError("text_pairs: takes as many texts as there are first texts")
    if return_tensors not in (None, "np", "pt"):
        raise ValueError(f"return_tensors: got {return_tensors!r}, takes None, 'np' or 'pt'")
    length, strategy = _truncation(truncation, max_length, pipeline)
    columns = _padding(padding, max_length, pipeline)
    pad_side = _side("padding_side", padding_side, pipeline.call.padding_side)
    cut_side = _side("truncation_side", truncation_side, pipeline.call.truncation_side)

    template = pipeline.template if add_special_tokens else Template()
    items = template.single if text_pairs is None else template.pair
    encoded = [_encode(way, texts, return_offsets_mapping, threads) for texts in sequences]
    if length is not None:
        room = length - sum(isinstance(item, int) for item, _ in items)
        if room < 0:
            raise ValueError(f"max_length: {length} has no room for the tokens of the template")
        encoded = _truncate(encoded, room, strategy, cut_side)
    if pipeline.trim_offsets and return_offsets_mapping:
        for texts, part in zip(sequences, encoded, strict=True):
            assert part.spans is not None
            trim_spans(way.model, texts, part.ids, part.spans, part.offsets, pipeline)
    rows = _framed(items, encoded)
    if columns is not None:
        longest = int(np.diff(rows.offsets).max(initial=0))
        columns = max(longest, columns)
        multiple = pad_to_multiple_of or pipeline.call.pad_to_multiple_of or 1
        columns = -(-columns // multiple) * multiple

    filler = default_pad_id(way) if pad_id is None else pad_id
    wanted: dict[str, NDArray[np.int64] | list[NDArray[np.int64]]] = {}
    mask: NDArray[np.int64] | list[NDArray[np.int64]]
    if columns is None:
        wanted["input_ids"] = _ragged(rows.ids, rows.offsets)
        mask = _ragged(np.ones(len(rows.ids), np.int64), rows.offsets)
    else:
        batch = TokenBatch(rows.ids, rows.offsets)
        wanted["input_ids"], used = batch.to_padded(columns, filler, pad_side)
        mask = used.astype(np.int64)
    for name, values, fill in (
        (
            "token_type_ids",
            rows.types if return_token_type_ids else None,
            pipeline.call.pad_type_id,
        ),
        ("offset_mapping", rows.spans, 0),
    ):
        if values is None:
            continue
        if columns is None:
            wanted[name] = _ragged(values, rows.offsets)
        else:
            shaped = np.full((*used.shape, *values.shape[1:]), fill, np.int64)
            shaped[used] = values
            wanted[name] = shaped
    if return_attention_mask:
        wanted["attention_mask"] = mask
    return BatchEncoding(
        {name: _convert(name, shaped, return_tensors, one) for name, shaped in wanted.items()}
    )


# Options


def _text_list(texts: str | Sequence[str], argument: str) -> list[str]:
    listed = [texts] if isinstance(texts, str) else list(texts)
    for index, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"{argument}: item {index} is a {type(text).__name__}, takes str")
    return listed


def _side(argument: str, given: str | None, default: str) -> str:
    side = default if given is None else given
    if side not in ("left", "right"):
        raise ValueError(f"{argument}: got {given!r}, takes 'left' or 'right'")
    return side


def _truncation(
    truncation: bool | str | None, max_length: int | None, pipeline: Pipeline
) -> tuple[int | None, str]:
    """The length to cut to, or None, and which text of a pair is cut."""
    default = pipeline.call.max_length
    if max_length is not None and max_length < 0:
        raise ValueError(f"max_length: got {max_length}, takes 0 or more")
    if truncation is None:
        truncation = default is not None
    if truncation is False or truncation == "do_not_truncate":
        return None, ""
    strategy = "longest_first" if truncation is True else truncation
    if strategy not in ("longest_first", "only_first", "only_second"):
        raise ValueError(
            f"truncation: got {truncation!r}, takes True, False, 'longest_first', 'only_first',"
            " 'only_second' or 'do_not_truncate'"
        )
    length = default if max_length is None else max_length
    if length is None:
        raise ValueError("truncation: takes a max_length, which neither call nor file gives")
    return length, strategy


def _padding(padding: bool | str | None, max_length: int | None, pipeline: Pipeline) -> int | None:
    """The least number of columns (0: those of the longest row), or None for no padding."""
    default = pipeline.call.padding
    if padding is None:
        if default is None:
            return None
        return default if isinstance(default, int) else 0
    if padding is False or padding == "do_not_pad":
        return None
    if padding is True or padding == "longest":
        return 0
    if padding != "max_length":
        raise ValueError(
            f"padding: got {padding!r}, takes True, False, 'longest', 'max_length' or 'do_not_pad'"
        )
    length = max_length if max_length is not None else pipeline.call.max_length
    if length is None and isinstance(default, int):
        length = default
    if length is None:
        raise ValueError(
            "padding: 'max_length' takes a max_length, which neither call nor file gives"
        )
    return length


# Rows


def _encode(way: TextPipeline, texts: list[str], with_spans: bool, threads: int | None) -> _Rows:
    sought = way.sought("all" if way.values.call.special_in_text else ())
    if not with_spans:
        batch = way.encode_batch([*texts], sought, threads)
        return _Rows(batch.ids, np.empty(0, np.int64), None, batch.offsets)
    rows = [way.encode_with_offsets(text, sought, "char") for text in texts]
    empty = np.empty((0, 2), np.int64)
    return _Rows(
        np.concatenate([np.empty(0, np.uint32), *(ids for ids, _ in rows)]),
        np.empty(0, np.int64),
        np.concatenate([empty, *(spans for _, spans in rows)]),
        np.cumsum([0, *(len(ids) for ids, _ in rows)]),
    )


def _truncate(parts: list[_Rows], room: int, strategy: str, side: str) -> list[_Rows]:
    """Cut the rows so that they fit together, as Hugging Face does."""
    lengths = [np.diff(part.offsets) for part in parts]
    kept = [length.copy() for length in lengths]
    over = sum(lengths) > room
    if len(parts) == 1:
        kept[0] = np.minimum(lengths[0], room)
    elif strategy == "longest_first":
        shorter = np.minimum(*lengths)
        longer = np.where(shorter > room, shorter, np.maximum(shorter, room - shorter))
        halved = shorter + longer > room
        shorter, longer = (
            np.where(halved, room // 2, shorter),
            np.where(halved, room // 2 + room % 2, longer),
        )
        swapped = lengths[0] > lengths[1]
        first = np.where(swapped, longer, shorter)
        second = np.where(swapped, shorter, longer)
        kept = [
            np.where(over, np.minimum(length, target), length)
            for length, target in zip(lengths, (first, second), strict=True)
        ]
    else:
        which = 0 if strategy == "only_first" else 1
        kept[which] = np.where(over, room - lengths[1 - which], lengths[which])
        if (over & (kept[which] <= 0)).any():
            row = int(np.flatnonzero(over & (kept[which] <= 0))[0])
            raise ValueError(f"truncation: {strategy!r} leaves nothing of that text in row {row}")
    return [_cut_rows(part, keep, side) for part, keep in zip(parts, kept, strict=True)]


def _cut_rows(part: _Rows, kept: NDArray[np.int64], side: str) -> _Rows:
    begins = part.offsets[:-1] if side == "right" else part.offsets[1:] - kept
    offsets = np.concatenate([[0], np.cumsum(kept)])
    source = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], kept)
    spans = None if part.spans is None else part.spans[source]
    return _Rows(part.ids[source], part.types, spans, offsets)


def _framed(items: tuple[tuple[int | str, int], ...], parts: list[_Rows]) -> _Rows:
    """The template's ids around the rows."""
    if len(items) == 1:
        kinds = np.full(len(parts[0].ids), items[0][1], np.int64)
        return _Rows(parts[0].ids, kinds, parts[0].spans, parts[0].offsets)
    count = len(parts[0].offsets) - 1
    by_name = dict(zip(("A", "B"), parts, strict=False))
    lengths = sum(
        (np.diff(by_name[item].offsets) if isinstance(item, str) else np.ones(count, np.int64))
        for item, _ in items
    )
    offsets = np.concatenate([[0], np.cumsum(lengths + np.zeros(count, np.int64))]).astype(np.int64)
    ids = np.empty(offsets[-1], np.uint32)
    types = np.empty(offsets[-1], np.int64)
    spans = None if parts[0].spans is None else np.zeros((offsets[-1], 2), np.int64)
    cursor = offsets[:-1].copy()
    for item, kind in items:
        if isinstance(item, int):
            ids[cursor] = item
            types[cursor] = kind
            cursor += 1
            continue
        part = by_name[item]
        kept = np.diff(part.offsets)
        target = np.arange(len(part.ids)) + np.repeat(cursor - part.offsets[:-1], kept)
        ids[target] = part.ids
        types[target] = kind
        if spans is not None and part.spans is not None:
            spans[target] = part.spans
        cursor += kept
    return _Rows(ids, types, spans, offsets)


def _ragged(values: NDArray[Any], offsets: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows as they are."""
    wide = values.astype(np.int64)
    return [wide[begin:end] for begin, end in pairwise(offsets)]


def _convert(
    name: str, shaped: list[NDArray[np.int64]] | NDArray[np.int64], kind: str | None, one: bool
) -> Any:
    if kind is None:
        rows = [row.tolist() for row in shaped]
        if name == "offset_mapping":
            rows = [[tuple(span) for span in row] for row in rows]
        return rows[0] if one else rows
    if isinstance(shaped, list):
        if len({len(row) for row in shaped}) > 1:
            raise ValueError(
                f"return_tensors: rows of {name} differ in length; padding=True makes them equal"
            )
        shaped = np.stack(shaped) if shaped else np.empty((0, 0), np.int64)
    if kind == "np":
        return shaped
    import torch

    return torch.from_numpy(shaped)
