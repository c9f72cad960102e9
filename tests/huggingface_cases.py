"""Small tokenizers of Hugging Face's library, trained on a sample, for several test files."""

from __future__ import annotations

from functools import cache
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from tokfrag import Tokenizer
from tokfrag.tokens.formats.huggingface import parse_huggingface

SAMPLE = (
    "The cat's on the mat; we'll SEE whether they've 12345 cats.\n\n\tdef f(x):\n    return x\n"
    "你好，世界。こんにちは Привет, мир! naïve café e\u0301 \u1e9b\u0323 \r\n 🙂🏽  <a> <a>b\n"
)


def byte_level(**options: Any) -> tokenizers.Tokenizer:
    """A tokenizer with all bytes, trained on the sample."""
    made = tokenizers.Tokenizer(models.BPE(**options))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=380,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=["<end>"],
    )
    made.train_from_iterator([SAMPLE] * 3, trainer)
    return made


@cache
def trained() -> str:
    """The file of such a tokenizer."""
    return byte_level().to_str()


def load(hf: tokenizers.Tokenizer, **options: bool) -> Tokenizer:
    return Tokenizer.from_specification(
        parse_huggingface(hf.to_str().encode(), live=True, **options)
    )
