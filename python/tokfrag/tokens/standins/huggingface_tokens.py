"""The tokens of a stand-in for ``transformers``: roles, ids, spellings, texts, limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tokfrag.tokens.arguments import id_array
from tokfrag.tokens.calling import default_pad_id
from tokfrag.tokens.pipeline import Piped, TextPipeline
from tokfrag.tokens.specification import Pipeline, Template

# What transformers says where a model has no limit.
NO_LIMIT = int(1e30)

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")

_USUAL = {
    "bos": ("<|begin_of_text|>", "<s>", "<|startoftext|>", "<|endoftext|>"),
    "eos": ("<|end_of_text|>", "<|eot_id|>", "</s>", "<|im_end|>", "<|endoftext|>"),
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}


def token_of_role(way: TextPipeline, role: str) -> str | None:
    """The token that is ``"bos"``, ``"eos"``, ...: as the file says, else by a usual name."""
    roles = way.values.profile.roles
    if roles is not None:
        return dict(roles).get(role)
    return next((name for name in _USUAL[role] if name in way.special_tokens), None)


class HuggingFaceTokens:
    """What a fast tokenizer of ``transformers`` tells about its tokens.

    The parameters are those of :class:`HuggingFaceTokenizer`.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2",
    ...     special_tokens={"<pad>": 256})
    >>> told = HuggingFaceTokens(tok)
    >>> told.convert_ids_to_tokens([72, 32]), told.convert_tokens_to_ids(["H", "Ġ", "none"])
    (['H', 'Ġ'], [72, 32, None])
    >>> told.convert_tokens_to_string(["H", "i"]), told.get_vocab()["i"]
    ('Hi', 105)
    >>> told.get_added_vocab(), told.get_vocab_size(), told.num_special_tokens_to_add()
    ({'<pad>': 256}, 257, 0)
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
        self.gives_types = _gives_token_type_ids(pipeline)
        self.gives_mask = profile.attention_mask
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
        return token_of_role(self._way, role)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={len(self)})"

    @property
    def text_pipeline(self) -> TextPipeline:
        """The whole way from text to ids."""
        return self._way

    @property
    def name_or_path(self) -> str:
        """What the tokenizer is called."""
        return self._way.values.profile.name or ""

    def __len__(self) -> int:
        """The highest id, and one."""
        return self._way.id_count

    # Tokens.

    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> Any:
        """Tokens as they are spelled in a ``tokenizer.json``; of one id, one.

        Parameters
        ----------
        ids : int or iterable of int
        skip_special_tokens : bool
            Whether special tokens are left out; one id alone is spelled all the same.

        Returns
        -------
        str or list of str

        Raises
        ------
        IndexError
            No token has the id.
        """
        if isinstance(ids, (int, np.integer)):
            return self._spelled(int(ids))
        skipped = self._specials if skip_special_tokens else ()
        return [self._spelled(int(id)) for id in ids if int(id) not in skipped]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Ids of tokens so spelled; None for what is no token.

        Parameters
        ----------
        tokens : str or iterable of str

        Returns
        -------
        int or None, or a list of these
        """
        if isinstance(tokens, str):
            return self._way.model.token_id(tokens)
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """The text of tokens so spelled.

        Parameters
        ----------
        tokens : iterable of str

        Returns
        -------
        str
            Half a character is U+FFFD.

        Raises
        ------
        ValueError
            One of them is no token.
        """
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
        """Every token and its id.

        Returns
        -------
        {str: int}
        """
        model = self._way.model
        own = {model.spelling(id) or "": id for _, id in model.description.tokens}
        return own | self.get_added_vocab()

    @property
    def vocab_size(self) -> int:
        """How many tokens there are besides the added ones."""
        return len(self.get_vocab().keys() - self.get_added_vocab().keys())

    def get_added_vocab(self) -> dict[str, int]:
        """The added tokens and their ids.

        Returns
        -------
        {str: int}
        """
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

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The tokens that have a role, by its name."""
        named = {f"{role}_token": getattr(self, f"{role}_token") for role in ROLES}
        return {name: token for name, token in named.items() if token is not None}

    @property
    def chat_template(self) -> str | dict[str, str] | None:
        """How messages are written as one text; of several, by their names."""
        templates = self._way.values.profile.chat_template
        return dict(templates) if isinstance(templates, tuple) else templates

    @property
    def max_token_id(self) -> int:
        """The highest id."""
        return self._way.id_count - 1

    @property
    def max_chars_per_token(self) -> int:
        """The most characters that a token is spelled with."""
        return max(map(len, self.get_vocab()), default=0)

    def get_vocab_size(self) -> int:
        """The highest id, and one.

        Returns
        -------
        int
        """
        return self._way.id_count

    @property
    def bos_id(self) -> int | None:
        """The id of ``bos_token``."""
        return self.bos_token_id

    @property
    def eos_id(self) -> int | None:
        """The id of ``eos_token``."""
        return self.eos_token_id

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens the template puts around one text, or around two.

        Parameters
        ----------
        pair : bool
            Whether there are two texts.

        Returns
        -------
        int
        """
        return self._way.values.template.added[pair]

    # Decoding.

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ) -> str:
        """The text of ids; half a character is U+FFFD, an id that no token has is nothing.

        Parameters
        ----------
        token_ids : int, or array, tensor or sequence of int
        skip_special_tokens : bool
            Whether special tokens are left out.
        clean_up_tokenization_spaces : bool
            Whether blanks before marks and English contractions are taken out.

        Returns
        -------
        str
        """
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
        """The texts of several rows of ids.

        Parameters
        ----------
        sequences : iterable of rows
        skip_special_tokens, clean_up_tokenization_spaces
            As in :meth:`decode`.

        Returns
        -------
        list of str
            One a row.
        """
        return [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences
        ]


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


__all__ = ["NO_LIMIT", "ROLES", "HuggingFaceTokens", "token_of_role"]
