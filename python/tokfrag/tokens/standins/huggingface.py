"""Stand in for a fast tokenizer of ``transformers``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tokfrag.tokens.arguments import id_array
from tokfrag.tokens.calling import BatchEncoding, call, default_pad_id
from tokfrag.tokens.pipeline import Piped
from tokfrag.tokens.specification import Pipeline, Template
from tokfrag.tokens.standins.padding import as_kind, pad_rows

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


class HuggingFaceTokenizer:
    """A :class:`Tokenizer` with the methods of a fast tokenizer of ``transformers``.

    Parameters
    ----------
    tokenizer
        What encodes and decodes.
    pad_token, eos_token, bos_token
        Text of these tokens; by default those of what was adopted, or, where it told none, a
        special token with a usual name.
    model_max_length
        What ``truncation=True`` cuts to.
    padding_side, truncation_side
        ``"right"`` or ``"left"``; by default as adopted.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2",
    ...     special_tokens={"<pad>": 256})
    >>> hf = HuggingFaceTokenizer(tok)
    >>> hf(["abc", "d"], padding=True, return_tensors="np")["input_ids"].tolist()
    [[97, 98, 99], [100, 256, 256]]
    """

    is_fast = True

    def __init__(
        self,
        tokenizer: Piped,
        *,
        pad_token: str | None = None,
        eos_token: str | None = None,
        bos_token: str | None = None,
        model_max_length: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._way = tokenizer.text_pipeline
        pipeline = self._way.values
        profile, defaults = pipeline.profile, pipeline.call
        self._specials = frozenset(self._way.special_tokens.values())
        self._kinds_by_default = _gives_token_type_ids(pipeline)
        self.model_max_length = (
            model_max_length or profile.model_max_length or defaults.max_length or NO_LIMIT
        )
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
        if given is not None:
            if self._way.id_of(given) is None:
                raise ValueError(f"{role}_token: {given!r} is no token")
            return given
        roles = self._way.values.profile.roles
        if roles is not None:
            return dict(roles).get(role)
        specials = self._way.special_tokens
        return next((name for name in _USUAL[role] if name in specials), None)

    def __repr__(self) -> str:
        return f"HuggingFaceTokenizer(vocab_size={len(self)})"

    def __len__(self) -> int:
        """The highest id, and one."""
        return self._way.id_count

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
                self._kinds_by_default if return_token_type_ids is None else return_token_type_ids
            ),
            return_offsets_mapping=return_offsets_mapping,
        )
        if return_special_tokens_mask:
            encoded["special_tokens_mask"] = _mask_of(encoded["input_ids"], self._specials)
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
        padding_side: str | None = None,
        return_attention_mask: bool = True,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Pad one row or several that are encoded already, as data collators do.

        ``input_ids``, ``attention_mask``, ``token_type_ids`` and ``special_tokens_mask`` are
        filled; whatever else goes with the rows, such as labels, stays as it is.
        """
        if self.pad_token_id is None and padding not in (False, "do_not_pad"):
            raise ValueError("padding: there is no padding token; set pad_token")
        if padding == "max_length" and max_length is None and self.model_max_length < NO_LIMIT:
            max_length = self.model_max_length
        return pad_rows(
            encoded_inputs,
            fillers={
                "input_ids": self.pad_token_id or 0,
                "attention_mask": 0,
                "token_type_ids": self._way.values.call.pad_type_id,
                "special_tokens_mask": 1,
            },
            padding=padding,
            max_length=max_length,
            multiple=pad_to_multiple_of or 1,
            side=padding_side or self.padding_side,
            with_mask=return_attention_mask,
            return_tensors=return_tensors,
        )

    # Decoding.

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ) -> str:
        """The text of ids; half a character is U+FFFD, an id that no token has is nothing."""
        model = self._way.model
        kept = [
            id
            for id in id_array(np.atleast_1d(np.asarray(token_ids))).tolist()
            if not (skip_special_tokens and id in self._specials)
            and model.token_bytes(id) is not None
        ]
        text = model.decode(np.array(kept, np.int64)).decode("utf-8", "replace")
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
        skipped = self._specials if skip_special_tokens else ()
        return [self._spelled(int(id)) for id in ids if int(id) not in skipped]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Ids of tokens so spelled; None for what is no token."""
        if isinstance(tokens, str):
            return self._way.model.token_id(tokens)
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """The text of tokens so spelled."""
        ids = []
        for token in tokens:
            id = self._way.model.token_id(token)
            if id is None:
                raise ValueError(f"tokens: {token!r} is no token")
            ids.append(id)
        return self._way.model.decode(np.array(ids, np.int64)).decode("utf-8", "replace")

    def _spelled(self, id: int) -> str:
        token = self._way.model.spelling(id)
        if token is None:
            raise IndexError(f"id: no token has id {id}")
        return token

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id."""
        model = self._way.model
        own = {model.spelling(id) or "": id for _, id in model.description.tokens}
        return own | self.get_added_vocab()

    @property
    def vocab_size(self) -> int:
        """How many tokens there are besides the added ones."""
        return len(self.get_vocab().keys() - self.get_added_vocab().keys())

    def get_added_vocab(self) -> dict[str, int]:
        """The added tokens and their ids."""
        return dict(self._way.added_ids)

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens."""
        return list(self._way.special_tokens)

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens."""
        return list(self._way.special_tokens.values())

    def _id_of(self, token: str | None) -> int | None:
        return None if token is None else self._way.id_of(token)

    @property
    def pad_token_id(self) -> int | None:
        """The id of ``pad_token``; without one, that of the file's padding."""
        found = self._id_of(self.pad_token)
        if found is None and self._way.values.call.pad_id is not None:
            return default_pad_id(self._way)
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


def _mask_of(ids: Any, specials: Collection[int]) -> Any:
    if isinstance(ids, list):
        if ids and isinstance(ids[0], list):
            return [[int(id in specials) for id in row] for row in ids]
        return [int(id in specials) for id in ids]
    mask = np.isin(np.asarray(ids), list(specials)).astype(np.int64)
    return mask if isinstance(ids, np.ndarray) else as_kind(mask, "pt")


def _gives_token_type_ids(pipeline: Pipeline) -> bool:
    """Whether a call gives types unasked: as adopted, else if the template tells texts apart."""
    if pipeline.profile.token_type_ids is not None:
        return pipeline.profile.token_type_ids
    template = pipeline.template
    return template != Template() and any(kind for _, kind in template.pair)


def _without_spaces(text: str) -> str:
    for before, after in (
        *((f" {mark}", mark) for mark in ".?!,"),
        (" ' ", "'"),
        *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
    ):
        text = text.replace(before, after)
    return text


__all__ = ["NO_LIMIT", "HuggingFaceTokenizer"]
