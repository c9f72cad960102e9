"""The files of a model's folder that make its tokenizer."""

from __future__ import annotations

import os
from pathlib import Path

from tokfrag._files import read_bytes

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
CHAT = "chat_template.jinja"
MORE_CHATS = "additional_chat_templates"

#: What is fetched of a model on the hub.
WANTED = (TOKENIZER, CONFIG, SPECIAL, CHAT, f"{MORE_CHATS}/*.jinja")

_POINTER = b"version https://git-lfs.github.com/spec/"


def read_true_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file that holds what its name says.

    Raises
    ------
    ValueError
        It is a Git LFS pointer or a web page, which downloads leave in the place of a file.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: is a folder; Tokenizer.from_pretrained reads one")
    content = read_bytes(path)
    if content.startswith(_POINTER):
        raise ValueError(
            f"{path}: is a Git LFS pointer, not the file it stands for; git lfs pull fetches that"
        )
    if content[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise ValueError(f"{path}: is a web page, not the file that was asked for")
    return content


def find_folder(
    folder_or_id: str | os.PathLike[str],
    *,
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    local_files_only: bool,
) -> Path:
    """The folder of a model: the one of that path, else the hub's in its cache.

    ``huggingface_hub`` fetches what is not in its cache, unless ``local_files_only`` or its
    ``HF_HUB_OFFLINE`` forbid it.

    Raises
    ------
    FileNotFoundError
        There is no such folder, and it is the name of no model that is there to be had.
    ImportError
        It may be a model on the hub, and ``huggingface_hub`` is not installed.
    """
    path = Path(folder_or_id)
    if path.is_dir():
        return path
    name = os.fspath(folder_or_id)
    if path.is_file():
        raise NotADirectoryError(f"{name}: is a file; Tokenizer.from_file reads one")
    if path.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise FileNotFoundError(f"{name}: there is no such folder")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ImportError(
            f"{name}: is no folder here; to look for it on the hub, install huggingface_hub"
            " (pip install 'tokfrag[hub]')"
        ) from None
    return Path(
        snapshot_download(
            name,
            revision=revision,
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            local_files_only=local_files_only,
            allow_patterns=list(WANTED),
        )
    )


__all__ = [
    *("CHAT", "CONFIG", "MORE_CHATS", "SPECIAL", "TOKENIZER", "WANTED"),
    *("find_folder", "read_true_bytes"),
]
