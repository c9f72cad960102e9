"""Vocabulary files: one module a format, each reading into the arrays that a Tokenizer takes."""
