"""Fast tokenizers of transformers, small, and random calls of them, for several test files."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import tokenizers
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors

from huggingface_cases import byte_level

transformers = pytest.importorskip("transformers")

KINDS = ("bytes", "roberta", "bert")


def wordpiece() -> tokenizers.Tokenizer:
    """A small BERT."""
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "cat",
        "un",
        "##able",
        "##s",
        ",",
        "e",
    ]
    made = tokenizers.Tokenizer(
        models.WordPiece({word: id for id, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    made.add_special_tokens(words[:5])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def fast(kind: str) -> Any:
    """A fast tokenizer of transformers."""
    if kind == "bert":
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=wordpiece(),
            **{f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "mask")},
            sep_token="[SEP]",
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        )
    inner = byte_level()
    inner.add_special_tokens(["<pad>", "<sep>"])
    if kind == "roberta":
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        inner.add_tokens([AddedToken("<a>", lstrip=True)])
        inner.post_processor = processors.RobertaProcessing(
            ("<sep>", inner.token_to_id("<sep>")), ("<end>", 0), trim_offsets=True
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", model_max_length=9
    )


parts = st.sampled_from(
    ["the", " cat", "s", "unable", ", ", " ", "\n", "<a>", "<end>", "é", "[MASK]"]
)
texts = st.lists(parts, max_size=9).map("".join)
words = st.lists(st.sampled_from(["the", "cats", "un able", "", "<a>", " x ", "é,"]), max_size=6)
sides = st.sampled_from(["left", "right"])


@st.composite
def calls(draw: st.DrawFn) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call."""
    split = draw(st.booleans())
    sample = words if split else texts
    shape = draw(st.sampled_from(["one", "two", "many", "pairs", "tuples"]))
    if shape == "one":
        arguments: tuple[Any, ...] = (draw(sample),)
    elif shape == "two":
        arguments = draw(sample), draw(sample)
    elif shape == "tuples":
        arguments = (draw(st.lists(st.tuples(sample, sample), min_size=1, max_size=3)),)
    else:
        first = draw(st.lists(sample, min_size=1, max_size=3))
        arguments = (first,)
        if shape == "pairs":
            arguments = first, draw(st.lists(sample, min_size=len(first), max_size=len(first)))
    options = {
        "add_special_tokens": st.booleans(),
        "padding": st.sampled_from([False, True, "longest", "max_length"]),
        "truncation": st.sampled_from([None, True, False, "longest_first", "only_first"]),
        "max_length": st.none() | st.integers(5, 12),
        "stride": st.sampled_from([0, 0, 1, 2]),
        "pad_to_multiple_of": st.none() | st.sampled_from([1, 2, 4]),
        "padding_side": st.none() | sides,
        "return_token_type_ids": st.none() | st.booleans(),
        "return_attention_mask": st.none() | st.booleans(),
        "return_overflowing_tokens": st.booleans(),
        "return_special_tokens_mask": st.booleans(),
        "return_offsets_mapping": st.booleans(),
        "return_length": st.booleans(),
        "return_tensors": st.sampled_from([None, None, "np"]),
    }
    chosen = draw(st.fixed_dictionaries({}, optional=options))
    return arguments, {**chosen, "is_split_into_words": split}


def result(tokenizer: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What a call gives, or None where it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            encoded = tokenizer(*arguments, **options)
            # The peer gives arrays of lists where rows differ in length; that is refused here.
            kinds = [getattr(value, "dtype", None) for value in encoded.values()]
            ragged = any(kind is not None and kind.kind == "O" for kind in kinds)
            return None if ragged else encoded
        except Exception:
            return None
        except BaseException as panic:  # the peer panics where a stride is too long
            if type(panic).__name__ != "PanicException":
                raise
            return None


def plain(encoded: Any) -> dict[str, Any]:
    return {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in encoded.items()
    }


def differs_there(kind: str, options: dict[str, Any]) -> bool:
    """Where the peer's rows disagree among themselves.

    Without special tokens its RobertaProcessing gives the first row of a pair the types 0, and the
    rows that overflow 0 and 1.
    """
    asked = options.get("return_overflowing_tokens") and options.get("return_token_type_ids")
    return bool(kind == "roberta" and asked and options.get("add_special_tokens") is False)
