"""The stand-in for a fast tokenizer of ``transformers``."""

from __future__ import annotations

from tokfrag.tokens.standins.huggingface import HuggingFaceTokenizer

__all__ = ["HuggingFaceTokenizer"]
