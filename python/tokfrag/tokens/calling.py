"""The Hugging Face call: texts to padded, truncated, framed ids and their masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens.batch import TokenBatch
from tokfrag.tokens.batch_encoding import BatchEncoding, Layout
from tokfrag.tokens.call_rows import Items, Rows, TextColumn, call_sought
from tokfrag.tokens.call_windows import cut_rows, kept_lengths
from tokfrag.tokens.pipeline import Piped, TextPipeline
from tokfrag.tokens.specification import Pipeline

_PAD_NAMES = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<|endoftext|>", "</s>")

# A text, the words of a text, or a pair of either; or many of them.
Texts = str | Sequence[Any]


def default_pad_id(way: TextPipeline) -> int:
    """The id of the file's padding token, of a special token by one of the usual names, or 0."""
    if way.values.call.pad_id is not None:
        return way.values.call.pad_id
    specials = way.special_tokens
    return next((specials[name] for name in _PAD_NAMES if name in specials), 0)


def call(
    tokenizer: Piped,
    texts: Texts,
    text_pairs: Texts | None = None,
    *,
    add_special_tokens: bool = True,
    padding: bool | str | None = None,
    truncation: bool | str | None = None,
    max_length: int | None = None,
    stride: int = 0,
    is_split_into_words: bool = False,
    pad_to_multiple_of: int | None = None,
    pad_id: int | None = None,
    padding_side: str | None = None,
    truncation_side: str | None = None,
    return_tensors: str | None = None,
    return_attention_mask: bool = True,
    return_token_type_ids: bool = False,
    return_overflowing_tokens: bool = False,
    return_special_tokens_mask: bool = False,
    return_offsets_mapping: bool = False,
    return_length: bool = False,
    threads: int | None = None,
) -> BatchEncoding:
    """Encode as a Hugging Face tokenizer does when it is called.

    Special tokens in the text are found, and the tokens of the file's template put around it.

    Parameters
    ----------
    texts, text_pairs
        One text or several, and as many second texts; or several pairs, as tuples.
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
    stride
        How many ids of a window come again in the next, where what overflows is given.
    is_split_into_words
        Whether a text is a list of words, each of which is encoded by itself.
    return_attention_mask, return_token_type_ids
        What else to give.
    return_overflowing_tokens
        Whether what truncation cuts off is given too, as further rows, and whose each row is, as
        ``overflow_to_sample_mapping``. The rows of one text are then a batch as well.
    return_special_tokens_mask
        Also ``special_tokens_mask``: 1 for what the template and padding put in.
    return_length
        Also ``length``: how many ids each row has.
    return_offsets_mapping
        Also ``offset_mapping``: the characters that each token stands for, (0, 0) for tokens that
        are put in.
    threads
        By default as many as there are processors.

    Returns
    -------
    BatchEncoding
        It also tells which word, text and characters each token is of.

    Raises
    ------
    ValueError
        An option is none of these; ``max_length`` is missing or leaves no room for the template;
        ``stride`` is not less than what a window holds; rows differ in length where a tensor is
        wanted.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> encoded = tok(["abc", "d"], padding=True)
    >>> encoded.input_ids, encoded.attention_mask
    ([[97, 98, 99], [100, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    way = tokenizer.text_pipeline
    values = way.values
    one, samples = _samples(texts, text_pairs, is_split_into_words)
    if return_tensors not in (None, "np", "pt"):
        raise ValueError(f"return_tensors: got {return_tensors!r}, takes None, 'np' or 'pt'")
    if stride < 0:
        raise ValueError(f"stride: got {stride}, takes 0 or more")
    length, strategy = _truncation(truncation, max_length, values)
    columns = _padding(padding, max_length, values)
    pad_side = _side("padding_side", padding_side, values.call.padding_side)
    cut_side = _side("truncation_side", truncation_side, values.call.truncation_side)
    items = values.template.single if len(samples) == 1 else values.template.pair
    if not add_special_tokens:
        items = tuple(item for item in items if isinstance(item[0], str))

    def rows_of_call() -> Rows:
        made = [
            _column(way, column, is_split_into_words, threads, return_offsets_mapping)
            for column in samples
        ]
        kept = [np.diff(column.offsets) for column in made]
        if length is not None:
            room = length - sum(isinstance(item, int) for item, _ in items)
            if room < 0:
                raise ValueError(f"max_length: {length} has no room for the tokens of the template")
            kept = kept_lengths(kept, room, strategy)
        windows = cut_rows(
            [column.offsets for column in made],
            kept,
            stride=stride,
            side=cut_side,
            overflow=return_overflowing_tokens,
            order=["AB".index(item) for item, _ in items if isinstance(item, str)],
        )
        return Rows(way, items, tuple(made), *windows)

    multiple = pad_to_multiple_of or values.call.pad_to_multiple_of or 1
    filler = default_pad_id(way) if pad_id is None else pad_id
    if one and len(samples) == 1 and return_tensors is None and multiple == 1:
        brief = not (is_split_into_words or return_offsets_mapping or return_overflowing_tokens)
        row = _brief_row(way, samples[0][0], items) if brief else None
        if (
            row is not None
            and (length is None or len(row) <= length)
            and (columns or 0) <= len(row)
        ):
            return _brief(
                row,
                (return_token_type_ids, return_attention_mask),
                (return_special_tokens_mask, return_length),
                lambda: Layout(
                    rows_of_call(), None if columns is None else len(row), pad_side, filler
                ),
            )
    rows = rows_of_call()
    if columns is not None:
        columns = max(int(rows.counts.max(initial=0)) if columns == 0 else 0, columns)
        columns = -(-columns // multiple) * multiple

    shaped: dict[str, Any] = {
        "input_ids": _shaped(rows.ids, rows.offsets, filler, columns, pad_side)
    }
    wanted = (
        ("token_type_ids", return_token_type_ids, "types", values.call.pad_type_id),
        ("attention_mask", return_attention_mask, "ones", 0),
        ("special_tokens_mask", return_special_tokens_mask, "fixed", 1),
        ("offset_mapping", return_offsets_mapping, "spans", 0),
    )
    for name, asked, source, fill in wanted:
        if asked:
            flat = getattr(rows, source)
            shaped[name] = _shaped(flat, rows.offsets, fill, columns, pad_side)
    result = BatchEncoding(layout=Layout(rows, columns, pad_side, filler))
    alone = one and not return_overflowing_tokens
    for name, part in shaped.items():
        result[name] = _convert(name, part, return_tensors, alone)
    if return_length:
        result["length"] = _numbers(np.maximum(rows.counts, columns or 0), return_tensors)
    if return_overflowing_tokens:
        result["overflow_to_sample_mapping"] = _numbers(rows.samples, return_tensors)
    return result


# A text alone: lists from the beginning, since arrays of some numbers cost more than the numbers.

BriefRow = list[tuple[int, int, int]]  # id, type, whether the template put it in


def _brief_row(way: TextPipeline, text: str, items: Items) -> BriefRow | None:
    """The row of a text; None where it is long enough for arrays."""
    if len(text) > _BRIEF:
        return None
    row: BriefRow = []
    for item, kind in items:
        if isinstance(item, int):
            row.append((item, kind, 1))
        else:
            row += [(id, kind, 0) for id in way.encode(text, call_sought(way)).tolist()]
    return row


def _brief(
    row: BriefRow,
    types_and_ones: tuple[bool, bool],
    fixed_and_length: tuple[bool, bool],
    layout: Callable[[], Layout],
) -> BatchEncoding:
    result = BatchEncoding({"input_ids": [id for id, _, _ in row]}, layout=layout)
    if types_and_ones[0]:
        result["token_type_ids"] = [kind for _, kind, _ in row]
    if types_and_ones[1]:
        result["attention_mask"] = [1] * len(row)
    if fixed_and_length[0]:
        result["special_tokens_mask"] = [put for _, _, put in row]
    if fixed_and_length[1]:
        result["length"] = [len(row)]
    return result


_BRIEF = 2048  # characters


# Arguments


def is_alone(texts: Texts, split: bool) -> bool:
    """Whether it is one sample: a text, or, where samples are ``split``, the words of one."""
    if not split:
        return isinstance(texts, str)
    return not isinstance(texts, str) and all(isinstance(word, str) for word in texts)


def _samples(texts: Texts, text_pairs: Texts | None, split: bool) -> tuple[bool, list[list[Any]]]:
    """Whether it is one sample, and the first texts, or words, and the second if there are any."""
    one = is_alone(texts, split)
    first: list[Any] = [texts] if one else list(texts)
    if text_pairs is not None:
        one_too = isinstance(text_pairs, str) if not split else one
        second = [text_pairs] if one_too else list(text_pairs)
        if len(second) != len(first) or one_too != one:
            raise ValueError("text_pairs: takes as many texts as there are first texts")
        columns = [first, second]
    elif first and all(_is_pair(sample, split) for sample in first):
        columns = [[sample[0] for sample in first], [sample[1] for sample in first]]
    else:
        columns = [first]
    for name, column in zip(("texts", "text_pairs"), columns, strict=False):
        for index, sample in enumerate(column):
            _check_sample(sample, f"{name}: item {index}", split)
    return one, columns


def _is_pair(sample: Any, split: bool) -> bool:
    """Whether a sample is two texts; of words, the two are lists."""
    if not isinstance(sample, (list, tuple)) or len(sample) != 2:
        return False
    return all(isinstance(part, (list, tuple) if split else str) for part in sample)


def _check_sample(sample: Any, name: str, split: bool) -> None:
    if not split:
        if not isinstance(sample, str):
            raise TypeError(f"{name} is a {type(sample).__name__}, takes str")
        return
    if isinstance(sample, str) or not isinstance(sample, Sequence):
        raise TypeError(f"{name} is a {type(sample).__name__}, takes a list of words")
    for word in sample:
        if not isinstance(word, str):
            raise TypeError(f"{name}: a word is a {type(word).__name__}, takes str")


def _column(
    way: TextPipeline, samples: list[Any], split: bool, threads: int | None, with_spans: bool
) -> TextColumn:
    if not split:
        return TextColumn(way, samples, None, threads=threads, with_spans=with_spans)
    bounds = np.cumsum([0, *(len(words) for words in samples)])
    words = list(chain.from_iterable(samples))
    return TextColumn(way, words, bounds, threads=threads, with_spans=with_spans)


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


def _shaped(
    flat: NDArray[Any], offsets: NDArray[np.int64], fill: int, columns: int | None, side: str
) -> NDArray[np.int64] | list[NDArray[np.int64]]:
    """Values that lie end to end as rows: a matrix where they are padded to one length."""
    counts = np.diff(offsets)
    if columns is not None and counts.max(initial=0) <= columns:
        if flat.dtype == np.uint32:
            return TokenBatch(flat, offsets).to_padded(columns, fill, side)[0]
        shaped = np.full((len(counts), columns, *flat.shape[1:]), fill, np.int64)
        places = np.arange(columns)
        begins = counts if side == "right" else columns - counts
        used = places < begins[:, None] if side == "right" else places >= begins[:, None]
        shaped[used] = flat
        return shaped
    wide = flat.astype(np.int64, copy=False)
    rows = [wide[begin:end] for begin, end in pairwise(offsets.tolist())]
    if columns is None:
        return rows
    filled: list[NDArray[np.int64]] = []
    for row in rows:
        padding = np.full((max(0, columns - len(row)), *row.shape[1:]), fill, np.int64)
        filled.append(np.concatenate([row, padding] if side == "right" else [padding, row]))
    return filled


def _numbers(values: NDArray[np.int64], kind: str | None) -> Any:
    """A number a row."""
    return values.tolist() if kind is None else _convert("", values, kind, False)


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
