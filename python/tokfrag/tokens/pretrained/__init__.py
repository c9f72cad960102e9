"""Tokenizers as model folders hold them, and where the hub's are."""
