"""Chats to texts, and which of their tokens an assistant has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tokfrag.tokens.batch_encoding import BatchEncoding
from tokfrag.tokens.chat.messages import (
    cut_at_mark,
    mark_end,
    plain,
    plain_messages,
    plain_tools,
)
from tokfrag.tokens.chat.sandbox import render

Templates = str | tuple[tuple[str, str], ...] | None


class Written(NamedTuple):
    """A chat as a text, and the characters that are the assistant's."""

    text: str
    generated: list[tuple[int, int]]


def chosen_template(templates: Templates, given: str | None, with_tools: bool) -> str:
    """The template to use: the one given, or of that name, or the tokenizer's own.

    Raises
    ------
    ValueError
        There is none, or none of several is the default.
    """
    if templates is None or isinstance(templates, str):
        template = templates if given is None else given
        if template is None:
            raise ValueError("chat_template: the tokenizer has none, and none was given")
        return template
    named = dict(templates)
    if given is not None:
        return named.get(given, given)
    for name in ("tool_use", "default") if with_tools else ("default",):
        if name in named:
            return named[name]
    raise ValueError(f"chat_template: got none, takes one of {', '.join(sorted(named))}")


def is_batch(messages: Any) -> bool:
    """Whether they are several chats."""
    if not isinstance(messages, (list, tuple)):
        return False
    if not messages:
        raise ValueError("messages: got none, takes at least one")
    return isinstance(messages[0], (list, tuple)) or hasattr(messages[0], "messages")


def write_chat(
    messages: Any,
    template: str,
    *,
    tools: Sequence[Any] | None,
    documents: Sequence[Any] | None,
    add_generation_prompt: bool,
    continue_final_message: bool | str,
    variables: Mapping[str, Any],
) -> Written:
    """Write one chat as a text.

    Raises
    ------
    ValueError
        The template fails, or both ways to go on are asked for.
    """
    if continue_final_message and add_generation_prompt:
        raise ValueError(
            "continue_final_message: goes on with the last message, add_generation_prompt begins a"
            " new one; takes one of both"
        )
    listed = plain_messages(messages)
    said = None
    if continue_final_message:
        field = continue_final_message if isinstance(continue_final_message, str) else "content"
        said = mark_end(listed, field, template)
    text, generated = render(
        template,
        {
            "messages": listed,
            "tools": plain_tools(tools),
            "documents": plain(None if documents is None else list(documents)),
            "add_generation_prompt": add_generation_prompt,
            **plain(dict(variables)),
        },
    )
    return Written(text if said is None else cut_at_mark(text, said), generated)


def assistant_masks(encoded: BatchEncoding, written: Sequence[Written]) -> list[list[int]]:
    """1 for every token that touches a character which the assistant has written."""
    masks: list[list[int]] = []
    for row, chat in enumerate(written):
        spans = encoded.spans(row)
        mask = [0] * len(spans)
        at = 0
        for place, (begin, end) in enumerate(spans):
            while at < len(chat.generated) and begin >= chat.generated[at][1]:
                at += 1
            if at == len(chat.generated):
                break
            mask[place] = int(end > chat.generated[at][0])
        masks.append(mask)
    return masks


__all__ = ["Written", "assistant_masks", "chosen_template", "is_batch", "write_chat"]
