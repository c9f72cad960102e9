"""Chats to ids, by the template of a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokfrag.tokens.live import LiveTokens
from tokfrag.tokens.pipeline import Piped
from tokfrag.tokens.standins.huggingface import HuggingFaceTokenizer


def apply_chat_template(
    tokenizer: Piped,
    messages: Any,
    *,
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
    previous: LiveTokens | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Any:
    """Write a chat, or several, as the model's template has it, and encode that.

    Templates run as in ``transformers``, in a sandbox of jinja2 (the extra ``chat``).

    Parameters
    ----------
    tokenizer
        What encodes; special tokens that the template writes are found.
    messages : list of {"role": str, "content": ...}
        Or a list of such lists.
    tools : sequence of dict or function, optional
        What the model may call: JSON schemas, or functions with types and a docstring, of which
        transformers (where it is installed) makes them.
    documents : sequence of dict, optional
        What the model may read.
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
    previous : LiveTokens, optional
        What the last turn left, or an empty one, of :meth:`live` with ``allowed_special="all"``: it
        becomes this chat. Only what differs is encoded; the result is the same. Takes one chat, and
        neither truncation nor masks of the assistant's tokens.
    variables : {str: value}, optional
        What else the template reads, such as ``enable_thinking``.

    Returns
    -------
    BatchEncoding, list of int, or str

    Raises
    ------
    ValueError
        There is no template, or it fails: says in which line; nothing is there to continue;
        ``previous`` is of another tokenizer.
    ImportError
        jinja2 is not installed.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
    >>> tok.apply_chat_template(
    ...     [{"role": "user", "content": "Hi"}], chat_template=template, tokenize=False)
    'user: Hi'
    """
    return HuggingFaceTokenizer(tokenizer).apply_chat_template(
        messages,
        tools=tools,
        documents=documents,
        chat_template=chat_template,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=continue_final_message,
        tokenize=tokenize,
        padding=padding,
        truncation=truncation,
        max_length=max_length,
        return_tensors=return_tensors,
        return_dict=return_dict,
        return_assistant_tokens_mask=return_assistant_tokens_mask,
        previous=previous,
        **(variables or {}),
    )


__all__ = ["apply_chat_template"]
