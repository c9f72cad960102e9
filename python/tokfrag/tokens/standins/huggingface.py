"""Stand in for a fast tokenizer of ``transformers``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tokfrag.tokens.batch_encoding import BatchEncoding
from tokfrag.tokens.call_rows import call_sought
from tokfrag.tokens.calling import Texts, call, is_alone
from tokfrag.tokens.chat.writing import assistant_masks, chosen_template, is_batch, write_chat
from tokfrag.tokens.live import LiveTokens
from tokfrag.tokens.loading import load_pretrained
from tokfrag.tokens.pipeline import TextPipeline
from tokfrag.tokens.pretrained.writing import save_pretrained
from tokfrag.tokens.standins.huggingface_tokens import NO_LIMIT, HuggingFaceTokens
from tokfrag.tokens.standins.padding import as_kind, pad_rows

# Above this, transformers takes a limit for none.
_LARGE = int(1e20)


class _Held(NamedTuple):
    """A pipeline where a tokenizer is taken."""

    text_pipeline: TextPipeline


class HuggingFaceTokenizer(HuggingFaceTokens):
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

    @classmethod
    def from_pretrained(
        cls,
        folder_or_id: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> HuggingFaceTokenizer:
        """Read a model's tokenizer: see :meth:`tokfrag.Tokenizer.from_pretrained`.

        Parameters
        ----------
        folder_or_id : str or path
            A folder with ``tokenizer.json`` and what goes with it; else the name of a model on the
            hub.
        revision : str, optional
            Which state of it: a branch, a tag or a commit.
        cache_dir : str or path, optional
            The hub's cache, where it is not the usual one.
        local_files_only : bool
            Whether nothing may be fetched.

        Returns
        -------
        HuggingFaceTokenizer
        """
        way = load_pretrained(
            folder_or_id,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        return cls(_Held(way))

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write the folder that transformers reads a tokenizer from, with the roles set here.

        Parameters
        ----------
        save_directory : str or path
            Made where it is not there; files of the same names are replaced.
        """
        save_pretrained(self, save_directory)

    # Encoding.

    def __call__(
        self,
        text: Texts,
        text_pair: Texts | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """Encode one text or several; see :func:`tokfrag.tokens.calling.call`.

        What is not said goes by the rules of ``transformers``: a ``max_length`` alone truncates;
        without one ``model_max_length`` counts, and where that is no limit nothing is cut or
        filled.
        """
        if max_length is not None and padding is False and truncation is None:
            truncation = True
        truncation = False if truncation is None else truncation
        cuts = truncation is not False and truncation != "do_not_truncate"
        if max_length is None and (cuts or padding == "max_length"):
            if self.model_max_length > _LARGE:
                truncation, padding = False, False if padding == "max_length" else padding
            else:
                max_length = self.model_max_length
        pads = padding is not False and padding != "do_not_pad"
        if pads and self.pad_token_id is None:
            raise ValueError("padding: there is no padding token; set pad_token")
        multiple = pad_to_multiple_of or 1
        if cuts and pads and max_length is not None and max_length % multiple:
            raise ValueError(
                f"pad_to_multiple_of: got {multiple}, takes a divisor of the max_length that rows"
                f" are cut to, {max_length}"
            )
        # An empty second text is none, as there.
        alone = is_alone(text, is_split_into_words)
        return call(
            self._tokenizer,
            text,
            None if alone and not text_pair else text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            is_split_into_words=is_split_into_words,
            pad_to_multiple_of=pad_to_multiple_of,
            pad_id=self.pad_token_id,
            padding_side=padding_side or self.padding_side,
            truncation_side=self.truncation_side,
            return_tensors=return_tensors,
            return_attention_mask=(
                self.gives_mask if return_attention_mask is None else return_attention_mask
            ),
            return_token_type_ids=(
                self.gives_types if return_token_type_ids is None else return_token_type_ids
            ),
            return_overflowing_tokens=return_overflowing_tokens,
            return_special_tokens_mask=return_special_tokens_mask,
            return_offsets_mapping=return_offsets_mapping,
            return_length=return_length,
        )

    def encode(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: bool | str | None = None,
        max_length: int | None = None,
    ) -> list[int]:
        """The ids of one text.

        Parameters
        ----------
        text : str
        text_pair : str, optional
            Goes behind ``text``, as the tokenizer joins two.
        add_special_tokens : bool
            Whether the tokens that the tokenizer puts around texts are put there.
        truncation, max_length
            As in a call.

        Returns
        -------
        list of int
        """
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
        """The tokens of one text, without those that are put around it.

        Parameters
        ----------
        text : str

        Returns
        -------
        list of str
            As they are spelled in a ``tokenizer.json``.
        """
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

        Parameters
        ----------
        encoded_inputs : mapping of columns, or sequence of mappings
            One row, a batch by columns, or a list of rows; with ``input_ids``.
        padding : bool or str
            ``True`` or ``"longest"``, ``"max_length"``, ``False`` or ``"do_not_pad"``.
        max_length : int, optional
            Of ``padding="max_length"``; by default ``model_max_length``, where that is a limit.
        pad_to_multiple_of : int, optional
            Lengths are rounded up to a multiple of it.
        padding_side : "right" or "left", optional
            By default the tokenizer's.
        return_attention_mask : bool
            Whether ``attention_mask`` is made where it is not there.
        return_tensors : "np" or "pt", optional
            Lists without it.

        Returns
        -------
        BatchEncoding

        Raises
        ------
        ValueError
            There is no padding token; ``input_ids`` are missing, columns differ in length, or an
            option is none of these.
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

    # Chats.

    def get_chat_template(
        self, chat_template: str | None = None, tools: Sequence[Any] | None = None
    ) -> str:
        """The chat template that :meth:`apply_chat_template` would use.

        Parameters
        ----------
        chat_template : str, optional
            A template, or the name of one of the tokenizer's; by default its own.
        tools : sequence, optional
            With them, a template that is named ``"tool_use"`` goes before the default.

        Returns
        -------
        str

        Raises
        ------
        ValueError
            There is none, or none of several is the default.
        """
        templates = self._way.values.profile.chat_template
        return chosen_template(templates, chat_template, tools is not None)

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Any] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        previous: LiveTokens | None = None,
        **variables: Any,  # as there: whatever else is said, the template reads
    ) -> Any:
        """Write a chat, or several, as the model's template has it, and encode that.

        See :meth:`tokfrag.Tokenizer.apply_chat_template`.

        Parameters
        ----------
        conversation : list of {"role": str, "content": ...}
            Or a list of such lists.
        tools, documents : sequence of dict, optional
            JSON schemas of what the model may call, and what it may read.
        chat_template : str, optional
            A template, or the name of one of the tokenizer's; by default its own.
        add_generation_prompt : bool
            Whether the beginning of an answer is put at the end.
        continue_final_message : bool or str
            Whether the last message is left open; a str names the field to go on with.
        tokenize : bool
            Whether to encode; else the text is given.
        padding, truncation, max_length, return_tensors
            As in a call.
        return_dict : bool
            Whether all that a call gives is given, or ``input_ids`` alone.
        return_assistant_tokens_mask : bool
            Also ``assistant_masks``: 1 for tokens of what ``{% generation %}`` blocks have written.
        tokenizer_kwargs : mapping, optional
            Other options of a call.
        previous : LiveTokens, optional
            What the last turn left, or an empty one to begin with: it becomes this chat, and only
            what differs is written over and encoded; the result is the same.
        **variables
            What else the template reads, such as ``enable_thinking``.

        Returns
        -------
        BatchEncoding, list of int, or str
            Of several chats, lists of these rows or texts.

        Raises
        ------
        ValueError
            There is no template, or it fails; options that exclude each other; ``previous`` is of
            another tokenizer, or finds other special tokens than a call does.
        ImportError
            jinja2 is not installed.
        """
        if return_assistant_tokens_mask and not (tokenize and return_dict):
            raise ValueError("return_assistant_tokens_mask: takes tokenize and return_dict")
        if return_assistant_tokens_mask and continue_final_message:
            raise ValueError("return_assistant_tokens_mask: not with continue_final_message")
        template = self.get_chat_template(chat_template, tools)
        batch = is_batch(conversation)
        if previous is not None and (
            batch
            or not tokenize
            or truncation not in (False, "do_not_truncate")
            or return_assistant_tokens_mask
            or tokenizer_kwargs
        ):
            raise ValueError(
                "previous: takes one chat and tokenize, without truncation, tokenizer_kwargs and"
                " return_assistant_tokens_mask"
            )
        written = [
            write_chat(
                messages,
                template,
                tools=tools,
                documents=documents,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                variables={**self.special_tokens_map, **variables},
            )
            for messages in (conversation if batch else [conversation])
        ]
        texts = [chat.text for chat in written]
        if not tokenize:
            return texts if batch else texts[0]
        if previous is not None:
            encoded = self._advanced(previous, texts[0], padding, max_length, return_tensors)
            return encoded if return_dict else encoded["input_ids"]
        encoded = self(
            texts if batch else texts[0],
            add_special_tokens=False,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            return_tensors=return_tensors,
            **(tokenizer_kwargs or {}),
        )
        if return_assistant_tokens_mask:
            masks = assistant_masks(encoded, written)
            alone = not batch and return_tensors is None
            encoded["assistant_masks"] = as_kind(masks[0] if alone else masks, return_tensors)
        return encoded if return_dict else encoded["input_ids"]

    def _advanced(
        self,
        live: LiveTokens,
        text: str,
        padding: bool | str,
        max_length: int | None,
        return_tensors: str | None,
    ) -> BatchEncoding:
        """What a call gives for a text that a live one becomes."""
        if not live.encodes_as(self._way, call_sought(self._way)):
            raise ValueError(
                "previous: its ids are not those of a call; takes one that this tokenizer's"
                " live(..., allowed_special='all') made"
            )
        live.rewrite(text)
        ids = live.ids.tolist()
        row = {"input_ids": ids}
        if self.gives_types:
            row["token_type_ids"] = [0] * len(ids)
        if padding in (False, "do_not_pad") and return_tensors is None:
            if self.gives_mask:
                row["attention_mask"] = [1] * len(ids)
            return BatchEncoding(row)
        return self.pad(
            row if return_tensors is None else {name: [column] for name, column in row.items()},
            padding=padding,
            max_length=max_length,
            return_attention_mask=self.gives_mask,
            return_tensors=return_tensors,
        )


__all__ = ["NO_LIMIT", "HuggingFaceTokenizer"]
