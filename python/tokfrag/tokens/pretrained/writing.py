"""Write the folder that transformers reads a tokenizer from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tokfrag._files import whole_file
from tokfrag.tokens.formats.huggingface_writer import write_huggingface
from tokfrag.tokens.pipeline import Piped
from tokfrag.tokens.pretrained.files import CHAT, CONFIG, MORE_CHATS, SPECIAL, TOKENIZER
from tokfrag.tokens.standins.huggingface_tokens import NO_LIMIT, HuggingFaceTokens


def save_pretrained(tokenizer: Piped, folder: str | os.PathLike[str]) -> Path:
    """Write a folder that ``transformers`` and :meth:`Tokenizer.from_pretrained` read.

    Parameters
    ----------
    tokenizer
        What to write: its ids, roles, sides, limit and chat template.
    folder
        Made where it is not there; files of these names are replaced.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    ValueError
        Something that ``tokenizer.json`` cannot say.

    Examples
    --------
    >>> import tempfile
    >>> from tokfrag import Tokenizer
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2",
    ...     special_tokens={"<pad>": 256})
    >>> folder = save_pretrained(tok, Path(tempfile.mkdtemp()) / "model")
    >>> sorted(path.name for path in folder.iterdir())
    ['special_tokens_map.json', 'tokenizer.json', 'tokenizer_config.json']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_huggingface(tokenizer.text_pipeline.specification, folder / TOKENIZER)
    profile = tokenizer.text_pipeline.values.profile
    tokens = tokenizer if isinstance(tokenizer, HuggingFaceTokens) else HuggingFaceTokens(tokenizer)
    roles = tokens.special_tokens_map
    inputs = ["input_ids"]
    inputs += ["token_type_ids"] * tokens.gives_types + ["attention_mask"] * tokens.gives_mask
    _write_json(
        folder / CONFIG,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **roles,
            "model_max_length": tokens.model_max_length or NO_LIMIT,
            "padding_side": tokens.padding_side,
            "truncation_side": tokens.truncation_side,
            "model_input_names": inputs,
            "clean_up_tokenization_spaces": False,
        },
    )
    _write_json(folder / SPECIAL, roles)
    templates = profile.chat_template
    if templates is None:
        return folder
    named = {"default": templates} if isinstance(templates, str) else dict(templates)
    for name, template in named.items():
        path = folder / (CHAT if name == "default" else f"{MORE_CHATS}/{name}.jinja")
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as file:
            file.write(template.encode())
    return folder


def _write_json(path: Path, value: Any) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n")


__all__ = ["save_pretrained"]
