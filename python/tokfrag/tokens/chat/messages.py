"""What callers say in a chat, as the plain values that a template may see."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Names under which the reasoning before an answer is passed; templates read the first.
_REASONING = ("reasoning_content", "thinking", "reasoning")
# Put where a message goes on. The blank tells whether the template trims messages.
_MARK = "<<goes on here: tokfrag>> "


def plain(value: Any) -> Any:
    """A value as dictionaries, lists, strings and numbers.

    Data classes and pydantic's models are dictionaries; of anything else (an image, an array) only
    its type's name is left, so that a template can call nothing.

    >>> plain({"content": ("a", np.int64(3)), "image": object()})
    {'content': ('a', 3), 'image': '<object>'}
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            # Of subclasses, which may have methods of their own, the value.
            return value if type(value) is kind else getattr(kind, f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, np.generic):
        return plain(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):
        return plain(value.model_dump())
    return f"<{type(value).__name__}>"


def plain_messages(chat: Any) -> list[dict[str, Any]]:
    """The messages of a chat, without keys whose value is None, reasoning under its usual name."""
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(getattr(chat, "messages", chat)):
        made = plain(message)
        if not isinstance(made, dict):
            raise TypeError(f"messages: item {index} is a {type(message).__name__}, takes a dict")
        made = {key: value for key, value in made.items() if value is not None}
        reasoning = next((made[name] for name in _REASONING if name in made), None)
        if reasoning is not None:
            made = {"thinking": reasoning, **made, "reasoning_content": reasoning}
        messages.append(made)
    return messages


def plain_tools(tools: Sequence[Any] | None) -> list[Any] | None:
    """Descriptions of tools, each a JSON schema."""
    if tools is None:
        return None
    return [plain(_schema(index, tool)) for index, tool in enumerate(tools)]


def _schema(index: int, tool: Any) -> Any:
    """A description of a tool: itself, or that of a function, by its types and its docstring."""
    if isinstance(tool, Mapping):
        return tool
    if not callable(tool):
        raise TypeError(
            f"tools: item {index} is a {type(tool).__name__}, takes a JSON schema (a dict) or a"
            " function"
        )
    try:
        from transformers.utils.chat_template_utils import (
            DocstringParsingException,
            TypeHintParsingException,
            get_json_schema,
        )
    except ImportError:
        raise ImportError(
            f"tools: item {index} is a function; transformers, which describes it, is not"
            " installed; give a JSON schema (a dict)"
        ) from None
    try:
        return get_json_schema(tool)
    except (DocstringParsingException, TypeHintParsingException) as error:
        raise ValueError(f"tools: item {index}: {error}") from error


def mark_end(messages: list[dict[str, Any]], field: str, template: str) -> str:
    """Mark the end of the last message, which is to go on there, and give what it says.

    Raises
    ------
    ValueError
        There is nothing to continue, or the template has no such field.
    """
    last = messages[-1] if messages else {}
    said = last.get(field)
    if said is None:
        raise ValueError(f"continue_final_message: the last message has no {field!r} to continue")
    # Reasoning stands there under several names.
    fields = [field]
    if field in _REASONING:
        fields = [name for name in _REASONING if last.get(name) == said]
    if not any(name in template for name in fields):
        raise ValueError(f"continue_final_message: the chat template does not read {field!r}")
    if isinstance(said, (list, tuple)):
        block = next((block for block in reversed(said) if "text" in block), None)
        if block is None:
            raise ValueError("continue_final_message: the last message has no text to continue")
        text: str = block["text"]
        block["text"] = text + _MARK
        return text
    for name in fields:
        last[name] = said + _MARK
    return str(said)


def cut_at_mark(text: str, said: str) -> str:
    """A text up to the mark of :func:`mark_end`.

    Raises
    ------
    ValueError
        The template has left the message out, or changed it.
    """
    place = text.rfind(_MARK.strip())
    if place < 0 or said.strip() not in text:
        raise ValueError(
            "continue_final_message: the chat template does not write the last message as it is"
        )
    whole = text.startswith(_MARK, place)
    return text[:place] if whole else text[:place].rstrip()


__all__ = ["cut_at_mark", "mark_end", "plain", "plain_messages", "plain_tools"]
