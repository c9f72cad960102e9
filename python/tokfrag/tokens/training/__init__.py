"""Learn a vocabulary from a corpus."""
