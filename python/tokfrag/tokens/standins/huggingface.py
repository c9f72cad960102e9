"""Stand in for a fast tokenizer of ``transformers``, and adopt a ``tokenizers.Tokenizer``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokfrag.tokens import byte_alphabet as byte_level
from tokfrag.tokens.calling import BatchEncoding, call, default_pad_id
from tokfrag.tokens.description import pipeline_of, vocabulary_of
from tokfrag.tokens.formats.huggingface import parse_huggingface
from tokfrag.tokens.pipeline import PreparedTokenizer
from tokfrag.tokens.specification import Specification
from tokfrag.tokens.tokenizer import Tokenizer

# What transformers says where a model has no limit.
NO_LIMIT = int(1e30)

_USUAL = {
    "bos": ("<|begin_of_text|>", "<s>", "<|startoftext|>", "<|endoftext|>"),
    "eos": ("<|end_of_text|>", "<|eot_id|>", "</s>", "<|im_end|>", "<|endoftext|>"),
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}


def adopt_huggingface(tokenizer: Any) -> Tokenizer:
    """Make the tokenizer of a ``tokenizers.Tokenizer``; ValueError names what cannot be."""
    data = tokenizer.to_str().encode()
    specification = parse_huggingface(data, "tokenizer", live=True)
    if getattr(tokenizer, "encode_special_tokens", False):
        pipeline = specification.pipeline
        pipeline = replace(pipeline, call=replace(pipeline.call, special_in_text=False))
        specification = Specification(specification.model, pipeline)
    return PreparedTokenizer.from_specification(specification)


class HuggingFaceTokenizer:
    """A :class:`Tokenizer` with the methods of a fast tokenizer of ``transformers``.

    Parameters
    ----------
    tokenizer
        What encodes and decodes.
    pad_token, eos_token, bos_token
        Text of these tokens; by default a special token with a usual name, if there is one.
    model_max_length
        What ``truncation=True`` cuts to.
    padding_side, truncation_side
        ``"right"`` or ``"left"``.

    Examples
    --------
    >>> tok = Tokenizer._from_tokens([bytes([b]) for b in range(256)], pattern="gpt2",
    ...     special_tokens={"<pad>": 256})
    >>> hf = HuggingFaceTokenizer(tok)
    >>> hf(["abc", "d"], padding=True, return_tensors="np")["input_ids"].tolist()
    [[97, 98, 99], [100, 256, 256]]
    """

    is_fast = True

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        pad_token: str | None = None,
        eos_token: str | None = None,
        bos_token: str | None = None,
        model_max_length: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._by_bytes = not hasattr(tokenizer, "specification")
        defaults = pipeline_of(tokenizer).call
        self.model_max_length = model_max_length or defaults.max_length or NO_LIMIT
        self.padding_side = padding_side or defaults.padding_side
        self.truncation_side = truncation_side or defaults.truncation_side
        self.pad_token = self._named("pad", pad_token)
        self.eos_token = self._named("eos", eos_token)
        self.bos_token = self._named("bos", bos_token)
        self.unk_token = self._named("unk", None)
        self.cls_token = self._named("cls", None)
        self.sep_token = self._named("sep", None)
        self.mask_token = self._named("mask", None)

    def _named(self, role: str, given: str | None) -> str | None:
        specials = self._tokenizer.special_tokens
        if given is not None:
            if self._tokenizer.token_to_id(given) is None:
                raise ValueError(f"{role}_token: {given!r} is no token")
            return given
        return next((name for name in _USUAL[role] if name in specials), None)

    def __repr__(self) -> str:
        return f"HuggingFaceTokenizer({self._tokenizer!r})"

    def __len__(self) -> int:
        """The highest id, and one."""
        return self._tokenizer.vocab_size

    # Encoding.

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool = True,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
    ) -> BatchEncoding:
        """Encode one text or several; see :func:`tokfrag.tokens.calling.call`."""
        limited = max_length
        if max_length is None and (truncation or padding == "max_length"):
            # Without a limit there is nothing to cut or fill to, and transformers does neither.
            if self.model_max_length >= NO_LIMIT:
                truncation, padding = False, False if padding == "max_length" else padding
            else:
                limited = self.model_max_length
        if padding is not False and padding != "do_not_pad" and self.pad_token_id is None:
            raise ValueError("padding: there is no padding token; set pad_token")
        encoded = call(
            self._tokenizer,
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=bool(truncation) if truncation in (None, True, False) else truncation,
            max_length=limited,
            pad_to_multiple_of=pad_to_multiple_of,
            pad_id=self.pad_token_id,
            padding_side=padding_side or self.padding_side,
            truncation_side=self.truncation_side,
            return_tensors=return_tensors,
            return_attention_mask=return_attention_mask,
            return_token_type_ids=(
                self.cls_token is not None
                if return_token_type_ids is None
                else return_token_type_ids
            ),
            return_offsets_mapping=return_offsets_mapping,
        )
        if return_special_tokens_mask:
            encoded["special_tokens_mask"] = _mask_of(encoded["input_ids"], self.all_special_ids)
        return encoded

    def encode(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: bool | str | None = None,
        max_length: int | None = None,
    ) -> list[int]:
        """The ids of one text."""
        encoded = self(
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            truncation=truncation,
            max_length=max_length,
        )
        ids: list[int] = encoded["input_ids"]
        return ids

    def tokenize(self, text: str) -> list[str]:
        """The tokens of one text."""
        return [self._spelled(id) for id in self.encode(text, add_special_tokens=False)]

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Pad rows that are encoded already, as data collators do."""
        if isinstance(encoded_inputs, Mapping):
            columns = {key: list(value) for key, value in encoded_inputs.items()}
        else:
            columns = {key: [row[key] for row in encoded_inputs] for key in encoded_inputs[0]}
        rows = [list(row) for row in columns["input_ids"]]
        columns.setdefault("attention_mask", [[1] * len(row) for row in rows])
        if self.pad_token_id is None:
            raise ValueError("padding: there is no padding token; set pad_token")
        width = max((len(row) for row in rows), default=0)
        if padding == "max_length":
            width = max(width, max_length or 0)
        multiple = pad_to_multiple_of or 1
        width = -(-width // multiple) * multiple if padding else 0
        result = BatchEncoding()
        for key, values in columns.items():
            fill = self.pad_token_id if key == "input_ids" else 0
            padded = []
            for value in values:
                missing = [fill] * (width - len(value))
                row = [int(item) for item in value]
                padded.append(row + missing if self.padding_side == "right" else missing + row)
            result[key] = _as_kind(padded, return_tensors)
        return result

    # Decoding.

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ) -> str:
        """The text of ids; half a character is U+FFFD."""
        ids = np.atleast_1d(np.asarray(token_ids, np.int64))
        if skip_special_tokens:
            ids = ids[~np.isin(ids, self.all_special_ids)]
        text = self._tokenizer.decode(ids)
        return _without_spaces(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self,
        sequences: Iterable[Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ) -> list[str]:
        """The texts of several rows of ids."""
        return [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences
        ]

    # Tokens.

    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> Any:
        """Tokens as they are spelled in a ``tokenizer.json``; of one id, one."""
        if isinstance(ids, (int, np.integer)):
            return self._spelled(int(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._spelled(int(id)) for id in ids if int(id) not in skipped]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Ids of tokens so spelled; None for what is no token."""
        if isinstance(tokens, str):
            added = self.get_added_vocab()
            if tokens in added:
                return added[tokens]
            return self._tokenizer.token_to_id(self._bytes_of(tokens))
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """The text of tokens so spelled."""
        if not self._by_bytes:
            ids = [self.convert_tokens_to_ids(token) for token in tokens]
            return self._tokenizer.decode(ids)
        parts = [self._bytes_of(token) for token in tokens]
        joined = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
        return joined.decode("utf-8", "replace")

    def _spelled(self, id: int) -> str:
        token = self._tokenizer.id_to_token(id)
        if not self._by_bytes or id in self.get_added_vocab().values():
            return token.decode()
        return byte_level.to_text(token)

    def _bytes_of(self, token: str) -> bytes | str:
        spelled = byte_level.to_bytes(token) if self._by_bytes else None
        return token if spelled is None else spelled

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id."""
        return vocabulary_of(self._tokenizer) | self.get_added_vocab()

    @property
    def vocab_size(self) -> int:
        """How many tokens there are besides the added ones."""
        return len(self.get_vocab().keys() - self.get_added_vocab().keys())

    def get_added_vocab(self) -> dict[str, int]:
        """The added tokens and their ids."""
        return {token.content: token.id for token in pipeline_of(self._tokenizer).added_tokens}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens."""
        return list(self._tokenizer.special_tokens)

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens."""
        return list(self._tokenizer.special_tokens.values())

    def _id_of(self, token: str | None) -> int | None:
        return None if token is None else self._tokenizer.token_to_id(token)

    @property
    def pad_token_id(self) -> int | None:
        """The id of ``pad_token``; without one, that of the file's padding."""
        found = self._id_of(self.pad_token)
        pipeline = pipeline_of(self._tokenizer)
        if found is None and pipeline.call.pad_id is not None:
            return default_pad_id(pipeline)
        return found

    @property
    def eos_token_id(self) -> int | None:
        """The id of ``eos_token``."""
        return self._id_of(self.eos_token)

    @property
    def bos_token_id(self) -> int | None:
        """The id of ``bos_token``."""
        return self._id_of(self.bos_token)

    @property
    def unk_token_id(self) -> int | None:
        """The id of ``unk_token``."""
        return self._id_of(self.unk_token)

    @property
    def cls_token_id(self) -> int | None:
        """The id of ``cls_token``."""
        return self._id_of(self.cls_token)

    @property
    def sep_token_id(self) -> int | None:
        """The id of ``sep_token``."""
        return self._id_of(self.sep_token)

    @property
    def mask_token_id(self) -> int | None:
        """The id of ``mask_token``."""
        return self._id_of(self.mask_token)


def _mask_of(ids: Any, specials: list[int]) -> Any:
    if isinstance(ids, list):
        if ids and isinstance(ids[0], list):
            return [[int(id in specials) for id in row] for row in ids]
        return [int(id in specials) for id in ids]
    mask = np.isin(np.asarray(ids), specials).astype(np.int64)
    return mask if isinstance(ids, np.ndarray) else _as_tensor(mask)


def _as_kind(rows: list[list[int]], kind: str | None) -> Any:
    if kind is None:
        return rows
    if kind not in ("np", "pt"):
        raise ValueError(f"return_tensors: got {kind!r}, takes None, 'np' or 'pt'")
    array = np.array(rows, np.int64)
    return array if kind == "np" else _as_tensor(array)


def _as_tensor(array: NDArray[np.int64]) -> Any:
    import torch

    return torch.from_numpy(array)


def _without_spaces(text: str) -> str:
    for before, after in (
        *((f" {mark}", mark) for mark in ".?!,"),
        (" ' ", "'"),
        *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
    ):
        text = text.replace(before, after)
    return text
