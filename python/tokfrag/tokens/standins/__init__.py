"""Objects that take the place of other libraries' tokenizers."""
