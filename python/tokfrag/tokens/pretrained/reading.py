"""Read the tokenizer of a model's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokfrag.tokens.formats.huggingface import parse_huggingface
from tokfrag.tokens.formats.json_place import Place, parse_json, shorten
from tokfrag.tokens.pretrained.files import (
    CHAT,
    CONFIG,
    MORE_CHATS,
    SPECIAL,
    TOKENIZER,
    read_true_bytes,
)
from tokfrag.tokens.specification import AddedToken, Profile, Specification

_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# What transformers says where a model has no limit, and what it takes for one.
_NO_LIMIT = 10**20
# Classes of transformers whose calls give no types, whatever the template says.
_UNTYPED = ("PreTrainedTokenizer", "TokenizersBackend", "DistilBertTokenizer", "MPNetTokenizer")


def read_folder(folder: Path) -> Specification:
    """Describe the tokenizer of a folder, its roles, sides, limit and chat template included.

    Ids, and what is put around a text, are those of ``tokenizer.json``; tokens that only the other
    files name are added to them.

    Raises
    ------
    FileNotFoundError
        The folder has no ``tokenizer.json``.
    ValueError
        A file is malformed, or asks for what cannot be reproduced exactly; says where.
    """
    path = folder / TOKENIZER
    if not path.is_file():
        there = sorted(entry.name for entry in folder.iterdir())
        raise FileNotFoundError(
            f"{folder}: has no {TOKENIZER}; looked for {TOKENIZER}, {CONFIG}, {SPECIAL} and {CHAT},"
            f" it has {', '.join(there) or 'nothing'}"
        )
    specification = parse_huggingface(read_true_bytes(path), str(path))
    config = _settings(folder / CONFIG)
    special = _settings(folder / SPECIAL)
    named = {role: _role(f"{role}_token", config, special) for role in _ROLES}
    roles = {role: token for role, token in named.items() if token is not None}
    specification = _with_tokens(specification, [*roles.values(), *_further(config, special)])
    pipeline = specification.pipeline
    ids = {token.content: token.id for token in pipeline.added_tokens}
    if "pad" in roles:
        pipeline = replace(pipeline, call=replace(pipeline.call, pad_id=ids[roles["pad"].content]))
    call = replace(
        pipeline.call,
        padding_side=config.get("padding_side", str, pipeline.call.padding_side),
        truncation_side=config.get("truncation_side", str, pipeline.call.truncation_side),
    )
    for side in ("padding_side", "truncation_side"):
        if getattr(call, side) not in ("left", "right"):
            raise config.at(side).refusal(f"got {getattr(call, side)!r}, takes 'left' or 'right'")
    profile = Profile(
        name=config.get("name_or_path", str, "") or None,
        roles=tuple((role, token.content) for role, token in roles.items()),
        model_max_length=_limit(config),
        **_model_inputs(config),
        chat_template=_chat_template(folder, config),
    )
    pipeline = replace(pipeline, call=call, profile=profile)
    return replace(specification, pipeline=pipeline)


def _settings(path: Path) -> Place:
    """An object of settings; empty where there is no such file."""
    if not path.is_file():
        return Place({}, str(path))
    place = parse_json(read_true_bytes(path), str(path))
    place.take(dict)
    return place


def _role(name: str, *places: Place) -> AddedToken | None:
    """The token that has a role, by the first file that says so."""
    return next((_token(place.at(name)) for place in places if place.given(name)), None)


def _token(place: Place) -> AddedToken:
    """A token by its text, or with what it does with the text around it; its id is not known."""
    if isinstance(place.value, str):
        return AddedToken(place.take(str), -1)
    return AddedToken(
        place.get("content", str),
        -1,
        normalized=place.get("normalized", bool, False),
        single_word=place.get("single_word", bool, False),
        lstrip=place.get("lstrip", bool, False),
        rstrip=place.get("rstrip", bool, False),
    )


def _further(*places: Place) -> Iterator[AddedToken]:
    """Special tokens without a role."""
    for place in places:
        for name in ("additional_special_tokens", "extra_special_tokens"):
            value = place.take(dict).get(name)
            if isinstance(value, dict):
                yield from (_token(place.at(name).at(key)) for key in value)
            elif value:
                yield from (_token(item) for item in place.at(name).items())


def _with_tokens(specification: Specification, tokens: list[AddedToken]) -> Specification:
    """The same with special tokens that it may not have, each with its id or the next one."""
    pipeline = specification.pipeline
    added = {token.content: token for token in pipeline.added_tokens}
    spelled = _spelled_ids(specification)
    following = 1 + max([*spelled.values(), *(token.id for token in added.values())], default=-1)
    for token in tokens:
        if token.content in added:
            if not added[token.content].special:
                added[token.content] = replace(added[token.content], special=True)
            continue
        id = spelled.get(token.content, following)
        added[token.content] = replace(token, id=id)
        following = max(following, id + 1)
    return replace(specification, pipeline=replace(pipeline, added_tokens=tuple(added.values())))


def _spelled_ids(specification: Specification) -> dict[str, int]:
    """The ids of the model's tokens by what could be the text of an added one."""
    return {
        token.decode("utf-8", "replace") if isinstance(token, bytes) else str(token): id
        for token, id in specification.model.tokens
    }


def _limit(config: Place) -> int | None:
    limit = config.take(dict).get("model_max_length")
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit < 0:
        raise config.at("model_max_length").refusal(f"got {shorten(limit)}, takes 0 or more")
    return None if limit > _NO_LIMIT else int(limit)


def _model_inputs(config: Place) -> dict[str, Any]:
    """Whether a call gives types and masks unasked."""
    if config.given("model_input_names"):
        names = config.get("model_input_names", list)
        return {
            "token_type_ids": "token_type_ids" in names,
            "attention_mask": "attention_mask" in names,
        }
    kind = config.get("tokenizer_class", str, "")
    return {"token_type_ids": False if kind.removesuffix("Fast") in _UNTYPED else None}


def _chat_template(folder: Path, config: Place) -> str | tuple[tuple[str, str], ...] | None:
    """The template of a file of its own, else that of the configuration; several by their names."""
    found: dict[str, str] = {}
    value = config.take(dict).get("chat_template")
    if isinstance(value, str):
        found["default"] = value
    elif value is not None:
        for item in config.at("chat_template").items():
            found[item.get("name", str)] = item.get("template", str)
    paths = [(path.stem, path) for path in sorted((folder / MORE_CHATS).glob("*.jinja"))]
    if (folder / CHAT).is_file():
        paths.append(("default", folder / CHAT))
    if paths:
        found = {name: read_true_bytes(path).decode("utf-8") for name, path in paths}
    if not found:
        return None
    return found["default"] if found.keys() == {"default"} else tuple(found.items())


__all__ = ["read_folder"]
